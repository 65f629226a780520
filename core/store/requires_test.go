package store

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestRequireMore has locks of two functions that ask for other extras of one package.
func TestRequireMore(t *testing.T) {
	s := openTest(t)
	locked := core.Locked{Name: "p", Version: "1", Requires: []string{"a==1"}}
	p, err := s.CommitPackage("fake1", locked, core.Receipt{}, stage(t, s, map[string]string{"a": "1"}))
	coretest.Must(t, err)
	hold := s.Hold()
	defer hold.Release()
	for _, requires := range [][]string{{"b==1", "a==1"}, nil, {"c==1"}, {"b==1"}} {
		locked.Requires = requires
		if have, _, err := s.Take("fake1", []core.Locked{locked}, hold); err != nil || len(have) != 1 || have[0] != p.Package {
			t.Fatalf("%v, %v", have, err)
		}
	}
	if found, ok := s.Find("fake1", p.Package); !ok || !slices.Equal(found.Locked.Requires, []string{"a==1", "b==1", "c==1"}) {
		t.Errorf("found %+v", found.Locked)
	}
}
