package tree

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// The first start after Preload is a fork, and so is one of a function without packages; nothing is made
// twice.
func TestPreload(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["a"] = time.Second
		bare := fn("bare")
		for _, f := range []*core.Function{fn("f", "a"), fn("f", "a"), bare} {
			tr.Preload(t.Context(), f)
			if why := tr.Unready(f); why != "" {
				t.Errorf("%s: %s", f.Name, why)
			}
		}
		if len(w.imports) != 1 {
			t.Errorf("zygotes imported %v", w.imports)
		}
		for _, f := range []*core.Function{fn("f", "a"), bare} {
			if _, start, _ := mustStart(t, tr, f); start != core.StartFork {
				t.Errorf("the first start of %s is %s", f.Name, start)
			}
		}
	})
}

// With root zygotes only, nobody waits for a zygote, and each start imports for itself.
func TestRootsOnly(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		tr.config.RootsOnly = true
		began, bare := time.Now(), fn("bare")
		tr.Preload(t.Context(), fn("f", "a"))
		tr.Preload(t.Context(), bare)
		if why := tr.Unready(fn("f", "a")); why != "this worker has root zygotes only" || tr.Unready(bare) != "" {
			t.Errorf("%q, %q", why, tr.Unready(bare))
		}
		var herd sync.WaitGroup
		for range 10 {
			herd.Go(func() {
				if _, start, _ := mustStart(t, tr, fn("f", "a")); start != core.StartCold {
					t.Errorf("a start with packages is %s", start)
				}
			})
		}
		herd.Wait()
		if _, start, _ := mustStart(t, tr, bare); start != core.StartFork {
			t.Errorf("a start without packages is %s", start)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("somebody waited for a zygote that never comes: %v", took)
		}
		for _, n := range tr.Snapshot() {
			if n.Role == core.RoleZygote && len(n.Modules) > 0 {
				t.Errorf("there is a zygote: %+v", n)
			}
		}
	})
}

// Of many deploys at once each gets its zygote. A caller that goes away waits no longer.
func TestPreloadTogether(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		began := time.Now()
		done := make(chan *core.Function)
		for i := range 100 {
			f := fn(fmt.Sprint("f", i), fmt.Sprint("m", i))
			w.costs[f.Imports[0]] = 100 * time.Millisecond
			go func() { tr.Preload(t.Context(), f); done <- f }()
		}
		for range 100 {
			if f := <-done; tr.Unready(f) != "" {
				t.Errorf("%s: %s", f.Name, tr.Unready(f))
			}
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Unready says why a zygote cannot be made, and nobody waits for it.
func TestUnready(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.threads["threads"] = 2
		w.raises["raises"] = core.Errorf(core.KindException, core.FaultHandler, "ImportError")
		apart := fn("apart", "x")
		apart.Apart = map[string]string{"x": "x starts 3 threads at import"}
		if why := tr.Unready(fn("f", "a")); !strings.Contains(why, "no zygote yet") {
			t.Errorf("before anything: %q", why)
		}
		for f, says := range map[*core.Function]string{apart: "x starts 3 threads", fn("threads", "threads"): "leaves 3 threads", fn("raises", "raises"): "ImportError"} {
			began := time.Now()
			tr.Preload(t.Context(), f)
			if why := tr.Unready(f); !strings.Contains(why, says) || time.Since(began) > 5*time.Second {
				t.Errorf("%s: %q after %v", f.Name, why, time.Since(began))
			}
		}
		w.mu.Lock()
		w.down = core.Errorf(core.KindUnavailable, core.FaultDriver, "no driver")
		w.mu.Unlock()
		tr.Preload(t.Context(), fn("down", "y"))
	})
}

// A zygote takes no memory from one of more value, and gets memory that becomes free later. A zygote that a
// deploy waits for takes the memory of the least valuable one, as the start after the deploy would.
func TestPreloadWithoutMemory(t *testing.T) {
	within(t, 31<<20, func(t *testing.T, w *world, tr *Tree) {
		for _, m := range []string{"a", "b", "c"} {
			w.costs[m] = time.Second
		}
		size := func(mib int64) {
			w.mu.Lock()
			w.usage = core.Usage{Proportional: mib << 20, Private: mib << 20}
			w.mu.Unlock()
			rest(time.Minute)
		}
		size(12)
		used, rare, fresh := fn("used", "a"), fn("rare", "b"), fn("fresh", "c")
		tr.Resume([]Used{{*rare, core.Use{Weight: 1}}, {*used, core.Use{Weight: 3}}})
		rest(10 * time.Second)
		full := func(f *core.Function, is bool) {
			t.Helper()
			if why := tr.Unready(f); strings.Contains(why, "31 MiB is full of what is worth more") != is {
				t.Errorf("%s: %q", f.Name, why)
			}
		}
		full(used, false)
		full(rare, true)
		size(5)
		full(rare, false)
		size(8)
		tr.Preload(t.Context(), fresh)
		full(fresh, false)
		full(used, false)
		full(rare, true)
	})
}

