package main

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// debianCommand is the argument with which this program, inside an installer's sandbox, resolves and installs
// Debian packages.
const debianCommand = "debian"

// index is everything that a process has to know of a package. runtime/loop/load.rb reads it;
// runtime/install/gems.rb writes those of gems.
type index struct {
	Gems      map[string]string  `json:"gems"`  // names and versions
	Paths     []string           `json:"paths"` // for $LOAD_PATH
	Libraries map[string]library `json:"libraries,omitempty"`
	Needs     []string           `json:"needs,omitempty"` // names of the libraries that its extensions are linked with

	modules, offers []string // as in core.Receipt
}

// library is a shared library, by the name that others know it by.
type library struct {
	Path  string   `json:"path"`
	Needs []string `json:"needs,omitempty"`
}

const indexFile = "pipsqueak.json"

func installDebian(arguments []string, in io.Reader, out io.Writer) int {
	return debian.Command(arguments, in, out, func(receipts []core.Receipt) error {
		for i, r := range receipts {
			x, err := writeIndex(filepath.Join(core.OutDir, core.Package{Name: r.Name, Version: r.Version}.Base()))
			if err != nil {
				return err
			}
			receipts[i].Modules, receipts[i].Offers = x.modules, x.offers
		}
		return nil
	})
}

// gemDirs are where Debian puts Ruby code that is no gem, and the extensions of gems.
var gemDirs = []string{"usr/lib/*/ruby/vendor_ruby/[0-9]*", "usr/lib/ruby/vendor_ruby/[0-9]*", "usr/lib/ruby/vendor_ruby",
	"usr/lib/*/rubygems-integration/*/extensions/*/*/*", "usr/lib/ruby/gems/*/extensions/*/*/*"}

var (
	gemspec      = regexp.MustCompile(`^(.*)/specifications/(([^/]+)-(\d[^/-]*))\.gemspec$`)
	requirePaths = regexp.MustCompile(`\.require_paths = \[(.*?)\]`)
	quoted       = regexp.MustCompile(`"([^"]*)"`)
)

// compiledEnding is that of what the driver compiles, which is loaded in place of what others read and scan:
// no package brings it.
const compiledEnding = ".rb.iseq"

// writeIndex examines an unpacked Debian package.
func writeIndex(dir string) (*index, error) {
	x := &index{Gems: map[string]string{}, Paths: []string{}, Libraries: map[string]library{}}
	for _, pattern := range gemDirs {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			x.Paths = append(x.Paths, path[len(dir)+1:])
		}
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err == nil && strings.HasSuffix(path, compiledEnding) && !entry.IsDir():
			return os.Remove(path)
		case err != nil || !entry.Type().IsRegular():
			return err
		case strings.HasSuffix(path, ".gemspec"):
			return x.addGem(dir, path)
		case strings.Contains(entry.Name(), ".so"):
			x.addLibrary(path, path[len(dir)+1:])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	x.findModules(dir)
	return x, errors.Join(x.findOffers(dir), os.WriteFile(filepath.Join(dir, indexFile), text, 0o644))
}

// findOffers finds the names by which others ask for the package: those of gems, and those of files that lie
// in no directory of another one's name.
func (x *index) findOffers(dir string) error {
	files := map[string]bool{}
	for _, path := range x.Paths {
		root := filepath.Join(dir, path)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if ext := filepath.Ext(path); err == nil && !entry.IsDir() && (ext == ".rb" || ext == ".so") {
				files[strings.TrimSuffix(path[len(root)+1:], ext)] = true
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for file := range files {
		name := file
		for above := filepath.Dir(file); above != "."; above = filepath.Dir(above) {
			if files[above] {
				name = above
			}
		}
		names[name] = true
	}
	for gem := range x.Gems {
		names[gem] = true
	}
	x.offers = slices.Sorted(maps.Keys(names))
	return nil
}

// findModules finds the names by which code requires the gems: a gem's name, with hyphens or slashes, or else
// that of the only file there is.
func (x *index) findModules(dir string) {
	var found, top []string
	for _, path := range x.Paths {
		files, _ := filepath.Glob(filepath.Join(dir, path, "*.rb"))
		for _, file := range files {
			top = append(top, strings.TrimSuffix(filepath.Base(file), ".rb"))
		}
	}
	for name := range x.Gems {
		for _, module := range []string{name, strings.ReplaceAll(name, "-", "/")} {
			if slices.ContainsFunc(x.Paths, func(path string) bool { return interpreter.Exists(filepath.Join(dir, path, module+".rb")) }) {
				found = append(found, module)
				break
			}
		}
	}
	if len(found) == 0 && len(x.Gems) > 0 && len(top) == 1 {
		found = top
	}
	slices.Sort(found)
	x.modules = found
}

// addGem notes a gem by its specification. The code of some is where gems are, of others among what is no
// gem.
func (x *index) addGem(dir, path string) error {
	m := gemspec.FindStringSubmatch(path)
	if m == nil {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	x.Gems[m[3]] = m[4]
	paths := []string{"lib"}
	if listed := requirePaths.FindSubmatch(text); listed != nil {
		paths = nil
		for _, one := range quoted.FindAllSubmatch(listed[1], -1) {
			paths = append(paths, string(one[1]))
		}
	}
	for _, one := range paths {
		below := filepath.Join(m[1], "gems", m[2], one)
		if shown, err := filepath.Rel(dir, below); err == nil && filepath.IsLocal(shown) && interpreter.Exists(below) {
			x.Paths = append(x.Paths, shown)
		}
	}
	return nil
}

// addLibrary notes a shared library, or the needs of an extension of Ruby. It ignores all other files.
func (x *index) addLibrary(path, shown string) {
	file, err := elf.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	needs, err := file.ImportedLibraries()
	if err != nil {
		return
	}
	if strings.Contains("/"+shown, "/ruby") {
		x.Needs = append(x.Needs, needs...)
		return
	}
	if names, err := file.DynString(elf.DT_SONAME); err == nil && len(names) == 1 {
		x.Libraries[names[0]] = library{Path: shown, Needs: needs}
	}
}
