package store

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// How much functions are used outlives the worker. A file that is no such thing is as good as none, and is
// replaced.
func TestUses(t *testing.T) {
	s := openTest(t)
	if got := s.Uses(); len(got) > 0 {
		t.Errorf("a new store has %v", got)
	}
	want := map[string]core.Use{"a": {Weight: 1.5, Last: time.Unix(1700000000, 5).UTC()}, "b": {Weight: 1e-300, Last: time.Unix(1, 0).UTC()}}
	coretest.Must(t, s.SetUses(want))
	s.Close()
	s, warnings, err := Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	if got := s.Uses(); !maps.Equal(got, want) || len(warnings) > 0 {
		t.Errorf("%v %v", got, warnings)
	}
	for _, rubbish := range []string{"", "{", "[1]", `{"a": 1}`} {
		coretest.Must(t, os.WriteFile(filepath.Join(s.dir, usesFile), []byte(rubbish), 0o600))
		if got := s.Uses(); len(got) > 0 {
			t.Errorf("%q is read as %v", rubbish, got)
		}
	}
	coretest.Must(t, s.SetUses(want))
	if got := s.Uses(); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
