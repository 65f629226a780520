package store

import (
	"maps"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// SetProbes keeps the results of probes with their packages. Packages that the store does not have (any more)
// are left out.
func (s *Store) SetProbes(runtime core.RuntimeID, probes map[core.Package]core.Probe) error {
	desk, err := s.Stage()
	if err != nil {
		return err
	}
	defer s.throwAway(desk)
	s.writes.Lock()
	defer s.writes.Unlock()
	return s.rewrite(desk, runtime, core.NewSet(slices.Collect(maps.Keys(probes))...), func(entry *core.Installed) bool {
		probe, probed := probes[entry.Package]
		if probed {
			entry.Probe = &probe
		}
		return probed
	})
}

// Amend changes the imports that are known of a version of a function, and returns the changed function.
// change gets a copy whose maps and slices are shared and must not be changed. The error is KindConflict when
// that version is not the deployed one any more.
func (s *Store) Amend(name string, version int, change func(*core.Function)) (core.Function, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	f, ok := s.Get(name)
	if !ok || f.Version != version {
		return core.Function{}, core.Errorf(core.KindConflict, core.FaultWorker, "version %d of %q is not deployed any more", version, name)
	}
	change(&f)
	return f, s.put(f)
}
