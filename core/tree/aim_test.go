package tree

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// learn tells the tree that each package has a module of its own name, and what their imports cost.
func learn(w *world, tr *Tree, took time.Duration, bytes int64, names ...string) {
	needs, costs, weights := plan.Needs{}, map[string]time.Duration{}, map[string]int64{}
	for _, p := range pkgs(names...) {
		needs[p] = plan.Need{Modules: []string{p.Name}, Took: took, Bytes: bytes}
		costs[p.Name], weights[p.Name], w.costs[p.Name] = took, bytes, took
	}
	tr.LearnNeeds(needs)
	tr.Learn("lang1", costs)
	tr.Weigh("lang1", weights)
}

// When memory is full, zygotes that are missed are not made at once, in the place of idle instances, but by
// the next goal if they are worth more. Nobody waits for them.
func TestGoalIsFollowed(t *testing.T) {
	within(t, 48<<20, func(t *testing.T, w *world, tr *Tree) {
		learn(w, tr, 100*time.Millisecond, 1<<20, "a", "b")
		miss := func(name string) {
			fill(t, tr)
			n, _, _ := mustStart(t, tr, fn(name, name))
			fill(t, tr)
			n.Kill()
			<-n.Done()
			fill(t, tr)
			rest(2 * time.Second) // measured, which is less than was assumed
		}
		for range 4 {
			miss("a")
			miss("b")
		}
		if made := w.imported(); len(made) > 0 {
			t.Errorf("zygotes imported %v while memory was full", made)
		}
		rest(plan.NextGoal + time.Second)
		made := w.imported()
		slices.Sort(made)
		if want := []string{"[a]", "[b]"}; !slices.Equal(made, want) {
			t.Errorf("zygotes imported %v, not %v", made, want)
		}
		if _, start, _ := mustStart(t, tr, fn("a", "a")); start != core.StartFork {
			t.Errorf("then %s", start)
		}
	})
}

// What could not be made because memory was full is made when it is not any more, without another start.
func TestMissedIsMadeWhenMemoryIsFree(t *testing.T) {
	within(t, 48<<20, func(t *testing.T, w *world, tr *Tree) {
		learn(w, tr, 100*time.Millisecond, 1<<20, "a")
		var held []*Node
		hold := func() { // each function once, so that none has a child ahead
			n, _, _ := mustStart(t, tr, fn(fmt.Sprint("held", len(held))))
			held = append(held, n)
		}
		release := func() {
			last := held[len(held)-1]
			last.Kill()
			<-last.Done()
		}
		for plan.Room(tr.Memory(), tr.config.Budget) {
			hold()
		}
		for range 2 {
			release()
			n, _, _ := mustStart(t, tr, fn("a", "a"))
			n.Kill()
			<-n.Done()
			hold()
		}
		rest(10 * time.Millisecond)
		if made := w.imported(); len(made) > 0 {
			t.Fatalf("zygotes imported %v while memory was full", made)
		}
		release()
		rest(2 * plan.NextRound)
		if made := w.imported(); len(made) != 1 {
			t.Errorf("zygotes imported %v", made)
		}
	})
}

// fill takes the rest of memory for idle instances.
func fill(t *testing.T, tr *Tree) {
	t.Helper()
	for plan.Room(tr.Memory(), tr.config.Budget) {
		n, _, _ := mustStart(t, tr, fn(fmt.Sprint("idle", len(tr.Snapshot()))))
		n.Release(time.Now())
	}
}

// A herd waits for its zygote, so that is made at once, also when memory is full.
func TestHerdTakesMemory(t *testing.T) {
	cold := func(budget int64, full bool) (cold int) {
		within(t, budget, func(t *testing.T, w *world, tr *Tree) {
			learn(w, tr, 100*time.Millisecond, 1<<20, "a")
			mustStart(t, tr, fn("other")) // so that there is a root zygote
			if full {
				fill(t, tr)
			}
			cold, _ = herd(t, tr, fn("a", "a"), 30)
		})
		return cold
	}
	if with, without := cold(plenty, false), cold(400<<20, true); without > with+1 {
		t.Errorf("%d of 30 imported for themselves with much memory, and %d without", with, without)
	}
}

// Nothing is planned while nothing is started.
func TestNoGoalWithoutStarts(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		learn(w, tr, 100*time.Millisecond, 4<<20, "a")
		mustStart(t, tr, fn("f", "a"))
		rest(2 * plan.NextGoal)
		tr.mu.Lock()
		tr.demands.Add(plan.ShapeOf(fn("f", "a")), 0, plan.Use{Weight: 9, Last: time.Now()}, time.Now()) // unseen, without a start
		tr.mu.Unlock()
		rest(10 * plan.NextGoal)
		if made := w.imported(); len(made) > 0 {
			t.Errorf("zygotes imported %v", made)
		}
	})
}

// What the goal does without stays as long as there is memory, and is the first to go when there is not, even
// if it was used more.
func TestSpareZygoteGoesFirst(t *testing.T) {
	within(t, 80<<20, func(t *testing.T, w *world, tr *Tree) {
		learn(w, tr, 100*time.Millisecond, 1<<20, "old", "other", "new")
		start := func(name string) {
			for range 2 {
				n, _, _ := mustStart(t, tr, fn(name, name))
				n.Kill()
			}
			rest(time.Second)
		}
		start("old")
		old := zygoteWith(tr, "old")
		rest(40 * time.Minute)
		start("other")
		start("new")
		rest(2 * plan.NextGoal)
		other := zygoteWith(tr, "other")
		for _, n := range tr.Snapshot() {
			if n.Spare != (n.ID == old) || n.Spare != (n.Value < 0) || n.ID == old && (n.Saves != 103*time.Millisecond || n.Use <= 0) {
				t.Errorf("%+v", n)
			}
		}
		if old == "" || other == "" || zygoteWith(tr, "old") != old {
			t.Fatalf("zygotes imported %v, old is %q, other %q", w.imported(), old, other)
		}
		tr.mu.Lock()
		tr.nodes[old].use = plan.Use{Weight: 1000, Last: time.Now()}
		tr.mu.Unlock()
		for range 10 {
			mustStart(t, tr, fn("new", "new"))
			synctest.Wait()
			if zygoteWith(tr, "old") == "" || zygoteWith(tr, "other") == "" {
				break
			}
		}
		if zygoteWith(tr, "old") != "" || zygoteWith(tr, "other") != other {
			t.Errorf("%+v", tr.Snapshot())
		}
	})
}

// imported returns what zygotes have imported so far.
func (w *world) imported() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.imports)
}

func zygoteWith(tr *Tree, module string) (id core.NodeID) {
	for _, n := range tr.Snapshot() {
		if n.Role == core.RoleZygote && n.State == "ready" && slices.Contains(n.Modules, module) {
			id = n.ID
		}
	}
	return id
}

// A child made ahead stands for a start: a function whose starts all find one is as much in demand as
// another.
func TestAheadIsDemand(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a")
		for range 10 {
			n, _, _ := mustStart(t, tr, f)
			n.Release(time.Now())
			rest(time.Second)
			n.Kill()
		}
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if use := tr.demands[plan.ShapeOf(f).Key()].Use.At(time.Now()); use < 9 {
			t.Errorf("ten starts count %v", use)
		}
	})
}
