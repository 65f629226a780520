package learn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// What is read of the specification of an installed gem, which is Ruby.
var (
	gemName     = regexp.MustCompile(`(?m)^\s*s\.name = "([^"]+)"`)
	gemVersion  = regexp.MustCompile(`(?m)^\s*s\.version = "([^"]+)"`)
	gemRequires = regexp.MustCompile(`(?m)s\.add_(?:runtime_)?dependency\(%q<([^>]+)>(?:\.freeze)?, \[([^\]]*)\]\)`)
	gemBuilds   = regexp.MustCompile(`(?m)^\s*s\.extensions = `)
)

// readRuby reads a directory of gems, with specifications and gems in it.
func readRuby(dir string) (sample, error) {
	s := sample{language: "ruby"}
	specifications, err := filepath.Glob(filepath.Join(dir, "specifications", "*.gemspec"))
	if err != nil {
		return s, err
	}
	var wanted [][]named
	for _, name := range specifications {
		text, err := os.ReadFile(name)
		if err != nil {
			return s, err
		}
		n, v := gemName.FindSubmatch(text), gemVersion.FindSubmatch(text)
		if n == nil || v == nil {
			return s, fmt.Errorf("%s: s.name, s.version: a gem has both", name)
		}
		one := found{name: string(n[1]), version: string(v[1]), builds: gemBuilds.Match(text)}
		var requires []named
		// An older RubyGems has it twice, for one still older.
		for _, r := range gemRequires.FindAllSubmatch(text, -1) {
			if r := (named{string(r[1]), gemKind(strings.ReplaceAll(string(r[2]), `"`, ""))}); !slices.Contains(requires, r) {
				requires = append(requires, r)
			}
		}
		one.files, err = below(filepath.Join(dir, "gems", strings.TrimSuffix(filepath.Base(name), ".gemspec")))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a default gem has its files elsewhere
			return s, err
		}
		s.all, wanted = append(s.all, one), append(wanted, requires)
	}
	s.numbered(wanted, false)
	return s, nil
}

// gemKind is the kind of conditions such as ~> 1.0, >= 1.0.2.
func gemKind(conditions string) string {
	switch {
	case strings.Contains(conditions, "~>") || strings.Contains(conditions, ">") && strings.Contains(conditions, "<"):
		return compatible
	case strings.Contains(conditions, ">= 0") && !strings.Contains(conditions, ">= 0."):
		return anyVersion
	case strings.Contains(conditions, ">"):
		return atLeast
	case strings.Contains(conditions, "=") && !strings.Contains(conditions, "!="):
		return exact
	}
	return anyVersion
}

var debianDepends = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9]+)?(?: \((<<|<=|=|>=|>>) [^)]+\))?`)

// debianKinds are the kinds of requirements by their operators.
var debianKinds = map[string]string{"": anyVersion, "=": exact, ">=": atLeast, ">>": atLeast, "<<": anyVersion, "<=": anyVersion}

// readDebian reads /var/lib/dpkg: the libraries that are installed.
func readDebian(dir string) (sample, error) {
	s := sample{language: "native"}
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return s, err
	}
	var wanted [][]named
	for paragraph := range strings.SplitSeq(string(text), "\n\n") {
		fields := map[string]string{}
		for line := range strings.SplitSeq(paragraph, "\n") {
			if name, value, is := strings.Cut(line, ": "); is && !strings.HasPrefix(line, " ") {
				fields[name] = value
			}
		}
		if section := fields["Section"]; fields["Status"] != "install ok installed" || section != "libs" && !strings.HasSuffix(section, "/libs") {
			continue
		}
		one := found{name: fields["Package"], version: fields["Version"]}
		var requires []named
		for entry := range strings.SplitSeq(fields["Depends"], ", ") {
			first, _, _ := strings.Cut(entry, " | ")
			if m := debianDepends.FindStringSubmatch(first); m != nil {
				requires = append(requires, named{m[1], debianKinds[m[2]]})
			}
		}
		if one.files, err = debianFiles(dir, one.name, fields["Architecture"]); err != nil {
			return s, err
		}
		s.all, wanted = append(s.all, one), append(wanted, requires)
	}
	s.numbered(wanted, false)
	return s, nil
}

// debianFiles are the files of an installed package, as its list has them: without the directories that all
// packages have.
func debianFiles(dir, name, architecture string) (files []file, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "info", name+":"+architecture+".list"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(dir, "info", name+".list"))
	}
	if err != nil {
		return nil, err
	}
	for path := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue // what the machine has left out, such as documents in a container
		}
		inside := strings.TrimPrefix(path, "/")
		for _, prefix := range []string{"usr/share/", "usr/lib/x86_64-linux-gnu/", "usr/lib/aarch64-linux-gnu/", "usr/lib/", "usr/"} {
			if rest, is := strings.CutPrefix(inside, prefix); is {
				inside = rest
				break
			}
		}
		files = append(files, file{strings.ReplaceAll(inside, "/"+name+"/", "/"), info.Size()})
	}
	return files, nil
}