// A zygote that memory does not suffice for is not charged for a moment longer: who measures another one then
// would evict for it.
func TestNothingIsEvictedForWhatIsRefused(t *testing.T) {
	within(t, 31<<20, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a")
		tr.Preload(t.Context(), f)
		tr.mu.Lock()
		n := tr.add(core.RoleZygote, plan.Shape{Runtime: f.Runtime, Modules: []string{"b"}}, nil, 1, 30<<20)
		_, enough := tr.afford(n, 0)
		ends, _ := tr.reclaim(plan.Necessary())
		tr.mu.Unlock()
		if enough || len(ends) > 0 {
			t.Errorf("enough %v, evicted %d", enough, len(ends))
		}
		tr.remove(n)
	})
}

// After a restart the zygotes of a hundred functions are made, the most valuable first. Memory suffices for a
// third of them. No zygote takes the place of one of more value. The uses are kept for the next restart.
func TestResume(t *testing.T) {
	const n, third = 100, 33
	var used []Used
	for i := range n {
		f := fn(fmt.Sprint("f", i), fmt.Sprint("m", i))
		used = append(used, Used{*f, core.Use{Weight: float64(1 + (i*37)%n), Last: time.Date(2026, 1, 1, 12, 0, i%7, 0, time.UTC)}})
	}
	within(t, (third+3)*(5<<20), func(t *testing.T, w *world, tr *Tree) {
		time.Sleep(24 * time.Hour) // nobody is forgotten meanwhile
		for i := range n {
			w.costs[fmt.Sprint("m", i)] = 100 * time.Millisecond
		}
		tr.Resume(used)
		bare := fn("bare")
		if _, _, phases := mustStart(t, tr, bare); phases.Queue > 150*time.Millisecond {
			t.Errorf("an event waits: %+v", phases)
		}
		rest(30 * time.Second)
		ready := 0
		for i, u := range used {
			weight := 1 + (i*37)%n
			why := tr.Unready(&u.Function)
			if why == "" {
				ready++
			}
			if why != "" && weight > n-third+3 || why == "" && weight < n-third-3 {
				t.Errorf("%s, used %d: %q", u.Function.Name, weight, why)
			}
		}
		if ready < third-3 || ready > third+3 {
			t.Errorf("%d are ready", ready)
		}
		if len(w.imports) > ready+3 {
			t.Errorf("%d zygotes were made for %d", len(w.imports), ready)
		}
		uses := tr.Uses(func(name string) bool { return name != "f1" })
		if _, gone := uses["f1"]; gone || len(uses) != n || uses["f27"].Weight < 90 { // all but f1, and bare
			t.Errorf("%d: %v", len(uses), uses["f27"])
		}
	})
}

// A zygote ends with the last function that needs it. A zygote that others need stays.
func TestDrop(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		gone, stays, same := fn("gone", "a", "b"), fn("stays", "a"), fn("same", "c")
		for _, f := range []*core.Function{stays, gone, same} {
			tr.Preload(t.Context(), f)
		}
		n, _, _ := mustStart(t, tr, gone)
		tr.Drop([]core.Function{*gone, *same}, []core.Function{*stays, *same})
		rest(time.Second)
		if n.is(dead) || tr.Unready(gone) == "" || tr.Unready(stays) != "" || tr.Unready(same) != "" {
			t.Errorf("%v, gone %q, stays %q, same %q", state(n.state.Load()), tr.Unready(gone), tr.Unready(stays), tr.Unready(same))
		}
		n.Kill()
		rest(time.Second)
		for _, z := range tr.Snapshot() {
			if len(z.Set) == 2 {
				t.Errorf("%s is left: %v", z.ID, z.Set)
			}
		}
		if len(tr.demands) != 2 {
			t.Errorf("%d demands are left", len(tr.demands))
		}
	})
}

// When a driver has died, the next one makes its zygotes again before requests miss them.
func TestResumeAfterDriver(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a")
		tr.Preload(t.Context(), f)
		w.mu.Lock()
		w.generation++
		w.mu.Unlock()
		tr.DriverLost(1)
		rest(10 * time.Second)
		if _, start, _ := mustStart(t, tr, f); start != core.StartFork {
			t.Errorf("the first start after the driver's is %s", start)
		}
	})
}
