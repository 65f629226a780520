package debian

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestBase(t *testing.T) {
	entry := func(name, rest string) string {
		return "Package: " + name + "\nStatus: install ok installed\nArchitecture: " + architecture() + "\nVersion: 1\nDepends: absent\n" + rest + "\n"
	}
	entries, versions := base(strings.Join([]string{
		entry("bash", "Essential: yes\n"),
		entry("tar", "Priority: required\n"),
		entry("libc6", "Source: glibc (2.36)\nProvides: libc6-abi\nDescription: C\n Priority: required\n"),
		entry("libgcc-s1", "Source: gcc-12\n"),
		entry("zlib1g", "Priority: optional\nSource: zlib\n"),
		entry("interpreter", "Priority: optional\n"),
		strings.Replace(entry("removed", "Essential: yes\n"), "install ok installed", "deinstall ok config-files", 1),
		strings.Replace(entry("foreign", "Essential: yes\n"), architecture(), "other", 1),
	}, "\n"), []string{"interpreter", "absent"})
	for name, want := range map[string]bool{"bash": true, "tar": true, "libc6": true, "libgcc-s1": true, "zlib1g": false, "interpreter": true, "absent": false, "removed": false, "foreign": false} {
		if (versions[name] == "1") != want || strings.Contains(entries, "Package: "+name+"\n") != want {
			t.Errorf("%s: %v, want %v in %s", name, versions[name], want, entries)
		}
	}
	if strings.Contains(entries, "Depends") || !strings.Contains(entries, "Provides: libc6-abi\n") {
		t.Error(entries)
	}
}

func TestPrinted(t *testing.T) {
	out := "Reading\n'http://d/debian/pool/liba1_2.0-1_amd64.deb' liba1_1%3a2.0-1_amd64.deb 10 SHA256:" + digest +
		"\n'http://d/debian/pool/b.deb' b_3+x~y-1_all.deb 20 SHA256:" + digest + "\n"
	packages, err := printed(out)
	if err != nil || len(packages) != 2 || packages[0].String() != "debian+liba1==1_2.0-1" || packages[1].String() != "debian+b==3+x~y-1" || packages[0].Size != 10 ||
		packages[0].URI != "http://d/debian/pool/liba1_2.0-1_amd64.deb" || !slices.Equal(packages[1].Archives, []string{"sha256:" + digest}) {
		t.Fatalf("%+v", packages)
	}
	if packages, err := printed(out + "'http://d/weak.deb' weak_1_all.deb 20 MD5Sum:00\n"); !core.IsKind(err, core.KindInstall) || !strings.Contains(err.Error(), "weak.deb") {
		t.Errorf("without a SHA-256: %v, %v", packages, err)
	}
	if name, version := nameAndVersion(packages[0].Locked); name != "liba1" || version != "1:2.0-1" {
		t.Error(name, version)
	}
	if id, release := distribution(); packages[1].URL != "pkg:deb/"+id+"/b@3%2Bx~y-1?arch=all&distro="+id+"-"+release || !strings.Contains(packages[0].URL, "/liba1@1:2.0-1?arch=amd64&") {
		t.Error(packages[0].URL, packages[1].URL)
	}
	a := apt{base: map[string]string{"b": "3"}}
	for said, packages := range map[string][]Archive{"": packages, "The following packages will be REMOVED:\n  b\n": nil, "The following packages will be DOWNGRADED:\n  b c\n0": packages[:1]} {
		if err := a.untouched(said, packages); !core.IsKind(err, core.KindInstall) || !strings.Contains(err.Error(), "b 3 of this worker") {
			t.Errorf("%q: %v", said, err)
		}
	}
	if err := a.untouched("The following NEW packages will be installed:\n  b\n", packages[:1]); err != nil {
		t.Error(err)
	}
}

func TestRequire(t *testing.T) {
	var packages []Archive
	for _, name := range []string{"tool", "liba", "mta-b", "alone"} {
		packages = append(packages, Archive{Locked: newPackage(name, "1")})
	}
	require(packages, "Package: tool\nVersion: 1\nPre-Depends: liba:any (>= 1)\nDepends: absent | mail-agent, mta-b, libc6, tool\n\n"+
		"Package: tool\nVersion: 2\nDepends: alone\n\nPackage: mta-b\nVersion: 1\nSource: mta (2~1)\nProvides: mail-agent (= 1), other\n\n")
	for i, want := range [][]string{{"debian+liba==1", "debian+mta-b==1"}, nil, nil, nil} {
		if !slices.Equal(packages[i].Requires, want) {
			t.Errorf("%s requires %q, want %q", packages[i], packages[i].Requires, want)
		}
		if want := []string{"&upstream=tool", "", "&upstream=mta%402~1", ""}[i]; packages[i].URL != want { // added to what was there, here nothing
			t.Errorf("%s is of %q, want %q", packages[i], packages[i].URL, want)
		}
	}
}

