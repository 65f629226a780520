// Package debian resolves Debian packages with apt and unpacks each into a directory of its own, inside an
// installer's sandbox. Nothing is installed on the host, and no script of a package ever runs.
//
// What apt decides by is private: lists of packages that each resolve fetches, and a state of dpkg that has
// only what every process sees of the host anyway (see base). So the whole of what a function needs is in the
// store, and what the host happens to have installed makes no difference. Where packages come from and whose
// signatures count, the host's /etc/apt says.
//
// Mutex order: that of a Memory is taken alone; that of unpackAll before those that its progress takes.
package debian

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Marker begins the name of each package of Debian's, so that it is never taken for one of a language's.
const Marker = "debian+"

const (
	aptGet    = "/usr/bin/apt-get"
	aptCache  = "/usr/bin/apt-cache"
	aptHelper = "/usr/lib/apt/apt-helper"
	dpkgDeb   = "/usr/bin/dpkg-deb"
	status    = "/var/lib/dpkg/status"
)

// Archives are the names of Debian's archives (core.Runtime, Archives).
const Archives = "*.deb"

// Ours reports whether a package is one of Debian's.
func Ours(p core.Locked) bool { return strings.HasPrefix(p.Name, Marker) }

// A version may have one colon, after its epoch, and a path in a list of paths none. It never has an
// underscore.
func newPackage(name, version string) core.Locked {
	return core.Locked{Name: Marker + name, Version: strings.Replace(version, ":", "_", 1)}
}

// nameAndVersion are as Debian has them.
func nameAndVersion(p core.Locked) (name, version string) {
	return strings.TrimPrefix(p.Name, Marker), strings.Replace(p.Version, "_", ":", 1)
}

// Tools returns what a sandbox has to see of the host besides for apt to work in it (core.Runtime, Tools),
// and an error that says what is missing when there is no apt here. Passwords for repositories (auth.conf)
// are not shown.
func Tools() ([]core.Mount, error) {
	var tools []core.Mount
	for _, path := range []string{aptGet, aptCache, aptHelper, dpkgDeb, status} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("functions with Debian packages cannot be deployed, for this machine is no Debian: %w", err)
		}
	}
	for _, path := range []string{status, "/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d",
		"/etc/apt/keyrings", "/etc/apt/preferences", "/etc/apt/preferences.d", "/etc/apt/apt.conf", "/etc/apt/apt.conf.d"} {
		if _, err := os.Stat(path); err == nil {
			tools = append(tools, core.Mount{Source: path, Target: path})
		}
	}
	return tools, nil
}

// Resolve returns the packages that the names stand for, each "name" or "name=version", at exact versions and
// with all that they depend on, but for what the host shows (see base). Recommended packages are not among
// them. It works in core.ScratchDir, over the network. Shown are names of further packages that the runtime
// brings along, as far as the host has them: neither they nor what they alone depend on are among the
// packages.
func Resolve(ctx context.Context, names []string, shown ...string) ([]Archive, error) {
	if len(names) == 0 {
		return nil, nil
	}
	a, err := openApt(shown)
	if err != nil {
		return nil, err
	}
	defer a.close()
	names, err = a.beyondBase(names)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	out, err := a.run(ctx, aptGet, "resolving "+strings.Join(names, ", "), nil, append([]string{"install", "--print-uris", sha256Only, "--"}, names...)...)
	if err != nil {
		return nil, a.behind(out, err)
	}
	packages, err := printed(out)
	if err == nil {
		err = a.untouched(out, packages)
	}
	if err != nil {
		return nil, err
	}
	for _, wanted := range names {
		name, _, _ := strings.Cut(wanted, "=")
		// A name that it does not know may be a known one and a wish to remove that.
		if !slices.ContainsFunc(packages, func(p Archive) bool { return p.Name == Marker+name }) {
			return nil, core.Errorf(core.KindInstall, core.FaultHandler, "there is no Debian package %q; fix 'debian' in pipsqueak.yaml", name)
		}
	}
	return packages, a.describe(ctx, packages)
}

// beyondBase returns the names that are not in the base.
func (a *apt) beyondBase(names []string) ([]string, error) {
	var beyond []string
	for _, wanted := range names {
		name, version, exact := strings.Cut(wanted, "=")
		switch installed, shown := a.base[name]; {
		case !shown:
			beyond = append(beyond, wanted)
		case exact && version != installed:
			return nil, core.Errorf(core.KindInstall, core.FaultHandler, "of the Debian package %s every function sees the worker's own, version %s: it cannot have %s", name, installed, version)
		}
	}
	return beyond, nil
}

