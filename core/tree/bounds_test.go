package tree

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// outgrow has the zygotes with a module end at their limit of memory when they import, or are forked. It
// counts them.
func outgrow(w *world, tr *Tree, verb, module string) (ended *int) {
	ended = new(int)
	w.hook = func(happens string, b *box) error {
		for _, info := range tr.Snapshot() {
			forked := info.ID == b.config.ID
			zygote := info.ID
			if verb == "fork" {
				zygote = info.Parent
			}
			if happens != verb || !forked || zygote == "" || !slices.Contains(modulesOf(tr, zygote), module) {
				continue
			}
			*ended++
			w.crash(zygote, core.Exit{Signal: 9, OutOfMemory: true, Known: true})
			return core.Errorf(core.KindUnavailable, core.FaultDriver, "it ended")
		}
		return nil
	}
	return ended
}

func modulesOf(tr *Tree, zygote core.NodeID) []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if n := tr.nodes[zygote]; n != nil && n.role == core.RoleZygote {
		return n.shape.Modules
	}
	return nil
}

// A zygote that has outgrown its limit is not made again, and neither is one with the same modules and more.
// Its functions start without it, those of others with theirs, and the function says why.
func TestOutgrown(t *testing.T) {
	for _, verb := range []string{"import", "fork"} {
		within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
			ended := outgrow(w, tr, verb, "greedy")
			f, other := fn("f", "greedy"), fn("other", "modest")
			for range 8 {
				mustStart(t, tr, f)
				mustStart(t, tr, other)
				rest(time.Second)
			}
			synctest.Wait()
			if *ended != 1 {
				t.Errorf("%s: %d zygotes with it ended", verb, *ended)
			}
			n, start, _ := mustStart(t, tr, f)
			if start != core.StartCold || len(n.parent.shape.Modules) > 0 {
				t.Errorf("%s: %s of %v", verb, start, n.parent.shape)
			}
			if _, start, _ = mustStart(t, tr, other); start != core.StartFork {
				t.Errorf("%s: of another function %s", verb, start)
			}
			const why = "a zygote with greedy used more than the 128 MiB of memory that it may use"
			if got := tr.Apart(f)["greedy"]; got != why {
				t.Errorf("%s: %q", verb, got)
			}
		})
	}
}

// A root zygote that has outgrown its limit is made again: without one there would be no functions.
func TestOutgrownRoot(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n, _, _ := mustStart(t, tr, fn("f"))
		w.crash(n.parent.id, core.Exit{Signal: 9, OutOfMemory: true, Known: true})
		synctest.Wait()
		mustStart(t, tr, fn("f"))
		for range 4 {
			mustStart(t, tr, fn("g", "a"))
			rest(time.Second)
		}
		if _, start, _ := mustStart(t, tr, fn("g", "a")); start != core.StartFork {
			t.Errorf("a zygote with a module is not made: %s", start)
		}
	})
}

// The kernel charges a zygote for each of its children.
func TestRoomForChildren(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		var n *Node
		for range 100 {
			n, _, _ = mustStart(t, tr, fn("f"))
		}
		if got, want := w.box(n.parent.id).allowed, plan.WithChildren(n.parent.limit, 100); got != want {
			t.Errorf("the zygote of 100 may use %d bytes, and not %d", got, want)
		}
	})
}