func TestSigners(t *testing.T) {
	done := func(who, rest string) string { return " <- " + who + ":201%20URI%20Done%0a" + rest + "\n" }
	a := apt{signers: signers(" -> http:601%20Configuration%0a" + strings.Repeat("x", 1<<17) + "\n" + done("http", "URI:%20http://d/debian/dists/one/InRelease%0aFilename:%20/t/one") + done("http", "URI:%20http://d/debian/dists/two/InRelease%0aFilename:%20/t/two") +
		" -> gpgv:600%20URI%20Acquire%0aURI:%20gpgv:/t/two%0aFilename:%20/t/two\n" + " <- gpgv:400%20URI%20Failure%0aURI:%20gpgv:/t/two\n" +
		done("gpgv", "Signed-By:%20AA%0a%20BB!%0a%20CC!%0aFilename:%20/t/one%0aURI:%20gpgv:/t/one"))}
	packages := []Archive{{Locked: newPackage("p", "1:1"), URI: "http://d/debian/pool/p"}, {Locked: newPackage("p", "2"), URI: "http://d/debian/pool/p"}, {Locked: newPackage("q", "1"), URI: "http://d/debian-other/pool/q"}}
	a.sign(packages, " p | 1:1 | http://d/debian one/main amd64 Packages\n p | 2 | http://d/debian two/main amd64 Packages\n q | 1 | http://d/debian one/main amd64 Packages\n")
	for i, want := range []core.Signature{{Verified: true, Signer: "BB, CC"}, {}, {}} {
		if got := packages[i].Signature; got.Verified != want.Verified || got.Signer != want.Signer || got.Scheme == "" || got.Detail == "" {
			t.Errorf("%s: %+v", packages[i], got)
		}
	}
}

func TestMemory(t *testing.T) {
	var m Memory
	one := Archive{Locked: core.Locked{Name: Marker + "one", Version: "1", Archives: []string{"sha256:1"}, Requires: []string{"x"}}, URI: "http://d/one"}
	if locked := m.Learn([]Archive{one, {Locked: core.Locked{Name: "no-debian"}}}); len(locked) != 2 {
		t.Error(locked)
	}
	asked := []core.Locked{one.Locked, {Name: Marker + "one", Version: "2", Archives: []string{"sha256:1"}}, {Name: Marker + "one", Version: "1", Archives: []string{"sha256:2"}}}
	for i, want := range []string{"http://d/one", "", ""} {
		if got := m.Recall(asked)[i]; got.URI != want || !reflect.DeepEqual(got.Locked, asked[i]) {
			t.Errorf("%+v", got)
		}
	}
}

func TestCommand(t *testing.T) {
	for _, arguments := range [][]string{nil, {"remove"}, {"install", "x"}} {
		var out strings.Builder
		var said struct{ Error *core.Error }
		if status := Command(arguments, strings.NewReader("[]"), &out, nil); status == 0 || json.Unmarshal([]byte(out.String()), &said) != nil || said.Error == nil {
			t.Errorf("%v: %d %s", arguments, status, &out)
		}
	}
	var out strings.Builder
	if status := Command([]string{"install"}, strings.NewReader(`[{"name":"of-a-language","version":"1"}]`), &out, nil); status != 0 || out.String() != `{"result":[]}`+"\n" {
		t.Errorf("%d %s", status, &out)
	}
}

// TestBehind has what apt says on a machine whose own packages are older than the archive's.
func TestBehind(t *testing.T) {
	const said = "The following packages have unmet dependencies:\n git : Depends: perl but it is not going to be installed\n perl : Depends: perl-base (= 5.36.0-7+deb12u4)\nE: Unable to correct problems, you have held broken packages.\n"
	failed := core.Errorf(core.KindInstall, core.FaultHandler, "resolving git: Unable to correct problems")
	a := &apt{base: map[string]string{"perl-base": "5.36.0-7+deb12u2"}}
	if e := core.AsError(a.behind(said, failed)); e.Fault != core.FaultWorker || !strings.Contains(e.Message, "perl-base (= 5.36.0-7+deb12u4)") || !strings.Contains(e.Message, "has 5.36.0-7+deb12u2") {
		t.Error(e)
	}
	for _, base := range []map[string]string{nil, {"git": "1"}} {
		if err := (&apt{base: base}).behind(said, failed); !errors.Is(err, failed) {
			t.Errorf("%v: %v", base, err)
		}
	}
}
