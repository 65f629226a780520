package store

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// installed returns all packages without the times of their use, of which a file keeps another than memory by
// microseconds.
func installed(t *testing.T, s *Store) []core.Installed {
	t.Helper()
	all := s.Installed()
	for i, p := range all {
		if age := time.Since(p.Used); age < 0 || age > time.Minute {
			t.Errorf("%s was used %v ago", p, age)
		}
		all[i].Used = time.Time{}
	}
	return all
}

// TestIndexInMemory: after each change of the index, its entries in memory are those that a restart reads.
func TestIndexInMemory(t *testing.T) {
	s := openTest(t)
	p := install(t, s, "p", "1", 0)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"commit", func() error { install(t, s, "q", "1", time.Second); return nil }},
		{"the same version from an archive", func() error {
			locked := core.Locked{Name: "p", Version: "1", Archives: []string{"sha256:aa"}, Requires: []string{}}
			_, err := s.CommitPackage("fake1", locked, core.Receipt{Archive: "sha256:aa", Modules: []string{}}, stage(t, s, map[string]string{"b": "1"}))
			return err
		}},
		{"probes", func() error {
			return s.SetProbes("fake1", map[core.Package]core.Probe{p.Package: {Time: time.Now(), Own: time.Second, Files: []string{}, Asks: []string{"q"}}})
		}},
		{"compiled", func() error {
			return s.CommitCompiled("fake1", map[core.Package]string{p.Package: stage(t, s, map[string]string{"c": "2"})})
		}},
		{"more required", func() error {
			hold := s.Hold()
			defer hold.Release()
			_, _, err := s.Take("fake1", []core.Locked{{Name: "p", Version: "1", Requires: []string{"q==1"}}}, hold)
			return err
		}},
		{"dropped", func() error {
			_, err := s.Drop(p.Digest)
			return err
		}},
		{"collected", func() error {
			_, err := s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, func(digest string) bool { return digest == p.Digest })
			return err
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			before := installed(t, s)
			coretest.Must(t, step.do())
			kept := installed(t, s)
			if reflect.DeepEqual(kept, before) {
				t.Errorf("nothing has changed: %+v", kept)
			}
			coretest.Must(t, s.Close())
			again, _, err := Open(s.dir)
			coretest.Must(t, err)
			if read := installed(t, again); !reflect.DeepEqual(kept, read) {
				t.Errorf("in memory\n%+v\nread again\n%+v", kept, read)
			}
			s = again
		})
	}
	coretest.Must(t, s.Close())
}

// TestIndexIsReadOnce takes the files of the index away: what is asked of packages needs none of them.
func TestIndexIsReadOnce(t *testing.T) {
	s := openTest(t)
	p := install(t, s, "p", "1", 0)
	coretest.Must(t, os.RemoveAll(filepath.Join(s.dir, "index", "fake1")))
	if _, ok := s.Lookup("fake1", p.Locked); !ok {
		t.Error("Lookup reads the index")
	}
	if _, ok := s.Find("fake1", p.Package); !ok {
		t.Error("Find reads the index")
	}
	if len(s.Installed()) != 1 || len(s.InstalledOf("fake1", core.NewSet(p.Package))) != 1 {
		t.Error("Installed or InstalledOf reads the index")
	}
}
