package tree

import (
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A trial starts an instance that imports no module before the handler, and leaves nothing of it.
func TestTry(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		learned := make(chan []string, 1)
		tr.config.Loaded = func(_ *core.Function, modules []string) { learned <- modules }
		w.deployed = func(version int) bool { return version == 1 }
		w.loads = []string{"lazy"}
		f := fn("f", "a", "b")
		f.Version = 2
		w.sets = []string{"MODE"}
		trial, err := tr.Try(t.Context(), f, false)
		if err != nil || !slices.Equal(trial.Loaded, []string{"lazy"}) || !slices.Equal(trial.Sets, []string{"MODE"}) || trial.Ahead {
			t.Errorf("%+v %v", trial, err)
		}
		rest(time.Minute)
		for _, n := range tr.Snapshot() {
			if n.Role == core.RoleInstance {
				t.Errorf("%s is left", n.ID)
			}
		}
		if got := w.asked; !slices.Equal(got, []string{"f.handler: []"}) {
			t.Errorf("it was asked to import %q", got)
		}
		if len(learned) > 0 {
			t.Errorf("what a trial has imported was learned of a version that is not there: %v", <-learned)
		}
		w.raises["f.handler"] = core.Errorf(core.KindException, core.FaultHandler, "a syntax error")
		if _, err := tr.Try(t.Context(), f, false); !core.IsKind(err, core.KindException) {
			t.Errorf("%v", err)
		}
		for _, n := range tr.Snapshot() {
			if n.Role == core.RoleInstance {
				t.Errorf("%s is left of a trial that has failed", n.ID)
			}
		}
		rest(time.Minute)
		for id, b := range w.boxes {
			if b.config.Role == core.RoleInstance && !b.gone() {
				t.Errorf("%s is left", id)
			}
		}
	})
}

// A trial of a deployed version takes no child made ahead, asks for no modules, and does not call Loaded.
// With alone, its zygote has imported nothing.
func TestTryAgain(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a", "b")
		f.Watched = true
		for range 4 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		told := 0
		tr.config.Loaded = func(*core.Function, []string) { told++ }
		w.loads, w.asked = []string{"lazy"}, nil
		before := len(tr.Snapshot())
		for _, alone := range []bool{false, true} {
			trial, err := tr.Try(t.Context(), f, alone)
			rest(time.Second)
			if err != nil || trial.Ahead == alone || !slices.Equal(trial.Loaded, []string{"lazy"}) {
				t.Errorf("alone %v: %+v %v", alone, trial, err)
			}
		}
		if now := len(tr.Snapshot()); now != before || told > 0 || !slices.Equal(w.asked, []string{"f.handler: []", "f.handler: []"}) {
			t.Errorf("%d nodes, and %d before; told %d times; asked for %q", now, before, told, w.asked)
		}
		w.raises["f.handler"] = core.Errorf(core.KindException, core.FaultHandler, "no mode")
		if trial, err := tr.Try(t.Context(), f, false); !core.IsKind(err, core.KindException) || !trial.Ahead {
			t.Errorf("%+v %v", trial, err)
		}
		rest(time.Second)
	})
}
