package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// The index is in memory too, as a restart would read it: it is read by Open, and whoever changes a file of
// it changes it here. Questions about packages are asked at each deploy and each start, and read no file.

// indexed is an entry of the index with its file. Its slices and pointers are shared and must not be changed.
type indexed struct {
	core.Installed
	path string
}

// loadIndex reads the index, what is compiled according to it, and what may not be used.
func (s *Store) loadIndex() error {
	if err := s.loadRules(); err != nil {
		return err
	}
	names, err := fs.Glob(os.DirFS(s.dir), "index/*/*.json")
	if err != nil {
		return files.DiskError(s.dir, err)
	}
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		entry, err := readInstalled(path)
		if err != nil {
			continue
		}
		s.know(path, entry)
		if entry.Quarantine != "" {
			if err := s.adoptQuarantine(path, entry); err != nil {
				return err
			}
		}
	}
	return s.loadMarks()
}

// know takes an entry into the index in memory, in place of the one of its file.
func (s *Store) know(path string, entry core.Installed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := versionOf(path)
	if i := slices.IndexFunc(s.index[key], func(e indexed) bool { return e.path == path }); i >= 0 {
		s.index[key][i].Installed = entry
	} else {
		s.index[key] = append(s.index[key], indexed{entry, path})
	}
	s.compiled[compiledKey{entry.Runtime, entry.Digest}] = entry.Compiled
}

// forget removes an entry of the index, on the disk first. The caller holds writes.
func (s *Store) forget(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files.DiskError(path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := versionOf(path)
	s.index[key] = slices.DeleteFunc(s.index[key], func(e indexed) bool { return e.path == path })
	if len(s.index[key]) == 0 {
		delete(s.index, key)
	}
	return nil
}

// use says that a package was used then. When that cannot be written it may be collected too early after a
// restart, and is fetched again.
func (s *Store) use(path string, then time.Time) {
	_ = os.Chtimes(path, then, then)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.index[versionOf(path)] {
		if e.path == path {
			s.index[versionOf(path)][i].Used = then.UTC()
		}
	}
}

// entry returns the entry that a file of the index has.
func (s *Store) entry(path string) (core.Installed, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.index[versionOf(path)] {
		if e.path == path {
			return e.Installed, true
		}
	}
	return core.Installed{}, false
}

// entriesOf returns the entries of packages for a runtime, one for each archive that one was installed from.
func (s *Store) entriesOf(runtime core.RuntimeID, packages core.Set) (all []indexed) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range packages {
		path, err := s.indexPath(runtime, core.Locked{Name: p.Name, Version: p.Version}, "")
		if err != nil {
			continue
		}
		for _, e := range s.index[path] {
			if e.Package == p {
				all = append(all, e)
			}
		}
	}
	return all
}

// entries returns all entries of the index, those that were used longest ago first.
func (s *Store) entries() (all []indexed) {
	s.mu.RLock()
	for _, version := range s.index {
		all = append(all, version...)
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b indexed) int {
		if order := a.Used.Compare(b.Used); order != 0 {
			return order
		}
		return strings.Compare(a.path, b.path)
	})
	return all
}

// versionOf returns the path of the file that a version of a package has in the index when it is from no
// archive: the key of all its entries.
func versionOf(path string) string {
	dir, name := filepath.Split(path)
	base, _, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "@")
	return dir + base + ".json"
}

// readInstalled reads an entry of the index as it was written, except that it was used when its file was
// touched. Entries of the format before there were locks are none.
func readInstalled(path string) (found core.Installed, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return found, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return found, err
	}
	if found.Added.IsZero() || found.Digest == "" {
		return found, errors.New("it has not all that an entry has")
	}
	found.Used = info.ModTime().UTC()
	return found, nil
}

// writeEntry makes the file of an entry of the index in staging, and returns the entry as it would be read
// from there.
func writeEntry(file string, entry core.Installed) (core.Installed, error) {
	data, err := json.Marshal(entry)
	if err != nil {
		return entry, files.DiskError(file, err)
	}
	var written core.Installed
	if err := json.Unmarshal(data, &written); err != nil {
		return entry, files.DiskError(file, err)
	}
	return written, writeStaged(file, data)
}
