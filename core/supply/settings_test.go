package supply

import (
	"maps"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// setEnv sets variables of a function, which has to go well.
func (w *world) setEnv(t *testing.T, change core.EnvChange) core.Function {
	t.Helper()
	fn, err := w.SetEnv(t.Context(), change, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

// What is set makes a new version of the same code, is tried, and stays over deploys.
func TestSetEnv(t *testing.T) { inWorld(t, nil, testSetEnv) }

func testSetEnv(t *testing.T, w *world) {
	w.needs(locked("p", "1"))
	first := w.must(t, "f", "p")
	w.set(func() {
		w.trial = func(fn *core.Function, _ bool) (Trial, error) {
			if fn.EnvSet["LEVEL"] == "bad" {
				return Trial{}, core.Errorf(core.KindException, core.FaultHandler, "no such level")
			}
			return Trial{}, nil
		}
	})
	second := w.setEnv(t, core.EnvChange{Function: "f", Set: map[string]string{"LEVEL": "debug", "X": ""}})
	if second.Version != 2 || second.Replaced != 1 || second.Code != first.Code || !slices.Equal(second.Packages, first.Packages) || second.Environment("")["LEVEL"] != "debug" {
		t.Errorf("%+v", second)
	}
	if asked := w.was(); !slices.Contains(asked, "drain f but [2]") {
		t.Errorf("the earlier version does not end: %v", asked)
	}
	_, err := w.SetEnv(t.Context(), core.EnvChange{Function: "f", Set: map[string]string{"LEVEL": "bad"}}, nil)
	expect(t, err, core.KindImport, core.FaultHandler, "cannot be imported")
	if now, _ := w.store.Get("f"); now.Version != 2 || now.EnvSet["LEVEL"] != "debug" {
		t.Errorf("after a change that was refused: %+v", now)
	}
	if forced := w.setEnv(t, core.EnvChange{Function: "f", Set: map[string]string{"LEVEL": "bad"}, Force: true}); forced.Version != 3 {
		t.Errorf("by force: version %d", forced.Version)
	}
	if same := w.setEnv(t, core.EnvChange{Function: "f", Set: map[string]string{"LEVEL": "bad"}}); same.Version != 3 {
		t.Errorf("nothing has changed, and it is version %d", same.Version)
	}
	if after := w.setEnv(t, core.EnvChange{Function: "f", Unset: []string{"LEVEL"}}); after.Version != 4 || !maps.Equal(after.EnvSet, map[string]string{"X": ""}) {
		t.Errorf("%+v", after)
	}
	if deployed := w.must(t, "f", "p"); deployed.Version != 5 || !maps.Equal(deployed.EnvSet, map[string]string{"X": ""}) {
		t.Errorf("a deploy has changed what was set: %+v", deployed.EnvSet)
	}
	_, err = w.SetEnv(t.Context(), core.EnvChange{Function: "g", Set: map[string]string{"X": ""}}, nil)
	expect(t, err, core.KindNotFound, core.FaultCaller, `no function "g"`)
}
