package learn

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// numbered resolves requirements by name: names are those of the packages of a sample.
func (s *sample) numbered(wanted [][]named, isOptional bool) {
	places := map[string]int{}
	for i, one := range s.all {
		places[one.name] = i
	}
	for i, all := range wanted {
		for _, one := range all {
			place, there := places[one.name]
			if !there {
				if isOptional { // for another system, or an extra
					continue
				}
				place = -1
			}
			s.all[i].requires = append(s.all[i].requires, requirement{place, one.kind})
		}
	}
}

// named is a requirement of a package by its name.
type named struct{ name, kind string }

var separators = regexp.MustCompile(`[-_.]+`)

// pythonName is how a name is written in Python if one wants to compare it.
func pythonName(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

var pythonRequirement = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)`)

// readPython reads a directory site-packages.
func readPython(dir string) (sample, error) {
	s := sample{language: "python"}
	infos, err := filepath.Glob(filepath.Join(dir, "*.dist-info"))
	if err != nil {
		return s, err
	}
	var wanted [][]named
	for _, info := range infos {
		text, err := os.ReadFile(filepath.Join(info, "METADATA"))
		if err != nil {
			return s, err
		}
		var one found
		var requires []named
		head, _, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n\n")
		for line := range strings.SplitSeq(head, "\n") {
			field, value, _ := strings.Cut(line, ": ")
			switch field {
			case "Name":
				one.name = pythonName(value)
			case "Version":
				one.version = value
			case "Requires-Dist":
				if m := pythonRequirement.FindStringSubmatch(value); m != nil && !strings.Contains(value, "extra ==") {
					requires = append(requires, named{pythonName(m[1]), pythonKind(m[2])})
				}
			}
		}
		if one.name == "" || one.version == "" {
			return s, fmt.Errorf("%s: Name, Version: a package has both", filepath.Join(info, "METADATA"))
		}
		if one.files, err = recorded(filepath.Join(info, "RECORD")); err != nil {
			return s, err
		}
		s.all, wanted = append(s.all, one), append(wanted, requires)
	}
	s.numbered(wanted, true)
	return s, nil
}

// recorded reads the files of a package from its RECORD: those that a wheel has, without what describes it
// and bytecode.
func recorded(name string) (files []file, err error) {
	in, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // of Debian's, or of another old installer
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, row := range rows {
		inside := row[0]
		first, rest, below := strings.Cut(inside, "/")
		if len(row) != 3 || strings.HasSuffix(first, ".dist-info") || first == ".." || path.Ext(inside) == ".pyc" || !fs.ValidPath(inside) {
			continue
		}
		size, err := strconv.ParseInt(row[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: size: %q is no number", name, i+1, row[2])
		}
		if !below {
			rest = inside
		}
		files = append(files, file{rest, size})
	}
	return files, nil
}

// pythonKind is the kind of a specifier such as >=1,<2.
func pythonKind(specifier string) string {
	switch specifier = strings.ReplaceAll(specifier, " ", ""); {
	case strings.Contains(specifier, "~=") || strings.Contains(specifier, ".*") && !strings.Contains(specifier, "!=") ||
		strings.Contains(specifier, ">") && strings.Contains(specifier, "<"):
		return compatible
	case strings.Contains(specifier, "=="):
		return exact
	case strings.Contains(specifier, ">"):
		return atLeast
	}
	return anyVersion
}

// packageJSON is what is read of a package.json, and of an entry of package-lock.json.
type packageJSON struct {
	Name     string
	Version  string
	Requires map[string]string `json:"dependencies"`
	Scripts  map[string]string
	IsBuilt  bool `json:"hasInstallScript"`
}

// readNode reads a directory node_modules, with those inside of packages.
func readNode(dir string) (sample, error) {
	entries := map[string]packageJSON{}
	files := map[string][]file{}
	var walk func(modules string) error
	walk = func(modules string) error {
		for _, pattern := range []string{"*/package.json", "@*/*/package.json"} {
			found, err := filepath.Glob(filepath.Join(dir, modules, pattern))
			if err != nil {
				return err
			}
			for _, name := range found {
				place, err := filepath.Rel(dir, filepath.Dir(name))
				if err != nil {
					return err
				}
				var one packageJSON
				text, err := os.ReadFile(name)
				if err == nil {
					err = json.Unmarshal(text, &one)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				for _, script := range []string{"preinstall", "install", "postinstall"} {
					one.IsBuilt = one.IsBuilt || one.Scripts[script] != ""
				}
				entries["node_modules/"+place] = one
				if files["node_modules/"+place], err = below(filepath.Dir(name)); err != nil {
					return err
				}
				if err := walk(filepath.Join(place, "node_modules")); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(""); err != nil {
		return sample{}, err
	}
	return nodeSample(entries, files), nil
}

// below are the files of a package's directory, without packages inside of it.
func below(dir string) (files []file, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(dir, name)
		files = append(files, file{filepath.ToSlash(inside), info.Size()})
		return err
	})
	return files, err
}
