package osv

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func open(t testing.TB, path string) *Database {
	t.Helper()
	d, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// said returns what is said of one package, a line each.
func said(d *Database, url, version string) string {
	var lines []string
	report := d.Match([]core.Locked{{Name: "x", Version: version, URL: url}})
	for _, v := range report.Vulnerabilities {
		lines = append(lines, v.String())
	}
	for _, u := range report.Unchecked {
		lines = append(lines, "unchecked "+u)
	}
	return strings.Join(lines, "\n")
}

func TestMatch(t *testing.T) {
	d := open(t, "testdata/database")
	const (
		credentials = "CVE-2018-18074 (GHSA-x84v-xcm2-53pg, PYSEC-2018-28), high 7.5, fixed in 2.20.0"
		proxy       = "CVE-2023-32681 (GHSA-j8r2-6x86-q33q, PYSEC-2023-74), medium 6.1, fixed in 2.31.0"
		cookie      = "CVE-2023-43804 (GHSA-v845-jxx5-vc9f, PYSEC-2023-192), medium 6.5, fixed in "
		template    = "CVE-2024-22195 (GHSA-h5c8-rqwp-cp95), medium 5.4, fixed in 3.1.3"
		lodash      = "CVE-2021-23337 (GHSA-35jh-r3h4-6jhm), high 7.2, fixed in 4.17.21"
		express     = "CVE-2024-29041 (GHSA-rv95-896h-c2vc), medium 6.1, fixed in "
		rack        = "CVE-2022-30123 (GHSA-wq4h-7r42-5hrr), critical 10.0, fixed in "
	)
	for _, test := range []struct{ url, want string }{
		// Two entries of one vulnerability are one; the worst comes first.
		{"pkg:pypi/requests@2.19.1", credentials + "\n" + proxy},
		{"pkg:pypi/requests@2.2.1", credentials},
		{"pkg:pypi/requests@2.20.0", proxy},
		{"pkg:pypi/requests@2.31.0", ""},
		{"pkg:pypi/requests@2.31.0rc1", proxy}, // before the fix
		{"pkg:pypi/requests@2.31.0.post1", ""},
		// The ranges of one entry do not mix.
		{"pkg:pypi/urllib3@1.26.16", cookie + "1.26.17"},
		{"pkg:pypi/urllib3@1.26.17", ""},
		{"pkg:pypi/urllib3@2.0.5", cookie + "2.0.6"},
		{"pkg:pypi/urllib3@2.0.6", ""},
		// Names are compared as the registry does.
		{"pkg:pypi/Jinja2@3.1.2", template},
		{"pkg:npm/Lodash@4.17.20", ""},
		{"pkg:npm/lodash@4.17.20", lodash},
		{"pkg:npm/lodash@4.17.21", ""},
		{"pkg:npm/express@5.0.0-beta.1", express + "5.0.0-beta.3"},
		{"pkg:npm/express@5.0.0-beta.3", ""},
		{"pkg:npm/express@4.9.0", express + "4.19.2"}, // 9 is before 19
		{"pkg:gem/rack@2.1.4", rack + "2.1.4.1"},
		{"pkg:gem/rack@2.2.3", rack + "2.2.3.1"},
		{"pkg:gem/rack@2.2.3.1", ""},
		{"pkg:gem/rack@2.2.0.rc1", ""}, // before 2.2
		// A distribution's binary package is found by its source, in its release.
		{"pkg:deb/debian/libssl3@3.0.11-1~deb12u1?arch=amd64&distro=debian-12&upstream=openssl", "DSA-5532-1, unknown severity, fixed in 3.0.11-1~deb12u2"},
		{"pkg:deb/debian/libssl3@3.0.11-1~deb12u1?distro=bookworm&upstream=openssl", "DSA-5532-1, unknown severity, fixed in 3.0.11-1~deb12u2"},
		{"pkg:deb/debian/libssl3@3.0.11-1~deb12u2?distro=debian-12&upstream=openssl", ""},
		{"pkg:deb/debian/libssl1.1@1.1.1n-0%2Bdeb11u3?distro=debian-11&upstream=openssl", "DSA-5343-1, unknown severity, fixed in 1.1.1n-0+deb11u4"},
		{"pkg:deb/debian/libssl1.1@1?distro=debian-11&upstream=openssl%401.1.1n-0%2Bdeb11u3", "DSA-5343-1, unknown severity, fixed in 1.1.1n-0+deb11u4"},
		{"pkg:deb/debian/libssl3@3.0.11-1~deb12u1?distro=debian-12", "unchecked x==1"}, // it does not say its source
		{"pkg:deb/debian/openssl@3.0.11-1~deb12u1?distro=debian-12", "DSA-5532-1, unknown severity, fixed in 3.0.11-1~deb12u2\nunchecked x==1"},
		// Something malicious is always critical.
		{"pkg:npm/%40evil/lodahs@1.0.0", "MAL-2025-1, critical, no fix known"},
		{"pkg:npm/%40evil/lodahs@1.0.1", ""},
		// How severities are found, and the other kinds of events.
		{"pkg:pypi/oldthing@1", "GHSA-v2v2-v2v2-v2v2, high 7.5, no fix known"},
		{"pkg:pypi/wordthing@1", "GHSA-word-word-word, medium, no fix known"},
		{"pkg:pypi/newthing@1.0b1", ""},
		{"pkg:pypi/newthing@1.0rc1", "GHSA-v4v4-v4v4-v4v4, critical 9.3, no fix known"},
		{"pkg:pypi/newthing@1.2.0", "GHSA-v4v4-v4v4-v4v4, critical 9.3, no fix known"},
		{"pkg:pypi/newthing@1.2.1", ""},
		{"pkg:pypi/newthing@2.4", "GHSA-v4v4-v4v4-v4v4, critical 9.3, no fix known"},
		{"pkg:pypi/newthing@2.5", ""},
		// Versions that nobody can compare, and packages that nobody can name.
		{"pkg:pypi/newthing@what%20is%20this", "unchecked x==1"},
		{"pkg:deb/debian/libssl3@x:1?distro=debian-12&upstream=openssl", "unchecked x==1"},
		{"", "unchecked x==1"},
		{"pkg:generic/thing@1", "unchecked x==1"},
		{"pkg:deb/unheard-of/thing@1", "unchecked x==1"},
		{"://", "unchecked x==1"},
	} {
		t.Run(test.url, func(t *testing.T) {
			if got := said(d, test.url, "1"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	if got := said(d, "pkg:npm/lodash", "4.17.20"); got != lodash {
		t.Errorf("a package URL without a version: %q", got)
	}
}

// TestRate: the order in which an entry has its ratings makes no difference, nor that of the entries of one
// vulnerability.
func TestRate(t *testing.T) {
	low, high := rated{"CVSS_V3", "CVSS:3.1/AV:N/AC:H/PR:L/UI:R/S:U/C:L/I:L/A:L"}, rated{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}
	word := rated{"Ubuntu", "critical"}
	for _, test := range []struct {
		all  []rated
		want rating
	}{
		{[]rated{low, high}, rating{core.SeverityHigh, 7.5}},
		{[]rated{high, low}, rating{core.SeverityHigh, 7.5}},
		{[]rated{low, word}, rating{core.SeverityCritical, 0}},
		{[]rated{word, low}, rating{core.SeverityCritical, 0}},
	} {
		if got := rate(test.all, nil); got != test.want {
			t.Errorf("%v is rated %v, want %v", test.all, got, test.want)
		}
		var hits []hit
		for _, one := range test.all {
			hits = append(hits, hit{finding: finding{entry: &entry{id: "X-1"}, rating: rate([]rated{one}, nil)}})
		}
		if v := merge(place{}, hits); v.Severity != test.want.severity || v.Score != test.want.score {
			t.Errorf("entries with %v make %v", test.all, v)
		}
	}
}

// TestGroups has entries that are the same by way of a third, which comes last.
func TestGroups(t *testing.T) {
	var hits []hit
	for _, names := range [][]string{{"A", "CVE-1"}, {"B", "CVE-2"}, {"C"}, {"D", "CVE-2", "CVE-1", "D"}, {"E", "A"}} {
		hits = append(hits, hit{finding: finding{entry: &entry{id: names[0], aliases: names[1:]}}})
	}
	var got []string
	for _, group := range groups(hits) {
		text := ""
		for _, h := range group {
			text += h.entry.id
		}
		got = append(got, text)
	}
	if strings.Join(got, " ") != "C ABDE" {
		t.Errorf("the groups are %q", got)
	}
}

// TestUnreadable has entries with versions that nobody can read: what is not known to be fixed is affected,
// and is reported as not wholly checked.
func TestUnreadable(t *testing.T) {
	for _, test := range []struct {
		ecosystem, kind, events, url string
		affected                     bool
	}{
		{"PyPI", "ECOSYSTEM", `{"introduced":"0"},{"fixed":"the next one"}`, "pkg:pypi/thing@5", true},
		{"PyPI", "ECOSYSTEM", `{"introduced":"1"},{"fixed":"?"}`, "pkg:pypi/thing@0.5", false},
		{"PyPI", "ECOSYSTEM", `{"introduced":"0"},{"last_affected":"<unknown>"}`, "pkg:pypi/thing@5", true},
		{"PyPI", "ECOSYSTEM", `{"introduced":"some"},{"fixed":"6"}`, "pkg:pypi/thing@5", true},
		{"PyPI", "ECOSYSTEM", `{"introduced":"some"},{"fixed":"6"}`, "pkg:pypi/thing@6", false},
		{"PyPI", "ECOSYSTEM", `{"introduced":"0"},{"limit":"none yet"}`, "pkg:pypi/thing@5", true},
		{"npm", "SEMVER", `{"introduced":"0"},{"fixed":"next"}`, "pkg:npm/thing@5.0.0", true},
		{"npm", "SEMVER", `{"introduced":"0"},{"fixed":"x.y.z"}`, "pkg:npm/thing@5.0.0", true},
		{"RubyGems", "ECOSYSTEM", `{"introduced":"0"},{"fixed":"unpatched"}`, "pkg:gem/thing@5.0.0", true},
		{"RubyGems", "ECOSYSTEM", `{"introduced":"0"},{"fixed":">= 6"}`, "pkg:gem/thing@5.0.0", true},
		{"Debian:12", "ECOSYSTEM", `{"introduced":"0"},{"fixed":"<end-of-life>"}`, "pkg:deb/debian/thing@5?distro=debian-12&upstream=thing", true},
	} {
		name := filepath.Join(t.TempDir(), "one.json")
		entry := fmt.Sprintf(`{"id":"X-1","affected":[{"package":{"ecosystem":%q,"name":"thing"},"ranges":[{"type":%q,"events":[%s]}]}]}`, test.ecosystem, test.kind, test.events)
		if err := os.WriteFile(name, []byte(entry), 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		d, err := Open(name, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatal(err)
		}
		want := "unchecked x==1"
		if test.affected {
			want = "X-1, unknown severity, no fix known\n" + want
			if strings.Contains(test.events, `"fixed":"6"`) {
				want = strings.Replace(want, "no fix known", "fixed in 6", 1)
			}
		}
		if got := said(d, test.url, "1"); got != want || !strings.Contains(log.String(), "X-1") {
			t.Errorf("%s of %s: %q, want %q; the log has %q", test.events, test.url, got, want, log.String())
		}
	}
}
