package store

import (
	"encoding/json"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// SetProbe keeps what is known of the import of a package, with the package. KindNotFound when the store has no such package (any more).
func (s *Store) SetProbe(runtime core.RuntimeID, pkg core.Package, probe core.Probe) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	found, ok := s.Find(runtime, pkg)
	if !ok {
		return core.Errorf(core.KindNotFound, core.FaultWorker, "the store has no package %s for %s", pkg, runtime)
	}
	path, err := s.indexPath(runtime, found.Locked, found.Receipt.Archive)
	if err != nil {
		return err
	}
	found.Probe, found.Quarantine = &probe, "" // of which the entry says nothing
	data, err := json.Marshal(found)
	if err != nil {
		return diskError(path, err)
	}
	return s.writeFile(path, data)
}

// AddLoaded adds modules to what a version of a function is known to import, and returns the function as it is then. KindConflict when
// that version is not the deployed one any more.
func (s *Store) AddLoaded(name string, version int, modules []string) (core.Function, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	f, ok := s.Get(name)
	if !ok || f.Version != version {
		return core.Function{}, core.Errorf(core.KindConflict, core.FaultWorker, "version %d of %q is not deployed any more", version, name)
	}
	f.Loaded = slices.Concat(f.Loaded, modules)
	return f, s.put(f)
}
