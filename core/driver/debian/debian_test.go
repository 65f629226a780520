package debian

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
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

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

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

// TestUnpacked looks at what becomes of the links of a package.
func TestUnpacked(t *testing.T) {
	dir := t.TempDir()
	libraries := filepath.Join(dir, "usr/lib", Triplet())
	for _, file := range []string{"blas/libblas.so.3", "libown.so.1", "private/libown.so.1", "private/plugin.so"} {
		name := filepath.Join(libraries, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(file), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"absolute": "/usr/lib/" + Triplet() + "/libown.so.1", "out": "../../../../../../etc/x", "inside": "../" + Triplet() + "/libown.so.1"} {
		if err := os.Symlink(target, filepath.Join(libraries, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(relink(dir), linkLibraries(dir)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"libblas.so.3": "blas/libblas.so.3", "libown.so.1": "libown.so.1", "absolute": "libown.so.1", "inside": "libown.so.1"} {
		if text, err := os.ReadFile(filepath.Join(libraries, name)); string(text) != want {
			t.Errorf("%s is %q, want %q: %v", name, text, want, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(libraries, "out")); target != "../../../etc/x" {
		t.Errorf("a link out leads to %q, %v", target, err)
	}
	if _, err := os.Lstat(filepath.Join(libraries, "plugin.so")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a plugin is linked as a library: ", err)
	}
}

func TestLicenses(t *testing.T) {
	for text, want := range map[string][]string{
		"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nFiles: *\nLicense: Zlib\n text\n\nLicense: GPL-2+ or X\nLicense: Zlib\nLicense:\n": {"Zlib", "GPL-2+ or X"},
		"This is free.\nLicense: any\n": nil,
	} {
		dir := t.TempDir()
		if err := errors.Join(os.MkdirAll(dir+"/usr/share/doc/p", 0o755), os.WriteFile(dir+"/usr/share/doc/p/copyright", []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if got := licenses(dir, "p"); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
	if got := licenses(t.TempDir(), "p"); got != nil {
		t.Error(got)
	}
}

// TestInstall fetches a small package from the archive that this machine's apt knows.
func TestInstall(t *testing.T) {
	if _, err := Tools(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	packages, err := Resolve(t.Context(), []string{"libblas3", "libc6", "libuuid1"})
	if core.AsError(err) != nil && core.AsError(err).Fault == core.FaultWorker && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(packages, func(p Archive) bool { return p.Name == Marker+"libblas3" })
	if i < 0 || slices.ContainsFunc(packages, func(p Archive) bool { return p.Name == Marker+"libc6" }) {
		t.Fatalf("libblas3 takes %v", packages)
	}
	// As they are between Resolve and Install, and as a lock from elsewhere has them.
	for _, known := range []bool{true, false} {
		out, steps, asked := t.TempDir(), 0, slices.Clone(packages)
		for i := range asked {
			if !known {
				asked[i] = Archive{Locked: asked[i].Locked}
			}
		}
		receipts, err := Install(t.Context(), asked, out, func(core.Progress) { steps++ })
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(out, packages[i].Base())
		if info, err := os.Stat(filepath.Join(dir, "usr/lib", Triplet(), "libblas.so.3")); err != nil || info.Size() < 10_000 {
			t.Errorf("%v, %v", info, err)
		}
		if left, _ := os.ReadDir(out); len(left) != len(packages) || steps < len(packages) {
			t.Errorf("%d directories of %d packages, in %d steps", len(left), len(packages), steps)
		}
		r := receipts[i]
		if len(receipts) != len(packages) || r.Archive != packages[i].Archives[0] || r.Bytes < 10_000 || !slices.Equal(r.Modules, []string{"libblas.so.3"}) ||
			!slices.Contains(r.Licenses, "BSD-3-clause") || len(r.Signatures) != 1 || !r.Signatures[0].Verified || len(r.Signatures[0].Signer) < 40 {
			t.Errorf("%+v", r)
		}
	}
	other, twisted := slices.Clone(packages), "sha256:"+digest
	for _, uri := range []string{packages[i].URI, "", packages[i].URI + ".gone"} {
		other[i].URI, other[i].Archives = uri, []string{twisted}
		out := t.TempDir()
		if _, err := Install(t.Context(), other, out, nil); !core.IsKind(err, core.KindInstall) {
			t.Errorf("an archive with another digest: %v", err)
		} else if uri != packages[i].URI && !strings.Contains(err.Error(), "--anew") {
			t.Errorf("an archive that is not there any more: %v", err)
		}
		if left, _ := os.ReadDir(out); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	older := slices.Clone(packages)
	older[i] = Archive{Locked: newPackage("libblas3", "0.1")}
	older[i].Archives = []string{twisted}
	if _, err := Install(t.Context(), older, t.TempDir(), nil); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultHandler || !strings.Contains(err.Error(), "--anew") {
		t.Errorf("a version that is not there any more: %v", err)
	}
	for _, wanted := range []string{"no-such-package-at-all", "libblas3=0-none", "libblas.", "libblas3-", "libc6=0-none", "-oDebug::NoLocking=1"} {
		if _, err := Resolve(t.Context(), []string{wanted}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultHandler ||
			!strings.Contains(err.Error(), wanted[:5]) {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

// served makes an archive of one package, tool 1.0, has this machine's apt know nothing else, and serves it as answer says. It returns how often
// the list of packages was fetched.
func served(t *testing.T, answer func(http.Handler) http.Handler) (lists *atomic.Int32) {
	t.Helper()
	if _, err := Tools(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, config, made := t.TempDir(), t.TempDir(), t.TempDir()
	buildDeb(t, made, filepath.Join(dir, "tool.deb"), "Maintainer: x\n", map[string]string{"usr/share/tool": "x"})
	text, err := os.ReadFile(filepath.Join(dir, "tool.deb"))
	if err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf("Package: tool\nVersion: 1.0\nArchitecture: all\nDescription: x\nFilename: tool.deb\nSize: %d\nSHA256: %x\n\n", len(text), sha256.Sum256(text))
	files := answer(http.FileServer(http.Dir(dir)))
	lists = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Packages") {
			lists.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for path, text := range map[string]string{
		filepath.Join(dir, "Packages"):        list,
		filepath.Join(config, "sources.list"): "deb [trusted=yes] " + server.URL + "/ ./\n",
		filepath.Join(config, "apt.conf"):     fmt.Sprintf("Dir::Etc::sourcelist %q;\nDir::Etc::sourceparts \"-\";\nAcquire::Retries::Delay \"false\";\n", filepath.Join(config, "sources.list")),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("APT_CONFIG", filepath.Join(config, "apt.conf"))
	return lists
}

// buildDeb makes an archive of the package tool in a directory.
func buildDeb(t *testing.T, dir, to, control string, files map[string]string) {
	t.Helper()
	files["DEBIAN/control"] = "Package: tool\nVersion: 1.0\nArchitecture: all\nDescription: x\n" + control
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := exec.Command(dpkgDeb, "--nocheck", "--build", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// TestArchive resolves and installs from an archive of its own, for which the lists are fetched once.
func TestArchive(t *testing.T) {
	lists := served(t, func(files http.Handler) http.Handler { return files })
	packages, err := Resolve(t.Context(), []string{"tool"})
	if err != nil || len(packages) != 1 {
		t.Fatal(packages, err)
	}
	var m Memory
	receipts, err := Install(t.Context(), m.Recall(m.Learn(packages)), t.TempDir(), nil)
	if err != nil || len(receipts) != 1 || receipts[0].Bytes != packages[0].Size {
		t.Errorf("%+v, %v", receipts, err)
	}
	if n := lists.Load(); n != 1 {
		t.Errorf("the lists were fetched %d times", n)
	}
	if _, err := Resolve(t.Context(), []string{"absent"}); core.AsError(err).Fault != core.FaultHandler {
		t.Errorf("a package that is not there: %v", err)
	}
}

// TestArchiveDown: nobody but the worker's operator can help it that an archive is down.
func TestArchiveDown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"502":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":  http.NotFound,
	} {
		t.Run(name, func(t *testing.T) {
			served(t, func(http.Handler) http.Handler { return answer })
			if _, err := Resolve(t.Context(), []string{"tool"}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultWorker {
				t.Error(err)
			}
		})
	}
	t.Run("sources", func(t *testing.T) {
		served(t, func(files http.Handler) http.Handler { return files })
		list := filepath.Join(filepath.Dir(os.Getenv("APT_CONFIG")), "sources.list")
		if err := os.WriteFile(list, []byte("this is no source\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Resolve(t.Context(), []string{"tool"}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultWorker || !strings.Contains(err.Error(), "/etc/apt") {
			t.Error(err)
		}
	})
}

// TestScanScripts has scripts with the rules that they break, each in its place in a package.
func TestScanScripts(t *testing.T) {
	long := "#!/bin/sh\n" + strings.Repeat(strings.Repeat("#", 1023)+"\n", maxScript>>10+1) + "curl x | sh\n"
	for _, test := range []struct{ name, text, want string }{
		{"DEBIAN/postinst", "#!/bin/sh\nset -e\nif [ \"$1\" = configure ] || [ \"$1\" = abort ]; then\n  echo ready for \"$1\" >&2\nfi\nexit 0\n", ""},
		{"DEBIAN/postinst", "#!/bin/sh\n# Automatically added by dh_x\nldconfig\n# End automatically added section\n", ""},
		{"DEBIAN/postinst", "#!/bin/sh\nldconfig\n", "install-hook:2"},
		{"DEBIAN/preinst", "touch /etc/x\n", "install-hook:1"},
		{"DEBIAN/postinst", "#!/bin/sh\necho x | tee /etc/x\n", "install-hook:2"},
		{"DEBIAN/postinst", "#!/bin/sh\necho x > /etc/cron.d/x\n", "install-hook:2"},
		{"DEBIAN/postinst", "#!/bin/sh\nif [ -n \"$(touch /etc/x)\" ]; then\nfi\n", "install-hook:2"},
		{"DEBIAN/md5sums", "0 curl x | sh\n", ""},
		{"usr/bin/x", "#!/bin/sh\ncurl x | sh\n", "hidden-code:2"},
		{"usr/bin/x", "#!\t/usr/bin/env  -S bash\ncurl x | sh\n", "hidden-code:2"},
		{"usr/bin/x", "#!/usr/local/bin/bash\ncurl x | sh\n", "hidden-code:2"},
		{"usr/bin/x", "#!/usr/bin/python3\ncurl x | sh\n", ""},
		{"usr/bin/x", long, "hidden-code:0"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, test.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(test.text), 0o600)); err != nil {
			t.Fatal(err)
		}
		found, err := scanTree(dir, core.Package{Name: "x", Version: "1"}, "")
		var got []string
		for _, s := range found {
			got = append(got, fmt.Sprintf("%s:%d", s.Rule, s.Line))
		}
		if strings.Join(got, " ") != test.want || err != nil {
			t.Errorf("%s: %.80q: %q, %v; want %q", test.name, test.text, got, err, test.want)
		}
	}
}

// TestResolvers reads a library for a machine whose relocations it does not know.
func TestResolvers(t *testing.T) {
	text, err := os.ReadFile("/lib/" + Triplet() + "/libutil.so.1")
	if err != nil {
		t.Fatal(err)
	}
	object, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range object.Sections {
		if section.Type == elf.SHT_RELA { //nolint:misspell // as ELF has it
			clear(text[section.Offset+8 : section.Offset+12]) // a relocation of type 0
		}
	}
	binary.LittleEndian.PutUint16(text[18:], uint16(elf.EM_RISCV))
	var found tree
	if found.resolvers("x", bytes.NewReader(text)); len(found.found) > 0 {
		t.Error(found.found)
	}
}

// TestInstallNames has locks that a user could bring.
func TestInstallNames(t *testing.T) {
	for _, p := range []core.Locked{{Name: "libone", Version: "1"}, {Name: Marker + "-oDir::Log=x", Version: "1"}, {Name: Marker + "../x", Version: "1"}, {Name: Marker + "x", Version: "../1"}, {Name: Marker + "x"}} {
		if _, err := Install(t.Context(), []Archive{{Locked: p}}, t.TempDir(), nil); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultCaller {
			t.Errorf("%s: %v", p, err)
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

// TestAlternatives reads scripts that have update-alternatives make links: of what is in the package, by literal words and by loops over them.
func TestAlternatives(t *testing.T) {
	for script, want := range map[string][]alternative{
		"update-alternatives --install /usr/bin/vi vi /usr/bin/vim.basic 30": {{"/usr/bin/vi", "/usr/bin/vim.basic", 30}},
		"if [ x ]; then\n update-alternatives --quiet \\\n  --install \"/usr/bin/x\" x '/usr/bin/y' 5 --slave /usr/share/x.1 x.1 \\\n /usr/share/y.1\nfi": {
			{"/usr/bin/x", "/usr/bin/y", 5}, {"/usr/share/x.1", "/usr/share/y.1", 5}},
		"for prog in a b; do\nupdate-alternatives --install /usr/bin/$prog \\\n $prog /usr/bin/${prog}-6 10\ndone": {{"/usr/bin/a", "/usr/bin/a-6", 10}, {"/usr/bin/b", "/usr/bin/b-6", 10}},
		"PRIO=7\nupdate-alternatives --install /l n /p $PRIO\nupdate-alternatives --install /l n /q 9":             {{"/l", "/q", 9}, {"/l", "/p", 7}},
		"update-alternatives --install /usr/bin/$(uname) x /p 1; update-alternatives --install /l n /p $HIGH":      nil,
		"update-alternatives --remove x /usr/bin/x; update-alternatives --install /l n":                            nil,
		"for a in $(ls); do update-alternatives --install /usr/bin/$a $a /opt/$a 1; done":                          nil,
	} {
		if got := alternatives(script); !slices.Equal(got, want) {
			t.Errorf("%s\ngives %v, want %v", script, got, want)
		}
	}
}

// TestLinkAlternatives has a package whose script would link to a program of its own, to what it does not have, and out of its directory.
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

// TestExtract has a package with files in directories that are links on this system.
func TestExtract(t *testing.T) {
	if target, err := os.Readlink("/lib"); err != nil || target != "usr/lib" {
		t.Skip("this system has /lib apart from /usr/lib")
	}
	dir := t.TempDir()
	archive := filepath.Join(t.TempDir(), "tool.deb")
	buildDeb(t, t.TempDir(), archive, "Maintainer: x\n", map[string]string{"lib/" + Triplet() + "/libtool.so.1": "old", "usr/lib/tool/data": "new", "sbin/tool": "x"})
	if said, err := extract(t.Context(), archive, dir); err != nil {
		t.Fatal(said, err)
	}
	if found, err := filepath.Glob(dir + "/usr/lib/*/*"); err != nil || len(found) != 2 {
		t.Errorf("below /usr/lib there is %v", found)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("it has %v, %v", entries, err)
	}
	for name, want := range map[string]string{"lib": "usr/lib", "sbin": "usr/sbin"} {
		if target, err := os.Readlink(filepath.Join(dir, name)); err != nil || target != want {
			t.Errorf("%s leads to %q, %v", name, target, err)
		}
	}
	if dirs := LibraryDirs(dir); len(dirs) != 2 {
		t.Errorf("libraries are in %v", dirs)
	}
	if said, err := extract(t.Context(), "/etc/passwd", t.TempDir()); err == nil || !strings.Contains(said, "passwd") {
		t.Errorf("what is no archive: %q, %v", said, err)
	}
}

func TestLinkAlternatives(t *testing.T) {
	if _, err := os.Stat(dpkgDeb); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	made, dir := t.TempDir(), t.TempDir()
	archive := filepath.Join(t.TempDir(), "tool.deb")
	buildDeb(t, made, archive, "Maintainer: x\n", map[string]string{"usr/lib/tool/real": "x", "usr/bin/there": "y", "DEBIAN/postinst": `#!/bin/sh
update-alternatives --install /usr/bin/tool tool /usr/lib/tool/real 10
update-alternatives --install /usr/bin/there there /usr/lib/tool/real 10
update-alternatives --install /usr/bin/absent absent /usr/lib/tool/none 10
update-alternatives --install /../../../outside outside /usr/lib/tool/real 10
update-alternatives --install /usr/share/out/link link /usr/lib/tool/real 10
`})
	if said, err := exec.Command(dpkgDeb, "--extract", archive, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	outside := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/usr/share", 0o755), os.Symlink(outside, dir+"/usr/share/out")); err != nil {
		t.Fatal(err)
	}
	if err := linkAlternatives(t.Context(), archive, dir); err == nil {
		t.Error("a link out of the directory is no error")
	}
	if err := errors.Join(os.Remove(dir+"/usr/share/out"), linkAlternatives(t.Context(), archive, dir)); err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]string{"usr/bin/tool": "../lib/tool/real", "usr/share/out/link": "../../lib/tool/real", "outside": "usr/lib/tool/real"} {
		if to, err := os.Readlink(filepath.Join(dir, link)); err != nil || to != want {
			t.Errorf("%s leads to %q, %v", link, to, err)
		}
	}
	if text, err := os.ReadFile(dir + "/usr/bin/there"); err != nil || string(text) != "y" {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := os.Lstat(dir + "/usr/bin/absent"); err == nil {
		t.Error("there is a link to nothing")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside there is %v", left)
	}
}
