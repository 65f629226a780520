package osv

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const lodash = `{"id":"GHSA-35jh-r3h4-6jhm","aliases":["CVE-2021-23337"],"affected":[{"package":{"ecosystem":"npm","name":"lodash"},
	"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"4.17.21"}]}]}]}`

const wrongType = `{"id":"X-2","aliases":7}`

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// zipOf returns a zip of files, as name, content, name, content, …
func zipOf(t testing.TB, files ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = io.WriteString(f, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOpen(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string // as of zipOf
		warns []string // parts of the log, one for each thing that is left out
		fails string   // or a part of the error
	}{
		{name: "one entry", files: []string{"one.json", lodash}},
		{name: "several after each other", files: []string{"all.json", lodash + "\n" + lodash}},
		{name: "an array", files: []string{"all.json", " \n[" + lodash + "]"}},
		{name: "as OSV answers", files: []string{"all.json", `{"vulns":[` + lodash + `]}`}},
		{name: "a zip", files: []string{"npm/all.zip", zipOf(t, "GHSA-35jh-r3h4-6jhm.json", lodash, "README.md", "no")}},
		{name: "only a package URL", files: []string{"one.json", strings.Replace(lodash, `"ecosystem":"npm","name":"lodash"`, `"purl":"pkg:npm/lodash"`, 1)}},
		{name: "with others", files: []string{"one.json", lodash, "README.md", "no", "x.txt", "{"}},
		{name: "cut off", files: []string{"one.json", lodash, "two.json", lodash[:50]}, warns: []string{"two.json"}},
		{name: "empty", files: []string{"one.json", lodash, "two.json", ""}, warns: []string{"two.json"}},
		{name: "no JSON", files: []string{"one.json", lodash, "two.json", "<html>"}, warns: []string{"two.json"}},
		{name: "no object", files: []string{"one.json", lodash, "two.json", "[1]"}, warns: []string{"two.json"}},
		{name: "no id", files: []string{"one.json", lodash, "two.json", "{}"}, warns: []string{"two.json"}},
		{name: "wrong types", files: []string{"one.json", wrongType + lodash}, warns: []string{"one.json: X-2"}},
		{name: "an array cut off", files: []string{"one.json", "[" + lodash}, warns: []string{"one.json"}},
		{name: "damaged in a zip", files: []string{"all.zip", zipOf(t, "one.json", lodash, "two.json", "{")}, warns: []string{"all.zip: two.json"}},
		{name: "a zip cut off", files: []string{"one.json", lodash, "all.zip", zipOf(t, "one.json", lodash)[:90]}, fails: "all.zip"},
		{name: "nothing", files: []string{"README.md", "no"}, fails: "there is no .json and no .zip"},
		{name: "nothing that can be read", files: []string{"one.json", "{"}, fails: "one.json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for i := 0; i < len(test.files); i += 2 {
				write(t, filepath.Join(dir, test.files[i]), test.files[i+1])
			}
			var log bytes.Buffer
			d, err := Open(dir, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
			if test.fails != "" {
				if e := core.AsError(err); err == nil || !strings.Contains(e.Message, test.fails) || e.Fault != core.FaultWorker {
					t.Fatalf("error %v, want one with %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := said(d, "pkg:npm/lodash@4.17.20", ""); !strings.HasPrefix(got, "CVE-2021-23337") {
				t.Errorf("lodash: %q", got)
			}
			if got := strings.Count(log.String(), "\n"); got != len(test.warns) {
				t.Errorf("%d warnings, want %d: %s", got, len(test.warns), log.String())
			}
			for _, part := range test.warns {
				if !strings.Contains(log.String(), part) {
					t.Errorf("no warning with %q: %s", part, log.String())
				}
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nowhere"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a database that is not there was opened")
	}
}

// TestLinks has a link of an editor's to nowhere beside the database.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "one.json"), []byte(lodash), 0o600), os.Symlink("me@host.1234", filepath.Join(dir, ".#one.json"))); err != nil {
		t.Fatal(err)
	}
	if got := said(open(t, dir), "pkg:npm/lodash@4.17.20", "1"); got == "" {
		t.Error("nothing was read")
	}
}

func TestWarningsAreBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "all.json")
	write(t, name, lodash+strings.Repeat("{}", 1000))
	var log bytes.Buffer
	if _, err := Open(name, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(log.String(), "\n"); got != maxWarnings+1 || !strings.Contains(log.String(), "more=980") {
		t.Errorf("%d lines: %s", got, log.String())
	}
}

func TestRefresh(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "db", "one.json")
	write(t, name, lodash)
	var log bytes.Buffer
	d, err := Open(filepath.Join(dir, "db"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, changed bool, affected bool) {
		t.Helper()
		if got := d.Refresh(); got != changed {
			t.Errorf("%s: refreshed %v", what, got)
		}
		if got := said(d, "pkg:npm/lodash@4.17.21", "") != ""; got != affected {
			t.Errorf("%s: affected %v", what, got)
		}
	}
	expect("nothing changed", false, false)
	write(t, name, strings.Replace(lodash, "4.17.21", "4.17.22", 1)) // as long as before
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(name, later, later); err != nil {
		t.Fatal(err)
	}
	expect("changed", true, true)
	expect("nothing changed again", false, true)
	write(t, filepath.Join(dir, "db", "all.zip"), "PK and then nothing")
	expect("half a zip", false, true)
	warned := log.Len()
	expect("half a zip still", false, true)
	if log.Len() != warned {
		t.Error("warned twice of the same")
	}
	if err := os.RemoveAll(filepath.Join(dir, "db")); err != nil {
		t.Fatal(err)
	}
	expect("gone", false, true)
	if !strings.Contains(log.String(), "what was read before stays") {
		t.Errorf("no warning: %s", log.String())
	}
	write(t, name, lodash)
	expect("back", true, false)
}

// BenchmarkLoad loads a zip of 200,000 entries, as npm's is.
func BenchmarkLoad(b *testing.B) {
	const entries = 200_000
	var files []string
	details := strings.Repeat("A long text that says what somebody has found, and that nobody matches anything with. ", 12)
	for i := range entries {
		files = append(files, fmt.Sprintf("GHSA-%06d.json", i), fmt.Sprintf(`{"schema_version":"1.7.3","id":"GHSA-%06d","modified":"2026-01-02T03:04:05Z",
			"aliases":["CVE-2026-%06d"],"summary":"Something in package %d","details":%q,"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H"}],
			"affected":[{"package":{"ecosystem":"npm","name":"package-%d","purl":"pkg:npm/package-%d"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.%d.0"}]}],
			"database_specific":{"source":"https://example.org/advisories/%d.json"}}],"references":[{"type":"WEB","url":"https://example.org/%d"}]}`, i, i, i, details, i%90000, i%90000, i%50, i, i))
	}
	name := filepath.Join(b.TempDir(), "all.zip")
	write(b, name, zipOf(b, files...))
	clear(files) // so that what is measured is the database
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		d := open(b, name)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if got := said(d, "pkg:npm/package-7@1.6.0", ""); !strings.Contains(got, "fixed in 1.7.0") {
			b.Fatal(got)
		}
	}
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/(1<<20), "MiB")
}
