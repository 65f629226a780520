package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/routes"
)

// Several functions change their files one after the other, and a worker may be killed in between. So what is
// to be changed is written down before, in one file, and done again by the next Open: from the moment at
// which that file has its name, the change has happened.

// change is functions that are kept, and the last versions of others that are forgotten.
type change struct {
	Put    []core.Function `json:"put"`
	Remove map[string]int  `json:"remove"`
}

// Put keeps a function, and replaces the one with its name. Its code and packages must be in the store. Put
// does not keep its argument. After an error, the earlier function stays.
func (s *Store) Put(f core.Function) error { return s.Switch([]core.Function{f}, nil) }

// Delete forgets a function, except for its version. Its code stays until Collect. The error is KindNotFound
// when there is none of that name.
func (s *Store) Delete(name string) error { return s.Switch(nil, []string{name}) }

// Switch is Put and Delete of several functions at once. Readers see all of the change or nothing, and so
// does a worker that starts after this one was killed. After an error, everything is as before.
func (s *Store) Switch(put []core.Function, remove []string) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	removed := map[string]int{}
	for _, name := range remove {
		f, ok := s.Get(name)
		if !ok {
			return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
		}
		removed[name] = f.Version
	}
	if err := s.Allow(put, remove); err != nil {
		return err
	}
	for _, f := range put {
		if f.Storage != nil && !s.HasStorage(f.StorageName()) {
			return core.Errorf(core.KindConflict, core.FaultCaller, "the storage %s was removed while %s was deployed; deploy it again", f.StorageName(), f.Name).Again()
		}
	}
	return s.change(change{put, removed})
}

// put is Put. The caller holds writes.
func (s *Store) put(f core.Function) error { return s.change(change{Put: []core.Function{f}}) }

// change makes a change, on the disk and then in memory. The caller holds writes.
func (s *Store) change(c change) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the functions cannot be written: %w", err)
	}
	// The memory gets exactly the functions that a restart would find.
	var kept change
	if err := json.Unmarshal(data, &kept); err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the functions cannot be read again: %w", err)
	}
	for _, f := range kept.Put {
		if err := errors.Join(core.ValidName(f.Name), s.complete(f)); err != nil {
			return core.AsError(err)
		}
	}
	if err := s.finish(); err != nil {
		return err
	}
	if len(kept.Put)+len(kept.Remove) == 1 {
		err = s.apply(kept)
	} else if err = s.writeFile(s.switchPath(), data); err == nil {
		_ = s.finish() // it has happened: what fails now is done before the next change, or by the next Open
	} else if len(kept.Put) == 0 {
		err = s.apply(kept) // a full disk must not keep anybody from removing functions, even if a kill may come in between
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range kept.Put {
		s.functions[f.Name] = f
	}
	for name := range kept.Remove {
		delete(s.functions, name)
	}
	maps.Copy(s.removed, kept.Remove)
	s.routes, err = routes.New(sorted(s.functions)) // which Allow has allowed
	return err
}

// finish does what is left to do of a change that has happened.
func (s *Store) finish() error {
	path := s.switchPath()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var c change
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return aside(path, err)
	}
	if err := s.apply(c); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return files.DiskError(path, err)
	}
	return files.SyncFile(filepath.Dir(path))
}

// apply writes the files of a change.
func (s *Store) apply(c change) error {
	for _, f := range c.Put {
		data, err := json.MarshalIndent(f, "", "  ")
		if err != nil {
			return files.DiskError(s.functionPath(f.Name, f.Version), err)
		}
		if err := s.writeFile(s.functionPath(f.Name, f.Version), data); err != nil {
			return err
		}
		if before, is := s.Get(f.Name); is && before.Version != f.Version {
			_ = s.onlyVersion(f.Name, f.Version) // of several the newest is the deployed one
		}
	}
	for name, version := range c.Remove {
		if err := s.remove(name, version); err != nil {
			return err
		}
	}
	return nil
}

// remove leaves nothing of a function but its last version. A full disk has room for that too: the function's
// own file, which has the version, gets another name, and is replaced by a shorter one when that is possible.
func (s *Store) remove(name string, version int) error {
	if err := s.onlyVersion(name, version); err != nil { // else an earlier version would be the newest
		return err
	}
	path := s.removedPath(name)
	if err := os.Rename(s.functionPath(name, version), path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files.DiskError(path, err)
	}
	if err := s.writeRemoved(name, version); err != nil && !exists(path) {
		return err
	}
	return files.SyncFile(filepath.Dir(path))
}

// switchPath is the file of a change that has happened and is not done yet.
func (s *Store) switchPath() string { return filepath.Join(s.dir, "functions", "switch") }
