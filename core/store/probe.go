package store

import (
	"maps"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// SetProbes keeps what is known of the imports of packages, with the packages. Those that the store has not (any more) are left out.
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

// Amend changes what is known of the imports of a version of a function, and returns the function as it is then. The change gets a copy whose
// maps and slices are shared and must not be changed. KindConflict when that version is not the deployed one any more.
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
