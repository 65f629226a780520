package tree

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// childrenAhead returns the parked children.
func childrenAhead(tr *Tree) (nodes []*Node) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, n := range tr.nodes {
		if n.is(parked) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// mustHaveAhead starts a function until it has a child ahead and no instance, and returns the child.
func mustHaveAhead(t *testing.T, tr *Tree, f *core.Function) *Node {
	t.Helper()
	for range 3 { // cold, the first from a zygote, the second
		n, _, _ := mustStart(t, tr, f)
		n.Kill()
		rest(time.Second)
	}
	for _, n := range childrenAhead(tr) {
		if n.fn == f {
			return n
		}
	}
	t.Fatalf("%s has no child ahead", f.Name)
	return nil
}

func mustNotHaveAhead(t *testing.T, tr *Tree) {
	t.Helper()
	if nodes := childrenAhead(tr); len(nodes) > 0 {
		t.Errorf("there are %d children ahead", len(nodes))
	}
}

func TestAheadIsTaken(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["a"] = 10 * time.Millisecond
		f := fn("f")
		f.Packages, f.Imports = nil, nil
		for range 2 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		mustNotHaveAhead(t, tr) // once from a zygote is not a habit
		last, _, _ := mustStart(t, tr, f)
		rest(time.Second)
		ahead := childrenAhead(tr)
		if len(ahead) != 1 {
			t.Fatalf("%d children ahead", len(ahead))
		}
		for range 3 {
			began := time.Now()
			n, start, ph := mustStart(t, tr, f)
			if n != ahead[0] || n == last || start != core.StartFork || ph != (core.Phases{}) || !time.Now().Equal(began) || !n.is(busy) {
				t.Errorf("%s %s %+v in %v", n.id, start, ph, time.Since(began))
			}
			rest(time.Second)
			if ahead = childrenAhead(tr); len(ahead) != 1 {
				t.Fatalf("then %d children ahead", len(ahead))
			}
		}
	})
}

// A child ahead is made when the event of the start before it has ended, or a moment after that start.
func TestAheadIsMadeLater(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		mustHaveAhead(t, tr, fn("f"))
		ends := []func(n *Node) time.Duration{
			func(*Node) time.Duration { return plan.AheadDelay },
			func(n *Node) time.Duration { rest(time.Millisecond); n.Release(time.Now()); return time.Millisecond },
			func(n *Node) time.Duration { rest(time.Millisecond); n.Kill(); return time.Millisecond },
		}
		f := childrenAhead(tr)[0].fn
		created := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.created
		}
		for i, end := range ends {
			n, _, _ := mustStart(t, tr, f)
			began, before := time.Now(), created()
			after := end(n)
			rest(after - time.Since(began) - 1)
			if after == plan.AheadDelay && created() != before {
				t.Errorf("%d: made before %v", i, after)
			}
			rest(1)
			if created() != before+1 {
				t.Errorf("%d: not made after %v", i, after)
			}
			rest(time.Second)
			if made := created() - before; made != 1 {
				t.Errorf("%d: %d made", i, made)
			}
		}
	})
}

func TestAheadIsWaitedForByOne(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		mustHaveAhead(t, tr, f)
		n, _, _ := mustStart(t, tr, f)
		n.Kill()
		rest(time.Millisecond) // of the three that a fork takes
		var group sync.WaitGroup
		var mu sync.Mutex
		waited, forked := 0, 0
		for range 3 { // with the child that is being made as many as the turns that a function may have
			group.Go(func() {
				_, start, ph := mustStart(t, tr, f)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case start == core.StartFork && ph == core.Phases{Queue: 2 * time.Millisecond}:
					waited++
				case start == core.StartFork && ph.Fork == 2*time.Millisecond && ph.Queue == 0:
					forked++
				default:
					t.Errorf("%s %+v", start, ph)
				}
			})
		}
		group.Wait()
		if waited != 1 || forked != 2 {
			t.Errorf("%d waited for it, %d forked their own", waited, forked)
		}
	})
}

// A child ahead of a cold start would lack a module that a later zygote has.
func TestNothingAheadOfAColdStart(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.raises["a"] = core.Errorf(core.KindException, core.FaultHandler, "ImportError") // in zygotes and in instances
		f := fn("f", "a")
		for range 5 {
			if _, _, _, err := tr.Start(t.Context(), f, ""); err == nil {
				t.Error("started")
			}
			rest(time.Second)
			mustNotHaveAhead(t, tr)
		}
		delete(w.raises, "a") // the block on its zygote lasts
		for range 5 {
			if n, start, _ := mustStart(t, tr, f); start != core.StartCold || n.depth != 2 {
				t.Errorf("%s", start)
			}
			rest(time.Second)
			mustNotHaveAhead(t, tr)
		}
	})
}

