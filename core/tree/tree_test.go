package tree

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

const plenty = 1 << 40

// within runs a test in a bubble with a tree, and checks at the end that nothing is left.
func within(t *testing.T, budget int64, test func(t *testing.T, w *world, tr *Tree)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tr := w.tree(budget)
		defer w.close(tr)
		test(t, w, tr)
	})
}

// rest lets time pass, and everything that is due happen.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func mustStart(t *testing.T, tr *Tree, f *core.Function) (*Node, core.Start, core.Phases) {
	t.Helper()
	n, start, phases, err := tr.Start(t.Context(), f, "")
	if err != nil {
		t.Fatalf("start %s: %v", f.Name, err)
	}
	return n, start, phases
}

func parentModules(tr *Tree, n *Node) []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return n.parent.shape.Modules
}

func TestStartKindsAndPhases(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["a"] = 200 * time.Millisecond
		f := fn("f", "a")
		_, start, ph := mustStart(t, tr, f)
		if start != core.StartCold || ph.Preload != 100*time.Millisecond || ph.Enter != time.Millisecond || ph.Fork != 2*time.Millisecond || ph.Import != 200*time.Millisecond || ph.Queue != 0 {
			t.Errorf("first: %s %+v", start, ph)
		}
		_, start, ph = mustStart(t, tr, f)
		if start != core.StartCold || ph.Preload != 0 {
			t.Errorf("second: %s %+v", start, ph)
		}
		rest(time.Second) // the zygote is made off the path after the second request
		n, start, ph := mustStart(t, tr, f)
		if start != core.StartFork || ph.Import != 0 || !slices.Equal(parentModules(tr, n), []string{"a"}) {
			t.Errorf("third: %s %+v", start, ph)
		}
		infos := tr.Snapshot()
		if len(infos) != 5 || infos[0].Role != core.RoleZygote || infos[0].Parent != "" || infos[0].Forks != 3 {
			t.Errorf("snapshot: %+v", infos)
		}
	})
}

func TestOneRootForAll(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		var group sync.WaitGroup
		preloads, queues := 0, 0
		var mu sync.Mutex
		bare := func(name string) *core.Function {
			f := fn(name)
			f.Packages, f.Imports = nil, nil
			return f
		}
		leaving, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer leave()
		if _, _, _, err := tr.Start(leaving, bare("gone"), ""); !core.IsKind(err, core.KindCanceled) {
			t.Errorf("who leaves gets %v", err)
		}
		for range 8 {
			group.Go(func() {
				_, start, ph := mustStart(t, tr, bare("f"))
				mu.Lock()
				defer mu.Unlock()
				if start != core.StartCold {
					t.Errorf("start %s", start)
				}
				if ph.Preload > 0 {
					preloads++
				}
				if ph.Queue >= 50*time.Millisecond {
					queues++
				}
			})
		}
		group.Wait()
		if preloads != 0 || queues != 8 || w.created != 9 {
			t.Errorf("%d made a root, %d waited for the one of the request that left, %d sandboxes", preloads, queues, w.created)
		}
	})
}

func TestSharedZygoteComesFirst(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["np"], w.costs["x"], w.costs["y"] = 300*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
		a, b := fn("a", "np", "x"), fn("b", "np", "y")
		for range 2 {
			mustStart(t, tr, a)
			mustStart(t, tr, b)
			rest(time.Second)
		}
		if want := []string{"[np]", "[x]", "[y]"}; !slices.Equal(w.imports, want) {
			t.Errorf("zygotes imported %v, not %v", w.imports, want)
		}
		n, start, _ := mustStart(t, tr, b)
		if start != core.StartFork || n.depth != 4 {
			t.Errorf("%s at depth %d", start, n.depth)
		}
	})
}

func TestUnforkable(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.threads["pandas"] = 2
		f := fn("f", "pandas")
		for range 4 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		if got := tr.Apart(f); len(got) != 1 || got["pandas"] != "importing pandas leaves 3 threads running" {
			t.Errorf("apart %q", got)
		}
		if len(w.imports) != 1 {
			t.Errorf("tried %d times", len(w.imports))
		}
	})
}

func TestZygoteThatRaisesIsTriedAgainLater(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		tries := 0
		w.hook = func(verb string, b *box) error {
			if verb == "import" && b.config.Role == core.RoleZygote {
				tries++
				return core.Errorf(core.KindException, core.FaultHandler, "ImportError")
			}
			return nil
		}
		f := fn("f", "a")
		for range 20 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		if tries != 1 {
			t.Errorf("%d tries in 20 s", tries)
		}
		rest(plan.FirstBackoff)
		mustStart(t, tr, f)
		rest(time.Second)
		if tries != 2 {
			t.Errorf("%d tries after the backoff", tries)
		}
	})
}

func TestMemory(t *testing.T) {
	within(t, 25<<20, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		first, _, _ := mustStart(t, tr, f) // root 8, instance 8, assumed
		if _, _, _, err := tr.Start(t.Context(), fn("g"), ""); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := tr.Start(t.Context(), f, "")
		if e := core.AsError(err); e == nil || e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !e.Retryable {
			t.Fatalf("with nothing idle: %v", err)
		}
		if !first.Release(time.Now()) {
			t.Fatal("release")
		}
		mustStart(t, tr, f)
		if first.Lease() {
			t.Error("the evicted instance can be leased")
		}
		rest(2 * time.Second) // measured: 5 MiB each
		if got := tr.Memory(); got != 15<<20 {
			t.Errorf("measured %d MiB", got>>20)
		}
		mustStart(t, tr, f)
	})
}

