package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// later returns the next version of functions.
func later(all ...core.Function) (next []core.Function) {
	for _, f := range all {
		f.Version++
		next = append(next, f)
	}
	return next
}

// wantVersions checks the versions of functions, 0 for one that is not there, in memory and after a restart.
func wantVersions(t *testing.T, s *Store, want map[string]int) *Store {
	t.Helper()
	for range 2 {
		for name, version := range want {
			if f, _ := s.Get(name); f.Version != version {
				t.Errorf("%s has version %d, want %d", name, f.Version, version)
			}
		}
		s.Close()
		var warnings []error
		var err error
		if s, warnings, err = Open(s.dir); err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSwitch(t *testing.T) {
	s := openTest(t)
	a, b := deploy(t, s, "a", "1"), deploy(t, s, "b", "2")
	deploy(t, s, "c", "3")
	lost := later(b)
	lost[0].Code = "sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct {
		put    []core.Function
		remove []string
		kind   core.Kind
	}{
		{append(later(a), lost...), nil, core.KindNotFound},
		{later(a), []string{"nobody"}, core.KindNotFound},
		{append(later(a), core.Function{Name: "../x", Code: a.Code}), []string{"c"}, core.KindInvalid},
	} {
		if err := s.Switch(test.put, test.remove); !core.IsKind(err, test.kind) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	s = wantVersions(t, s, map[string]int{"a": 1, "b": 1, "c": 1})
	coretest.Must(t, s.Switch(later(a, b), []string{"c"}))
	s = wantVersions(t, s, map[string]int{"a": 2, "b": 2, "c": 0})
	if s.Removed("c") != 1 {
		t.Error("the version of what was removed is forgotten")
	}
}

// TestSwitchIsWhole kills a worker between two of the files of a change, and lets a disk fail there.
func TestSwitchIsWhole(t *testing.T) {
	s := openTest(t)
	a, b := deploy(t, s, "a", "1"), deploy(t, s, "b", "2")
	deploy(t, s, "c", "3")
	text, err := json.Marshal(change{Put: later(a, b), Remove: map[string]int{"c": 1}})
	coretest.Must(t, err)
	coretest.Must(t, os.WriteFile(s.switchPath(), text, 0o600))
	half, err := json.Marshal(later(a)[0])
	coretest.Must(t, err)
	coretest.Must(t, os.WriteFile(s.functionPath("a", 2), half, 0o600))
	s.Close()
	s, _, err = Open(s.dir)
	coretest.Must(t, err)
	s = wantVersions(t, s, map[string]int{"a": 2, "b": 2, "c": 0})

	// A directory in the place of a function's file cannot be written over.
	coretest.Must(t, os.Mkdir(s.functionPath("b", 3), 0o700))
	coretest.Must(t, s.Switch(later(later(a, b)...), nil))
	if f, _ := s.Get("b"); f.Version != 3 {
		t.Errorf("b has version %d after the change has happened", f.Version)
	}
	if err := s.Put(later(a)[0]); err == nil {
		t.Error("another change is made over one that is not done")
	}
	coretest.Must(t, os.Remove(s.functionPath("b", 3)))
	s = wantVersions(t, s, map[string]int{"a": 3, "b": 3})

	coretest.Must(t, os.WriteFile(s.switchPath(), []byte("{"), 0o600))
	s.Close()
	s, warnings, err := Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	if len(warnings) != 1 || !exists(filepath.Join(s.dir, "functions", "switch.corrupt")) {
		t.Errorf("warnings: %v", warnings)
	}
}

// A disk that is full does not keep anybody from removing functions, and once there is room again nothing of
// them is left but the version.
func TestRemoveWithFullDisk(t *testing.T) {
	s := openTest(t)
	for _, name := range []string{"a", "b", "c"} {
		f := deploy(t, s, name, "1")
		f.Env = map[string]string{"SECRET": "s"}
		coretest.Must(t, s.Put(f))
	}
	coretest.Must(t, os.RemoveAll(s.Staging())) // nothing can be written now
	if err := s.Put(later(s.List()...)[0]); err == nil {
		t.Fatal("the disk is not full")
	}
	coretest.Must(t, s.Delete("a"))
	coretest.Must(t, s.Switch(nil, []string{"b", "c"}))
	s = wantVersions(t, s, map[string]int{"a": 0, "b": 0, "c": 0})
	for _, name := range []string{"a", "b", "c"} {
		if s.Removed(name) != 1 {
			t.Errorf("the last version of %s is %d", name, s.Removed(name))
		}
		if left, err := os.ReadFile(s.removedPath(name)); string(left) != "1\n" {
			t.Errorf("of %s is left %q, %v", name, left, err)
		}
	}
}
