package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// functionFiles returns the names of the files of functions.
func functionFiles(t *testing.T, s *Store) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "functions"))
	coretest.Must(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// A version of a function has a file of its own, and the newest is the deployed one, whatever a worker that
// was killed has left.
func TestVersionsOnDisk(t *testing.T) {
	s := openTest(t)
	reopen := func() {
		t.Helper()
		s.Close()
		var warnings []error
		var err error
		s, warnings, err = Open(s.dir)
		coretest.Must(t, err)
		if len(warnings) > 0 {
			t.Errorf("warnings: %v", warnings)
		}
	}
	defer func() { s.Close() }()
	write := func(name string, f core.Function) {
		t.Helper()
		text, err := json.Marshal(f)
		coretest.Must(t, err)
		coretest.Must(t, os.WriteFile(filepath.Join(s.dir, "functions", name), text, 0o600))
	}
	want := func(when string, version int, names ...string) {
		t.Helper()
		f, _ := s.Get("f")
		if got := functionFiles(t, s); f.Version != version || !slices.Equal(got, names) {
			t.Errorf("%s: version %d in %q, want version %d in %q", when, f.Version, got, version, names)
		}
	}
	first := deploy(t, s, "f", "1")
	want("deployed", 1, "f@1.json")
	tenth, ninth := first, first
	tenth.Version, ninth.Version = 10, 9
	coretest.Must(t, s.Put(tenth))
	want("replaced", 10, "f@10.json")
	write("f@9.json", ninth) // its removal did not happen
	reopen()
	want("after the removal of an earlier version was cut off", 10, "f@10.json")

	write("f@9.json", ninth)
	coretest.Must(t, s.Delete("f"))
	reopen()
	want("removed beside an earlier version", 0, "f.removed")
	if s.Removed("f") != 10 {
		t.Errorf("the last version is %d", s.Removed("f"))
	}

	// A directory of an earlier Pipsqueak.
	last := first
	last.Version = 11
	write("f.json", last)
	reopen()
	want("of an earlier Pipsqueak", 11, "f.removed", "f@11.json")
	write("f.json", first) // one that the old one was killed with
	reopen()
	want("of two kinds", 11, "f.removed", "f@11.json")

	s.Close()
	write("f@12.json", first)
	var warnings []error
	var err error
	s, warnings, err = Open(s.dir)
	coretest.Must(t, err)
	if len(warnings) != 1 {
		t.Errorf("a file with another version in it: %v", warnings)
	}
	want("with a file that has another version in it", 11, "f.removed", "f@11.json", "f@12.json.corrupt")
}
