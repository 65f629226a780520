package tree

import (
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A trial starts an instance like any other, but for what is imported ahead of the handler, and leaves nothing of it.
func TestTry(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		learned := make(chan []string, 1)
		tr.config.Loaded = func(_ *core.Function, modules []string) { learned <- modules }
		w.deployed = func(version int) bool { return version == 1 }
		w.loads = []string{"lazy"}
		f := fn("f", "a", "b")
		f.Version = 2
		loaded, err := tr.Try(t.Context(), f)
		if err != nil || !slices.Equal(loaded, []string{"lazy"}) {
			t.Errorf("%v %v", loaded, err)
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
		if _, err := tr.Try(t.Context(), f); !core.IsKind(err, core.KindException) {
			t.Errorf("%v", err)
		}
		rest(time.Minute)
		for id, b := range w.boxes {
			if b.config.Role == core.RoleInstance && !b.gone() {
				t.Errorf("%s is left", id)
			}
		}
	})
}
