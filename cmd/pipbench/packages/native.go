package packages

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// native writes libraries as Debian packages, one with the library and one to build with. It compiles each
// version against the latest of what it requires, so packages come after those.
type native struct {
	layout
	staged string // directory of the libraries that are there to link
}

// The names by which a machine is known to Debian, and to its compiler.
var machines = map[string]struct{ architecture, triplet string }{
	"amd64": {"amd64", "x86_64-linux-gnu"},
	"arm64": {"arm64", "aarch64-linux-gnu"},
}

func newNative(l layout) (native, error) {
	if _, known := machines[runtime.GOARCH]; !known {
		return native{}, fmt.Errorf("no native packages for %s: pipbench knows the names of amd64 and arm64 alone", runtime.GOARCH)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		return native{}, fmt.Errorf("native packages are compiled: %w: install gcc and libc6-dev", err)
	}
	staged, err := os.MkdirTemp("", "pipbench-")
	return native{l, staged}, err
}

func (native) serial() bool   { return true }
func (f native) close() error { return os.RemoveAll(f.staged) }

func (f native) write(ctx context.Context, dir string, p Package, v Version) ([]Archive, error) {
	machine := machines[runtime.GOARCH]
	requires := p.Requirements(v)
	filled := facts{Package: p, Version: v, Requires: requires, Memory: p.Memory}
	library, err := f.compile(ctx, filled)
	if err != nil {
		return nil, err
	}
	lib := "./usr/lib/" + machine.triplet + "/"
	run := []entry{{name: lib + "lib" + p.Name + ".so.1", mode: 0o644, content: library}}
	for _, one := range f.files(p) {
		run = append(run, entry{name: "./usr/share/" + path.Join(p.Name, one.path), mode: 0o644, content: f.content(p, v, one, "")})
	}
	depends := []string{"libc6"}
	for _, r := range requires {
		depends = append(depends, debianLimits("lib"+r.Package+"1", r)...)
	}
	control := fmt.Sprintf("Package: lib%s1\nSource: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\nInstalled-Size: %d\nDepends: %s\nSection: libs\nPriority: optional\nDescription: an artificial library, made by pipbench\n",
		p.Name, p.Name, v.Number, machine.architecture, p.Size/1024, strings.Join(depends, ", "))
	development := []entry{
		{name: lib + "lib" + p.Name + ".so", link: "lib" + p.Name + ".so.1"},
		{name: "./usr/include/" + p.Name + ".h", mode: 0o644, content: fmt.Appendf(nil, "#pragma once\n#define %s_VALUE \"%s\"\n#ifdef __cplusplus\nextern \"C\"\n#endif\nconst char *%s_value(void);\n", strings.ToUpper(Module(p.Name)), v.Value, Module(p.Name))},
		{name: lib + "pkgconfig/" + p.Name + ".pc", mode: 0o644, content: []byte(pkgConfig(p, v, requires, machine.triplet))},
	}
	depends = []string{fmt.Sprintf("lib%s1 (= %s)", p.Name, v.Number)}
	for _, r := range requires {
		depends = append(depends, debianLimits("lib"+r.Package+"-dev", r)...)
	}
	build := fmt.Sprintf("Package: lib%s-dev\nSource: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\nInstalled-Size: 4\nDepends: %s\nSection: libdevel\nPriority: optional\nDescription: an artificial library, to build with\n",
		p.Name, p.Name, v.Number, machine.architecture, strings.Join(depends, ", "))
	var archives []Archive
	for _, one := range []struct {
		name, control string
		files         []entry
	}{{"lib" + p.Name + "1", control, run}, {"lib" + p.Name + "-dev", build, development}} {
		a, err := save(dir, fmt.Sprintf("%s_%s_%s.deb", one.name, v.Number, machine.architecture), func(w io.Writer) error { return deb(w, one.control, one.files) })
		if err != nil {
			return nil, err
		}
		a.SHA512, a.Metadata = "", one.control
		archives = append(archives, a)
	}
	return archives, nil
}

// compile returns the library of a version, and leaves it where later ones find it.
func (f native) compile(ctx context.Context, filled facts) ([]byte, error) {
	out := "lib" + filled.Package.Name + ".so"
	arguments := []string{"-shared", "-fPIC", "-O1", "-s", "-fvisibility=hidden", "-Wl,-soname," + out + ".1", "-Wl,--no-as-needed", "-o", out, "-x", "c", "-", "-L."}
	for _, r := range filled.Requires {
		arguments = append(arguments, "-l"+r.Package)
	}
	// A library that another one needs is not looked for: what it takes to run is known when it is installed.
	command := exec.CommandContext(ctx, "cc", append(arguments, "-Wl,--allow-shlib-undefined", "-Wl,-rpath-link,.")...)
	command.Dir, command.Stdin = f.staged, strings.NewReader(filled.fill("native_library.c"))
	if said, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, said)
	}
	return os.ReadFile(filepath.Join(f.staged, out))
}

// debianLimits are the conditions of a requirement, as an entry of Depends each.
func debianLimits(name string, r Requirement) []string {
	switch r.Allows {
	case AtLeast:
		return []string{fmt.Sprintf("%s (>= %s)", name, r.Version)}
	case Compatible:
		return []string{fmt.Sprintf("%s (>= %s)", name, r.Version), fmt.Sprintf("%s (<< %d)", name, major(r.Version)+1)}
	case Exact:
		return []string{fmt.Sprintf("%s (= %s)", name, r.Version)}
	}
	return []string{name}
}

func pkgConfig(p Package, v Version, requires []Requirement, triplet string) string {
	private := ""
	for _, r := range requires {
		private += " " + r.Package
	}
	return fmt.Sprintf("Name: %s\nDescription: an artificial library, made by pipbench\nVersion: %s\nRequires.private:%s\nLibs: -L/usr/lib/%s -l%s\nCflags: -I/usr/include\n",
		p.Name, v.Number, private, triplet, p.Name)
}

// deb writes a Debian package: an ar archive of two tar archives.
func deb(w io.Writer, control string, files []entry) error {
	if _, err := io.WriteString(w, "!<arch>\n"); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		files []entry
	}{{"debian-binary", nil}, {"control.tar.gz", []entry{{name: "./control", mode: 0o644, content: []byte(control)}}}, {"data.tar.gz", files}} {
		content := []byte("2.0\n")
		if part.files != nil {
			var err error
			if content, err = tarballBytes(withDirectories(part.files)); err != nil {
				return err
			}
		}
		if len(content)%2 == 1 { // members begin at even places; zeros after a gzip stream are ignored
			content = append(content, 0)
		}
		if _, err := fmt.Fprintf(w, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", part.name, epoch.Unix(), 0, 0, 0o100644, len(content), content); err != nil {
			return err
		}
	}
	return nil
}

// withDirectories returns files with the directories in which they lie, each before what is in it, as dpkg
// wants them.
func withDirectories(files []entry) (all []entry) {
	made := map[string]bool{}
	for _, one := range files {
		var above []string
		for dir := path.Dir(one.name); dir != "." && !made[dir]; dir = path.Dir(dir) {
			made[dir] = true
			above = append(above, dir)
		}
		slices.Reverse(above)
		for _, dir := range above {
			all = append(all, entry{name: "./" + dir + "/", mode: 0o755})
		}
		all = append(all, one)
	}
	return all
}
