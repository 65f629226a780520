package debian

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

func TestSimulated(t *testing.T) {
	packages, err := simulated("Reading\nInst liba1 (1:2.0-1 Debian:12/stable [amd64]) [b ]\nInst b (3+x~y-1 Debian:12/stable, Other:1 [all])\nConf liba1 (1:2.0-1)\n")
	if want := []core.Locked{{Name: "debian+liba1", Version: "1_2.0-1"}, {Name: "debian+b", Version: "3+x~y-1"}}; err != nil || !reflect.DeepEqual(packages, want) {
		t.Errorf("%v, %v", packages, err)
	}
	if name, version := nameAndVersion(packages[0]); name != "liba1" || version != "1:2.0-1" {
		t.Error(name, version)
	}
	for _, out := range []string{"Inst libc6 [2.36] (2.40 Debian:13 [amd64])\n", "Remv bash [5.2]\n"} {
		if _, err := simulated(out); !core.IsKind(err, core.KindInstall) {
			t.Errorf("%s: %v", out, err)
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
	i := slices.IndexFunc(packages, func(p core.Locked) bool { return p.Name == Marker+"libblas3" })
	if i < 0 || slices.ContainsFunc(packages, func(p core.Locked) bool { return p.Name == Marker+"libc6" }) {
		t.Fatalf("libblas3 takes %v", packages)
	}
	out := t.TempDir()
	steps := 0
	if _, err := Install(t.Context(), packages, out, func(core.Progress) { steps++ }); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(out, packages[i].Base())
	if info, err := os.Stat(filepath.Join(dir, "usr/lib", Triplet(), "libblas.so.3")); err != nil || info.Size() < 10_000 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := os.ReadDir(out); len(left) != len(packages) || steps < len(packages) {
		t.Errorf("%d directories of %d packages, in %d steps", len(left), len(packages), steps)
	}
	for _, wanted := range []string{"no-such-package-at-all", "libblas3=0-none", "libblas.", "libblas3-", "libc6=0-none"} {
		if _, err := Resolve(t.Context(), []string{wanted}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultHandler ||
			!strings.Contains(err.Error(), wanted[:5]) {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

func TestCommand(t *testing.T) {
	for _, arguments := range [][]string{nil, {"remove"}, {"install", "x"}} {
		var out strings.Builder
		var said struct{ Error *core.Error }
		if status := Command(arguments, strings.NewReader("[]"), &out); status == 0 || json.Unmarshal([]byte(out.String()), &said) != nil || said.Error == nil {
			t.Errorf("%v: %d %s", arguments, status, &out)
		}
	}
	var out strings.Builder
	if status := Command([]string{"install"}, strings.NewReader(`[{"name":"of-a-language","version":"1"}]`), &out); status != 0 || out.String() != `{"result":{"packages":[]}}`+"\n" && out.String() != `{"result":{"packages":null}}`+"\n" {
		t.Errorf("%d %s", status, &out)
	}
}