// changes are what apt says it would do to what is installed.
var changes = regexp.MustCompile(`(?m)^The following packages will be (?:REMOVED|upgraded|DOWNGRADED):\n((?:  .*\n)+)`)

// untouched is an error when apt would not leave the base as it is.
func (a *apt) untouched(out string, packages []Archive) error {
	var touched []string
	if m := changes.FindStringSubmatch(out); m != nil {
		touched = strings.Fields(m[1])
	}
	for _, p := range packages {
		if name, _ := nameAndVersion(p.Locked); a.base[name] != "" {
			touched = append(touched, name)
		}
	}
	if len(touched) == 0 {
		return nil
	}
	return core.Errorf(core.KindInstall, core.FaultHandler, "the Debian packages of the function do not go with %s %s of this worker's machine; "+
		"choose other versions, or upgrade the machine", touched[0], a.base[touched[0]])
}

// unmet is what apt says of a package that needs another one at a version that it cannot have: " perl :
// Depends: perl-base (= 5.36.0-7+deb12u4)".
var unmet = regexp.MustCompile(`(?m)^ (\S+) : (?:Pre)?Depends: (\S+) \((.+?)\)`)

// behind returns the error of a resolution, and says when the machine's own packages are the reason: they are
// older than those of the archive.
func (a *apt) behind(said string, err error) error {
	for _, m := range unmet.FindAllStringSubmatch(said, -1) {
		if own := a.base[m[2]]; own != "" {
			return core.Errorf(core.KindInstall, core.FaultWorker, "the Debian package %s of the archive needs %s (%s), and the worker's machine has %s, which every function sees: "+
				"upgrade the machine (apt-get update, apt-get upgrade)", m[1], m[2], m[3], own)
		}
	}
	return err
}

// base returns the entries of dpkg's status that the private one begins with: what a sandbox shows of the
// host and a package can rely on. These are the packages that every Debian has (Essential or of priority
// required), and those built from the sources of the C library, the compiler and the kernel, as far as they
// are installed: a second C library in a process would not work, and a second set of its headers makes no
// sense. They are there without their own dependencies, which nobody asks for. The same goes for those that
// are shown besides. It also returns the versions by name.
func base(status string, shown []string) (entries string, versions map[string]string) {
	versions = map[string]string{}
	var b strings.Builder
	for fields := range records(status) {
		source, _, _ := strings.Cut(fields["Source"], " ")
		if fields["Status"] != "install ok installed" || fields["Architecture"] != "all" && fields["Architecture"] != architecture() ||
			fields["Essential"] != "yes" && fields["Priority"] != "required" && !toolchain.MatchString(source) && !slices.Contains(shown, fields["Package"]) {
			continue
		}
		versions[fields["Package"]] = fields["Version"]
		for _, key := range []string{"Package", "Status", "Priority", "Architecture", "Multi-Arch", "Version", "Provides"} {
			if value := fields[key]; value != "" {
				fmt.Fprintf(&b, "%s: %s\n", key, value)
			}
		}
		b.WriteString("Maintainer: -\nDescription: -\n\n")
	}
	return b.String(), versions
}

// records are the entries of a list in Debian's format: their fields of one line by name.
func records(text string) iter.Seq[map[string]string] {
	return func(yield func(map[string]string) bool) {
		for entry := range strings.SplitSeq(text, "\n\n") {
			fields := map[string]string{}
			for line := range strings.Lines(entry) {
				if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
					fields[key] = strings.TrimSpace(value)
				}
			}
			if !yield(fields) {
				return
			}
		}
	}
}

var toolchain = regexp.MustCompile(`^(glibc|linux|gcc-(\d+|defaults))$`)

// LibraryDirs returns the directories inside of a package's directory that the dynamic loader would look into
// were it installed, as far as they are there.
func LibraryDirs(dir string) []string {
	var dirs []string
	for _, pattern := range []string{"usr/local/lib", "usr/lib/" + Triplet(), "lib/" + Triplet(), "usr/lib", "lib", "usr/lib64", "lib64"} {
		path := filepath.Join(dir, pattern)
		top, _, _ := strings.Cut(pattern, "/")
		if _, err := os.Readlink(filepath.Join(dir, top)); err == nil {
			continue // to the one in usr, which is among them
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		}
	}
	return dirs
}

// lastLines cuts what a program said to its errors, or its last lines.
func lastLines(text string) string {
	var errors, all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "E: ") {
			errors = append(errors, strings.TrimPrefix(line, "E: "))
		}
		if line != "" {
			all = append(all, line)
		}
	}
	if len(errors) > 0 {
		all = errors
	}
	return strings.Join(all[max(0, len(all)-20):], "; ")
}