// When memory is over the budget and everything is busy, the first idle instance is evicted.
func TestMemoryIsRelieved(t *testing.T) {
	within(t, 20<<20, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f")
		f.Packages, f.Imports = nil, nil
		first, _, _ := mustStart(t, tr, f)
		w.mu.Lock()
		w.usage = core.Usage{Proportional: 15 << 20, Private: 15 << 20}
		w.mu.Unlock()
		rest(2 * time.Second)
		if tr.Memory() <= 20<<20 {
			t.Fatalf("%d bytes are not over the budget", tr.Memory())
		}
		if !first.Release(time.Now()) {
			t.Error("an idle instance is of no use")
		}
		rest(time.Millisecond)
		if !first.is(dead) || tr.Memory() > 20<<20 {
			t.Errorf("the idle instance is %v, memory %d", state(first.state.Load()), tr.Memory())
		}
	})
}

func TestEvict(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		old, next := fn("f"), fn("f")
		next.Version = 2
		idler, _, _ := mustStart(t, tr, old)
		worker, _, _ := mustStart(t, tr, old)
		fresh, _, _ := mustStart(t, tr, next)
		idler.Release(time.Now())
		tr.Evict("f", 2)
		<-idler.Done()
		if !worker.is(leaving) || !fresh.is(busy) {
			t.Errorf("%v %v", worker.state.Load(), fresh.state.Load())
		}
		if worker.Release(time.Now()) {
			t.Error("an old instance became idle")
		}
		worker.Kill()
		<-worker.Done()
	})
}

func TestSamplerIsGentle(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n, _, _ := mustStart(t, tr, fn("f"))
		rest(1100 * time.Millisecond)
		synctest.Wait()
		if infos := tr.Snapshot(); infos[1].Memory != 5<<20 || infos[1].Private != 4<<20 {
			t.Errorf("%+v", infos)
		}
		if at := n.sampleAt.Sub(n.born); at < plan.NextSample {
			t.Errorf("measured again after %v", at)
		}
		w.mu.Lock()
		w.measuring, w.measured = 50*time.Millisecond, 0
		w.mu.Unlock()
		for range 30 {
			mustStart(t, tr, fn("f"))
		}
		rest(10 * time.Second)
		if w.measured < 8 || w.measured > 10 {
			t.Errorf("measured %d times 50 ms in 10 s, which is not 5 %%", w.measured)
		}
	})
}

func TestClosedTreeStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tr := w.tree(plenty)
		mustStart(t, tr, fn("f", "a"))
		w.close(tr)
		if _, _, _, err := tr.Start(t.Context(), fn("f"), ""); err == nil {
			t.Error("started")
		}
		if last := w.order[len(w.order)-1]; last != "zygote-1" {
			t.Errorf("order %v", w.order)
		}
	})
}

func TestZygoteThatDiesAtOnceIsNotMadeForEver(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		made := 0
		w.hook = func(verb string, b *box) error {
			if verb == "import" && b.config.Role == core.RoleZygote {
				made++
				go w.crash(b.config.ID, core.Exit{Signal: 11, Known: true})
			}
			return nil
		}
		for range 2 {
			mustStart(t, tr, fn("f", "a"))
		}
		rest(time.Minute)
		if made == 0 || made > 3 {
			t.Errorf("made %d times after two requests", made)
		}
	})
}

func TestNodeThatIsKilledBeforeItHasASandbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tr := w.tree(plenty)
		mustStart(t, tr, fn("f"))
		w.creating = time.Second
		forks := 0
		w.hook = func(string, *box) error { forks++; return nil }
		go tr.Start(t.Context(), fn("f"), "")
		rest(time.Millisecond)
		w.close(tr)
		synctest.Wait()
		if forks != 0 {
			t.Error("forked into the sandbox of a node that was killed")
		}
	})
}

func TestTransition(t *testing.T) {
	none := state(99)
	tests := []struct {
		from state
		to   [11]state // made park unpark started lease release drain retire evict kill end
	}{
		{making, [...]state{ready, parked, none, busy, none, none, leaving, retired, none, dying, dead}},
		{parked, [...]state{none, none, making, none, none, none, dying, none, dying, dying, dead}},
		{ready, [...]state{none, none, none, none, none, none, none, retired, dying, dying, dead}},
		{idle, [...]state{none, none, none, none, busy, none, dying, none, dying, dying, dead}},
		{busy, [...]state{none, none, none, none, none, idle, leaving, none, none, dying, dead}},
		{leaving, [...]state{none, none, none, leaving, none, dying, leaving, none, none, dying, dead}},
		{retired, [...]state{retired, none, none, none, none, none, none, none, dying, dying, dead}},
		{dying, [...]state{none, none, none, none, none, none, none, none, none, none, dead}},
		{dead, [...]state{none, none, none, none, none, none, none, none, none, none, none}},
	}
	for _, test := range tests {
		for e, want := range test.to {
			to, ok := transition(test.from, event(e))
			if ok != (want != none) || ok && to != want {
				t.Errorf("%v, event %d: %v %v", test.from, e, to, ok)
			}
		}
	}
}
