package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/debian"
)

// debianCommand is the argument with which this program, inside an installer's sandbox, resolves and installs Debian packages.
const debianCommand = "debian"

// index says what a process has to know of a package: runtime/loader.rb reads it, runtime/gems.rb writes those of gems.
type index struct {
	Gems      map[string]string  `json:"gems"`  // names and versions
	Paths     []string           `json:"paths"` // for $LOAD_PATH
	Libraries map[string]library `json:"libraries,omitempty"`
	Needs     []string           `json:"needs,omitempty"` // names of the libraries that its extensions are linked with
}

// library is a shared library, by the name that others know it by.
type library struct {
	Path  string   `json:"path"`
	Needs []string `json:"needs"`
}

const indexFile = "pipsqueak.json"

func installDebian(arguments []string, in io.Reader, out io.Writer) int {
	if status := debian.Command(arguments, in, out); status != 0 || arguments[0] != "install" {
		return status
	}
	packages, err := filepath.Glob(filepath.Join(core.OutDir, debian.Marker+"*"))
	for _, dir := range packages {
		if err == nil {
			err = writeIndex(dir)
		}
	}
	if err != nil {
		_ = json.NewEncoder(out).Encode(map[string]any{"error": core.AsError(err)})
		return 1
	}
	return 0
}

// gemspec is the name of a gem's specification; where Debian puts gems.
var gemspec = regexp.MustCompile(`/specifications/([^/]+)-(\d[^/-]*)\.gemspec$`)

// gemDirs are where Debian puts what belongs on the load path.
var gemDirs = []string{"usr/lib/*/ruby/vendor_ruby/[0-9]*", "usr/lib/ruby/vendor_ruby/[0-9]*", "usr/lib/ruby/vendor_ruby",
	"usr/lib/*/rubygems-integration/*/extensions/*/*/*", "usr/lib/ruby/gems/*/extensions/*/*/*",
	"usr/share/rubygems-integration/*/gems/*/lib", "usr/lib/*/rubygems-integration/*/gems/*/lib", "usr/lib/ruby/gems/*/gems/*/lib"}

// writeIndex examines an unpacked Debian package.
func writeIndex(dir string) error {
	x := index{Gems: map[string]string{}, Paths: []string{}, Libraries: map[string]library{}}
	for _, pattern := range gemDirs {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			x.Paths = append(x.Paths, path[len(dir)+1:])
		}
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if m := gemspec.FindStringSubmatch(path); m != nil {
			x.Gems[m[1]] = m[2]
		}
		if strings.Contains(entry.Name(), ".so") {
			x.add(path, path[len(dir)+1:])
		}
		return nil
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, indexFile), text, 0o644); err != nil {
		return fmt.Errorf("the index of %s: %w", filepath.Base(dir), err)
	}
	return nil
}

// add notes a shared library, or what an extension of Ruby needs. What is neither is no business of ours.
func (x *index) add(path, shown string) {
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