func TestAheadAndMemory(t *testing.T) {
	within(t, 40<<20, func(t *testing.T, w *world, tr *Tree) {
		w.usage = core.Usage{Proportional: 8 << 20, Private: 8 << 20} // as is assumed
		f := fn("f")
		ahead := mustHaveAhead(t, tr, f) // and the root zygote
		var idlers []*Node
		for i := range 3 {
			n, _, _ := mustStart(t, tr, fn(fmt.Sprint("g", i)))
			n.Release(time.Now())
			idlers = append(idlers, n)
		}
		rest(time.Second)
		if !ahead.is(parked) {
			t.Fatal("it was evicted without need")
		}
		if n, _, _ := mustStart(t, tr, fn("h")); !n.Release(time.Now()) { // one too much
			t.Error("release")
		}
		for _, n := range idlers {
			if !n.is(idle) || ahead.is(parked) {
				t.Errorf("an idle instance is %v and the child ahead %v", state(n.state.Load()), state(ahead.state.Load()))
			}
		}
		n, _, _ := mustStart(t, tr, f) // costs an idle one, but none more for the next child ahead
		rest(time.Second)
		mustNotHaveAhead(t, tr)
		left := 0
		for _, n := range idlers {
			if n.is(idle) {
				left++
			}
		}
		if left < 2 || !n.is(busy) {
			t.Errorf("%d idle instances are left", left)
		}
	})
}

func TestAheadIsNoIdleInstance(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n := mustHaveAhead(t, tr, fn("f"))
		if tr.EvictIdle(func(string) bool { return true }) || !n.is(parked) {
			t.Error("it was evicted to free an instance, which it does not count as")
		}
	})
}

func TestAheadIsBounded(t *testing.T) {
	most := 0
	for plan.Ahead(most) {
		most++
	}
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		for range 4 {
			for i := range most + 9 {
				n, _, _ := mustStart(t, tr, fn(fmt.Sprint("f", i)))
				n.Kill()
				rest(10 * time.Millisecond)
			}
		}
		if n := len(childrenAhead(tr)); n != most || most < 2 {
			t.Errorf("%d children ahead", n)
		}
	})
}

// The zygote that had every module may be retired before a child is made from it.
func TestNothingAheadOfALesserZygote(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		generation := func(g int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.generation = g
		}
		f := fn("f", "a")
		for range 3 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		generation(2)
		mustStart(t, tr, fn("g")) // makes a root zygote
		generation(1)
		_, start, _ := mustStart(t, tr, f)
		generation(2)
		rest(time.Second)
		if start != core.StartFork {
			t.Errorf("start %s", start)
		}
		mustNotHaveAhead(t, tr)
	})
}

// Of two corrections of a function's imports, one adds a module and the other takes one away.
func TestAheadIsOfWhatIsKnown(t *testing.T) {
	f := fn("f", "a")
	g := *f
	g.Loaded, g.Apart = []string{"b"}, map[string]string{"a": "a starts 3 threads at import"}
	if keyOf(f) == keyOf(&g) {
		t.Error("what was made ahead with a is taken where a is apart")
	}
	h := *f
	if keyOf(f) != keyOf(&h) {
		t.Error("what was made ahead is not taken")
	}
}

// A child ahead copies what an instance of the same zygote has written to by the end of its first event.
func TestAheadCopiesPages(t *testing.T) {
	for what, end := range map[string]func(*Node){
		"reused":     func(n *Node) { n.Release(time.Now()); rest(time.Millisecond) },
		"not reused": func(n *Node) { n.Kill() },
	} {
		t.Run(what, func(t *testing.T) {
			within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
				f := fn("f")
				w.written = core.Pages{0x7002}
				var ahead []*Node
				for range 4 {
					n, _, _ := mustStart(t, tr, f)
					end(n)
					n.Evict()
					rest(time.Second)
					ahead = childrenAhead(tr)
				}
				w.mu.Lock()
				w.written = core.Pages{0x9001}
				w.mu.Unlock()
				if got := w.box(ahead[0].id).config.Pages; !slices.Equal(got, core.Pages{0x7002}) {
					t.Errorf("it copies %x", got)
				}
				zygote := ahead[0].parent
				w.crash(zygote.id, core.Exit{Signal: 11, Known: true})
				rest(time.Second)
				for range 2 {
					n, _, _ := mustStart(t, tr, f)
					if got := w.box(n.id).config.Pages; n.parent == zygote || got != nil {
						t.Errorf("a child of another zygote copies %x", got)
					}
					end(n)
					n.Evict()
					rest(time.Second)
				}
				if ahead = childrenAhead(tr); len(ahead) != 1 || !slices.Equal(w.box(ahead[0].id).config.Pages, core.Pages{0x9001}) {
					t.Error("what is written below the other zygote is not copied")
				}
			})
		})
	}
}
