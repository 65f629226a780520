package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/routes"
)

// load reads all functions. A file that is not a function is moved aside, so that the worker starts and
// nothing is lost.
func (s *Store) load() (warnings []error, err error) {
	if err := s.finish(); err != nil {
		if exists(s.switchPath()) {
			return nil, err
		}
		warnings = append(warnings, err)
	}
	area := filepath.Join(s.dir, "functions")
	entries, err := os.ReadDir(area)
	if err != nil {
		return nil, files.DiskError(area, err)
	}
	known, several := map[string]bool{}, map[string]bool{} // of a function: it has a file, it has files to be removed or renamed
	for _, entry := range entries {
		path := filepath.Join(area, entry.Name())
		if name, ok := strings.CutSuffix(entry.Name(), removedSuffix); ok {
			version, long, why := readVersion(path)
			if why != nil {
				warnings = append(warnings, core.Errorf(core.KindInternal, core.FaultWorker,
					"%s cannot be read (%w): the versions of a new function %s go on with the time", path, why, name), s.loseVersion(name))
			}
			s.removed[name] = max(s.removed[name], version)
			if long && why == nil {
				_ = s.writeRemoved(name, version) // the next Open tries again
			}
			continue
		}
		if name, ok := strings.CutSuffix(entry.Name(), signedSuffix); ok {
			warnings = append(warnings, s.loadSigned(name)...)
			continue
		}
		if base, ok := strings.CutSuffix(entry.Name(), ".json"); ok {
			name, number, versioned := strings.Cut(base, "@")
			warnings = append(warnings, s.loadFunction(path, name, number)...)
			several[name] = several[name] || known[name] || !versioned
			known[name] = true
		}
	}
	for _, f := range s.List() {
		if several[f.Name] {
			_ = s.onlyVersion(f.Name, f.Version) // else the next Open, or the next deploy, tries again
		}
		warnings = append(warnings, s.check(f)...)
	}
	s.routes, err = routes.New(s.List())
	return slices.DeleteFunc(append(warnings, err), func(err error) bool { return err == nil }), nil
}

// loadFunction reads one version of a function from its file, whose name has the version or, of an earlier
// Pipsqueak, none. The newest version is the deployed one.
func (s *Store) loadFunction(path, name, number string) []error {
	f, why := readFunction(path, name)
	if why == nil && number != "" && number != strconv.Itoa(f.Version) {
		why = fmt.Errorf("the version in it is another: %d", f.Version)
	}
	if why != nil {
		return []error{core.Errorf(core.KindInternal, core.FaultWorker, "the function %s has to be deployed again: %w", name, aside(path, why)), s.loseVersion(name)}
	}
	if before, is := s.functions[name]; !is || before.Version < f.Version {
		s.functions[name] = f
	}
	return nil
}

// check returns the faults of the code and the packages of a function, and marks packages that are gone.
func (s *Store) check(f core.Function) (warnings []error) {
	if err := s.complete(f); err != nil {
		warnings = append(warnings, core.Errorf(core.KindNotFound, core.FaultWorker,
			"the function %s in %s cannot run: %w", f.Name, s.functionPath(f.Name, f.Version), err))
	}
	for _, p := range f.Packages {
		tree := Tree{Packages, p.Digest}
		if _, err := s.path(tree); err == nil || s.isDamaged(tree) {
			continue
		}
		warnings = append(warnings, s.Mark(tree, core.DamagedFile{Reason: "is gone with all its files"})) // so that the worker installs it again
	}
	return warnings
}

// loseVersion has the next function of a name begin with a version that none before it can have had: more
// than the seconds of all time.
func (s *Store) loseVersion(name string) error {
	if valid := core.ValidName(name) == nil; !valid {
		return nil // there was none
	}
	s.removed[name] = int(time.Now().Unix())
	return s.writeRemoved(name, s.removed[name])
}

func (s *Store) writeRemoved(name string, version int) error {
	return s.writeFile(s.removedPath(name), fmt.Appendln(nil, version))
}

// readVersion reads the last version of a function that was removed. Long is whether its file still has the
// whole function.
func readVersion(path string) (version int, long bool, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false, err
	}
	var f core.Function
	if json.Unmarshal(data, &f) == nil && f.Version > 0 {
		return f.Version, true, nil
	}
	version, err = strconv.Atoi(strings.TrimSpace(string(data)))
	return version, false, err
}

func readFunction(path, name string) (core.Function, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return core.Function{}, err
	}
	var f core.Function
	if err := json.Unmarshal(data, &f); err != nil {
		return core.Function{}, err
	}
	if f.Name != name {
		return core.Function{}, errors.New("the name in it is another: " + f.Name)
	}
	return f, core.ValidName(name)
}

// complete reports whether everything that a function consists of is in the store.
func (s *Store) complete(f core.Function) error {
	if _, err := s.CodePath(f.Code); err != nil {
		return err
	}
	for _, p := range f.Packages {
		if _, err := s.path(Tree{Packages, p.Digest}); err != nil {
			return err
		}
	}
	return nil
}

// Get returns the function of that name from memory. Its maps and slices are shared and must not be changed.
func (s *Store) Get(name string) (core.Function, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, ok := s.functions[name]
	return f, ok
}

// Deployed reports whether that version of a function is the deployed one.
func (s *Store) Deployed(name string, version int) bool {
	f, ok := s.Get(name)
	return ok && f.Version == version
}

// Removed returns the last version of the removed functions of that name, 0 when none was removed.
func (s *Store) Removed(name string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.removed[name]
}

// List returns all functions, sorted by name, as Get does. The slice is the caller's.
func (s *Store) List() []core.Function {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sorted(s.functions)
}

func sorted(functions map[string]core.Function) []core.Function {
	return slices.SortedFunc(maps.Values(functions), func(a, b core.Function) int { return strings.Compare(a.Name, b.Name) })
}

// Routes returns the routes of all functions.
func (s *Store) Routes() *routes.Table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.routes
}

// removedSuffix is of the file that has the last version of a function that was removed or cannot be read, so
// that no other has the same name and version.
const removedSuffix = ".removed"

func (s *Store) removedPath(name string) string {
	return filepath.Join(s.dir, "functions", name+removedSuffix)
}

func (s *Store) functionPath(name string, version int) string {
	return filepath.Join(s.dir, "functions", name+"@"+strconv.Itoa(version)+".json")
}

// onlyVersion removes the files of all other versions of a function. A file of an earlier Pipsqueak, without
// a version in its name, gets one.
func (s *Store) onlyVersion(name string, version int) error {
	path, unversioned := s.functionPath(name, version), filepath.Join(s.dir, "functions", name+".json")
	if !exists(path) && exists(unversioned) {
		if err := os.Rename(unversioned, path); err != nil {
			return files.DiskError(path, err)
		}
	}
	others, err := filepath.Glob(filepath.Join(s.dir, "functions", name+"@*.json"))
	if err != nil {
		return files.DiskError(path, err)
	}
	for _, other := range append(others, unversioned) {
		if other == path {
			continue
		}
		if err := os.Remove(other); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return files.DiskError(other, err)
		}
	}
	return nil
}
