package tree

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

func TestAheadEnds(t *testing.T) {
	tests := map[string]func(w *world, tr *Tree, n *Node){
		"unused":              func(_ *world, _ *Tree, n *Node) { rest(plan.AheadLife) },
		"deployed again":      func(_ *world, tr *Tree, n *Node) { tr.Evict("f", 2) },
		"with its zygote":     func(w *world, _ *Tree, n *Node) { w.crash(n.parent.id, core.Exit{Signal: 9, Known: true}) },
		"by itself":           func(w *world, _ *Tree, n *Node) { w.crash(n.id, core.Exit{Code: 1, Known: true}) },
		"deployed and unused": func(_ *world, tr *Tree, n *Node) { tr.Evict("f", 2); rest(plan.AheadLife) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
				f := fn("f")
				n := mustHaveAhead(t, tr, f)
				end(w, tr, n)
				<-n.Done()
				mustNotHaveAhead(t, tr)
				if m, _, _ := mustStart(t, tr, f); m == n {
					t.Error("it was taken after its end")
				}
			})
		})
	}
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		mustHaveAhead(t, tr, f)
		for range 3 { // a use within its life prolongs it
			rest(plan.AheadLife - 2*time.Second)
			if _, _, ph := mustStart(t, tr, f); ph != (core.Phases{}) {
				t.Errorf("it had ended: %+v", ph)
			}
		}
		rest(plan.AheadLife + time.Second)
		mustNotHaveAhead(t, tr)
		if len(tr.ahead) != 0 {
			t.Errorf("%d functions are remembered", len(tr.ahead))
		}
	})
}

// The next version is deployed, or the tree is closed, while a child is being made.
func TestAheadEndsWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tr := w.tree(plenty)
		f := fn("f")
		for _, end := range []func(){func() { tr.Evict("f", 2) }, func() { w.close(tr) }} {
			mustHaveAhead(t, tr, f)
			n, _, _ := mustStart(t, tr, f)
			n.Kill()
			rest(time.Millisecond)
			end()
			rest(time.Second)
			mustNotHaveAhead(t, tr)
		}
	})
}

func TestAheadOutlivesItsDriver(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		n := mustHaveAhead(t, tr, f)
		w.mu.Lock()
		w.generation = 2
		w.down = core.Errorf(core.KindUnavailable, core.FaultDriver, "it is being started")
		w.mu.Unlock()
		tr.DriverLost(1)
		rest(time.Second)
		if m, start, _ := mustStart(t, tr, f); m != n || start != core.StartFork {
			t.Errorf("%s %s", m.id, start)
		}
		if !n.parent.is(retired) {
			t.Error("its zygote forks on")
		}
		n.Kill()
		<-n.parent.Done()
	})
}

// A child ahead that has ended before its import has not run the function's code.
func TestAheadFoundDead(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		n := mustHaveAhead(t, tr, f)
		w.mu.Lock()
		w.boxes[n.id].far.Close()
		w.mu.Unlock()
		if m, start, _ := mustStart(t, tr, f); m == n || start != core.StartFork {
			t.Errorf("%s %s", m.id, start)
		}
	})
}

// A function is removed while it is being started, or while its child ahead is being made. Nothing is left
// for the next function of its name.
func TestNothingAheadOfARemovedFunction(t *testing.T) {
	for _, after := range []time.Duration{200 * time.Millisecond, 401 * time.Millisecond, 404 * time.Millisecond, 407 * time.Millisecond, 412 * time.Millisecond} {
		within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
			w.hook = func(verb string, b *box) error {
				if verb == "import" && b.config.Role == core.RoleInstance {
					time.Sleep(400 * time.Millisecond)
				}
				return nil
			}
			f := fn("f")
			for range 2 {
				n, _, _ := mustStart(t, tr, f)
				n.Kill()
				rest(20 * time.Millisecond)
			}
			mustHaveNothing := func(when string) {
				t.Helper()
				if nodes := childrenAhead(tr); len(nodes) > 0 {
					t.Errorf("removed after %v: %d children ahead %s", after, len(nodes), when)
				}
			}
			for _, n := range childrenAhead(tr) {
				n.Evict()
			}
			for range 2 {
				go tr.Start(context.Background(), f, "")
			}
			rest(after)
			w.mu.Lock()
			w.removed = f.Version
			w.mu.Unlock()
			tr.Evict("f")
			rest(time.Second)
			mustHaveNothing("a second later")
			for n := range maps.Values(tr.nodes) {
				if n.fn == f && n.is(leaving) {
					n.Release(time.Now())
				}
			}
			rest(time.Second)
			mustHaveNothing("when the last instance has ended")
		})
	}
}

// The function is removed after its child ahead has been decided on, and before the child is a node.
func TestRemovedBeforeAChildAheadIsANode(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		mustHaveAhead(t, tr, f).Evict()
		tr.ahead[keyOf(f)].node = nil // as if a start had taken it
		tr.config.Deployed = func(string, int) bool {
			was := w.isDeployed("f", 1)
			w.mu.Lock()
			w.removed = 1
			w.mu.Unlock()
			tr.Evict("f")
			return was
		}
		tr.forkAhead(f)
		rest(time.Second)
		mustNotHaveAhead(t, tr)
	})
}
