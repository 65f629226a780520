package main

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// machines are ELF's names of Go's architectures.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM,
	"ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390}

// checkObject looks at the handler's shared object without loading it, so that the deploy fails instead of
// every start. It returns the libraries of packages that the function's own objects need. The loader finds
// the libraries that those need.
func checkObject(object, symbol string, packages []core.Package) ([]string, error) {
	name, err := filepath.Rel(core.CodeDir, object)
	if err != nil {
		return nil, err
	}
	file, err := elf.Open(object)
	if err != nil {
		return nil, refuse("%s is no shared object: %w", name, err)
	}
	defer file.Close()
	if file.Type != elf.ET_DYN {
		return nil, refuse("%s is no shared object but of type %v: link it with -shared", name, file.Type)
	}
	if want := machines[runtime.GOARCH]; file.Machine != want {
		return nil, refuse("%s is for %v, and this worker is %v: compile it for that, or deploy its source", name, file.Machine, want)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, refuse("the symbols of %s cannot be read: %w", name, err)
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == symbol && s.Section != elf.SHN_UNDEF }) {
		return nil, refuse("%s has no function %s, which the handler names; declare it with PS_EXPORT, which gives it C linkage and makes it visible", name, symbol)
	}
	w := walk{packages: map[string]string{}, own: map[string]string{}, seen: map[string]bool{}}
	for _, p := range slices.Backward(packages) { // the first package that has a library counts
		for _, dir := range slices.Backward(debian.LibraryDirs(core.PackageDir(p))) {
			w.index(dir, w.packages)
		}
	}
	w.index(filepath.Dir(object), w.own)
	w.index(filepath.Join(core.CodeDir, "lib"), w.own)
	err = w.needs(object, file, true)
	return w.imports, err
}

// walk follows what shared objects need.
type walk struct {
	packages, own map[string]string // libraries of packages, and of the function, by name
	seen          map[string]bool
	imports       []string
}

func (w *walk) index(dir string, libraries map[string]string) {
	entries, _ := os.ReadDir(dir) // a missing directory has no libraries
	for _, entry := range entries {
		if strings.Contains(entry.Name(), ".so") {
			libraries[entry.Name()] = filepath.Join(dir, entry.Name())
		}
	}
}

// needs follows the needs of the file at path, which is the function's own or a package's.
func (w *walk) needs(path string, file *elf.File, own bool) error {
	name := strings.TrimPrefix(path, core.CodeDir+"/")
	if own {
		for _, dir := range runPaths(path, file) {
			w.index(dir, w.own)
		}
	}
	libraries, err := file.ImportedLibraries()
	if err != nil {
		return refuse("what %s needs cannot be read: %w", name, err)
	}
	for _, library := range libraries {
		if err := bySanitizer(name, library, ""); err != nil {
			return err
		}
		path, packaged := w.packages[library]
		if own && packaged && !slices.Contains(w.imports, library) {
			w.imports = append(w.imports, library)
		}
		if w.seen[library] {
			continue
		}
		w.seen[library] = true
		if !packaged {
			if path = w.own[library]; path == "" {
				if !ofHost(library) {
					return refuse("%s needs the library %s, which is nowhere: name the Debian package that has it as 'debian' in pipsqueak.yaml, or deploy it along "+
						"with a run path such as $ORIGIN", name, library)
				}
				continue
			}
		}
		if err := w.follow(library, path, !packaged); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) follow(library, path string, own bool) error {
	file, err := elf.Open(path)
	if err != nil {
		return refuse("the library %s cannot be read: %w", library, err)
	}
	defer file.Close()
	return w.needs(path, file, own)
}

// runPaths are the directories beside the file at path that it names for the loader to look into.
func runPaths(path string, file *elf.File) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, _ := file.DynString(tag)
		for dir := range strings.SplitSeq(strings.Join(lists, ":"), ":") {
			if below, is := strings.CutPrefix(strings.ReplaceAll(dir, "${ORIGIN}", "$ORIGIN"), "$ORIGIN"); is {
				dirs = append(dirs, filepath.Join(filepath.Dir(path), below))
			}
		}
	}
	return dirs
}

// ofHost reports whether every sandbox shows the library.
func ofHost(library string) bool {
	for _, dir := range append(debian.LibraryDirs("/"), "/usr/lib64", "/lib64") {
		if interpreter.Exists(filepath.Join(dir, library)) {
			return true
		}
	}
	return false
}
