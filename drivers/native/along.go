package main

import (
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// takeAlong copies shared libraries beside an object that needs them, because the loader looks for them
// there: those that the build has made, and those of the function's own files.
func takeAlong(object string, packages []core.Package) error {
	lying, packaged := map[string]string{}, map[string]bool{}
	for _, p := range packages {
		for _, dir := range debian.LibraryDirs(core.PackageDir(p)) {
			entries, _ := os.ReadDir(dir) // a missing directory has no libraries
			for _, entry := range entries {
				packaged[entry.Name()] = true
			}
		}
	}
	for _, root := range []string{core.CodeDir, cmakeDir} { // built libraries come before those that were brought along
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && strings.Contains(entry.Name(), ".so") {
				lying[entry.Name()] = path
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	beside := filepath.Dir(object)
	for next := []string{object}; len(next) > 0; next = next[1:] {
		file, err := elf.Open(next[0])
		if err != nil {
			continue // checkObject says what it is
		}
		needed, err := file.ImportedLibraries()
		file.Close()
		if err != nil {
			continue
		}
		for _, library := range needed {
			from, to := lying[library], filepath.Join(beside, library)
			if from == "" || packaged[library] || ofHost(library) || slices.Contains(next, to) {
				continue
			}
			if from != to && (!interpreter.Exists(to) || strings.HasPrefix(from, cmakeDir)) {
				if err := copyFile(from, to); err != nil {
					return err
				}
			}
			delete(lying, library)
			next = append(next, to)
		}
	}
	return nil
}

// sanitizers are the beginnings of the names of libraries and symbols of those sanitizers that have to be the
// first library in a process.
var sanitizers = []struct{ library, symbol, name, flag string }{
	{"libasan.so", "__asan_", "AddressSanitizer", "address"}, {"libtsan.so", "__tsan_", "ThreadSanitizer", "thread"},
	{"liblsan.so", "__lsan_", "LeakSanitizer", "leak"}, {"libmsan.so", "__msan_", "MemorySanitizer", "memory"},
}

// bySanitizer returns the reason why a sanitizer needs a library or a symbol, "" when none does.
func bySanitizer(name, library, symbol string) error {
	for _, s := range sanitizers {
		if library != "" && strings.HasPrefix(library, s.library) || symbol != "" && strings.HasPrefix(symbol, s.symbol) {
			return refuse("%s is built with %s, whose library has to be the first one of a process, and a function is loaded into one that runs already: deploy it without "+
				"-fsanitize=%s, and try it on your machine with LD_PRELOAD=$(cc -print-file-name=%s) libexec/native/once handler.so EVENT", name, s.name, s.flag, s.library)
		}
	}
	return nil
}

var undefined = regexp.MustCompile(`(?m)^(?:symbol lookup error: .*?: )?undefined symbol: ([^\s,]+)`)

// bind has the loader find every symbol of the handler's object, as a start does, without running any of its
// code. So an undefined symbol fails at the deploy, and not at each event.
func bind(ctx context.Context, object string, packages []core.Package) error {
	host, err := elf.Open(filepath.Join(loopDir, "host"))
	if err != nil {
		return err
	}
	defer host.Close()
	section := host.Section(".interp")
	if section == nil {
		return nil
	}
	loader, err := section.Data()
	if err != nil {
		return err
	}
	var paths []string
	for _, p := range packages {
		paths = append(paths, debian.LibraryDirs(core.PackageDir(p))...)
	}
	cmd := exec.CommandContext(ctx, strings.TrimRight(string(loader), "\x00"), object)
	cmd.Dir = filepath.Dir(object)
	cmd.Env = []string{"LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=yes", "LD_BIND_NOW=yes", "LD_LIBRARY_PATH=" + strings.Join(append([]string{cmd.Dir}, paths...), ":")}
	said, _ := cmd.CombinedOutput() // a status of its own says no more
	m := undefined.FindSubmatch(said)
	if m == nil {
		return nil
	}
	name, symbol := strings.TrimPrefix(object, core.CodeDir+"/"), string(m[1])
	if err := bySanitizer(name, "", symbol); err != nil {
		return err
	}
	shown := symbol
	if readable, err := exec.CommandContext(ctx, "c++filt", symbol).Output(); err == nil {
		shown = strings.TrimSpace(string(readable))
	}
	return refuse("%s needs %s, which nothing defines that it is linked with: compile the source that has it, or link with its library (-l…)", name, shown)
}

// remote matches the downloads of a build with CMake.
var remote = regexp.MustCompile(`(?is)\b(FetchContent_Declare|ExternalProject_Add|CPMAddPackage)\s*\(\s*([\w.+"-]+)[^)]*?\b(URL|GIT_REPOSITORY|GITHUB_REPOSITORY|SVN_REPOSITORY|HG_REPOSITORY)\s+"?(\S+)`)

// fetches returns the downloads of the function's files for CMake, and whether these are all.
func fetches(dir string) (found []string, only bool) {
	only = true
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() != "CMakeLists.txt" && filepath.Ext(path) != ".cmake" {
			return nil //nolint:nilerr // CMake will say what it cannot read
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // CMake will say what it cannot read
		}
		for _, m := range remote.FindAllStringSubmatch(string(text), -1) {
			if from := strings.Trim(m[4], `")`); strings.Contains(from, "://") || strings.HasPrefix(from, "git@") || m[3] == "GITHUB_REPOSITORY" {
				name, _ := filepath.Rel(dir, path)
				found = append(found, fmt.Sprintf("%s (%s in %s)", strings.Trim(m[2], `"`), m[1], name))
			} else {
				only = false
			}
		}
		return nil
	})
	return found, only && len(found) > 0
}

const noNetwork = "\n\nA build has no network, and this one would fetch %s: put that code into the function's directory, or name the Debian package that has it as 'debian' in " +
	"pipsqueak.yaml and take it by find_package"
