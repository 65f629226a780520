package debian

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

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

// TestAlternatives reads scripts that have update-alternatives make links: of what is in the package, by
// literal words and by loops over them.
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

// TestLinkAlternatives has a package whose script would link to a program of its own, to what it does not
// have, and out of its directory.
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
