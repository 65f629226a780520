package tree

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// occupy has a function wait for n turns at once and keep each for a while.
func occupy(t *testing.T, turns *turns, group *sync.WaitGroup, function string, slow bool, n int, held time.Duration) {
	for range n {
		group.Go(func() {
			done, err := turns.take(t.Context(), owner{function, core.Namespace(function)}, slow)
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(held)
			done()
		})
	}
}

// waited returns how long a function that comes now waits for its turn.
func waited(t *testing.T, turns *turns, function string) time.Duration {
	t.Helper()
	began := time.Now()
	done, err := turns.take(t.Context(), owner{function, core.Namespace(function)}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	return time.Since(began)
}

func TestTurnsAreSharedByFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, work := newTurns(4), 10*time.Millisecond
		var group sync.WaitGroup
		occupy(t, turns, &group, "burst", false, 500, work)
		synctest.Wait()
		if took := waited(t, turns, "light"); took != 0 {
			t.Errorf("beside one function's burst the next one waits %v", took)
		}
		for i := range 7 {
			occupy(t, turns, &group, fmt.Sprint("burst", i), false, 500, work)
		}
		time.Sleep(time.Second + time.Millisecond)
		if took := waited(t, turns, "light"); took > 3*work {
			t.Errorf("beside the bursts of eight functions it waits %v", took)
		}
		group.Wait()
		if turns.free != 4 || turns.slow != 2 || len(turns.had) != 0 || len(turns.queue) != 0 {
			t.Errorf("%+v", turns)
		}
	})
}

// of returns how many turns a namespace has when all that happens now has happened.
func (t *turns) of(namespace string) int {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.space(namespace).had[false]
}

// However many functions of a namespace want turns, those of another one get as many, and find one free when
// they come.
func TestTurnsAreSharedByNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, work := newTurns(4), 10*time.Millisecond
		var group sync.WaitGroup
		turns.near.seen("quiet")
		turns.near.seen("loud")
		for i := range 50 {
			occupy(t, turns, &group, fmt.Sprintf("burst%d.loud", i), false, 20, work)
		}
		time.Sleep(work + work/2)
		if had := turns.of("loud"); had != 1 {
			t.Errorf("beside another namespace one has %d of 4 turns", had)
		}
		if took := waited(t, turns, "light.quiet"); took != 0 {
			t.Errorf("beside the bursts of another namespace it waits %v", took)
		}
		began := time.Now()
		var own sync.WaitGroup
		for i := range 5 {
			occupy(t, turns, &own, fmt.Sprintf("several%d.quiet", i), false, 4, work)
		}
		own.Wait()
		if took := time.Since(began); took > 20*work {
			t.Errorf("twenty turns of two at once took %v", took)
		}
		time.Sleep(time.Second)
		turns.near.seen("loud")
		time.Sleep(work)
		if had := turns.of("loud"); had != 4 {
			t.Errorf("alone for a second a namespace has %d of 4 turns", had)
		}
		group.Wait()
		if turns.free != 4 || turns.slow != 2 || len(turns.had) != 0 || turns.spaces["loud"].had[false] != 0 || turns.spaces["quiet"].had[false] != 0 {
			t.Errorf("%+v", turns)
		}
	})
}

func TestTurnsOfSlowWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(4)
		var group sync.WaitGroup
		for i := range 20 {
			occupy(t, turns, &group, fmt.Sprint("cold", i), true, 20, time.Second)
		}
		began := time.Now()
		for range 50 {
			time.Sleep(10 * time.Millisecond)
			if took := waited(t, turns, "light"); took != 0 {
				t.Errorf("beside cold starts it waits %v", took)
				break
			}
		}
		group.Wait()
		if took := time.Since(began); took != 400*time.Second/2 {
			t.Errorf("400 s of work took %v, where two may be done at once", took)
		}
	})
}

// Work that hangs does not keep its turn. A caller that goes away leaves no turn behind.
func TestTurnsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(4)
		var group sync.WaitGroup
		for _, f := range []string{"a", "b"} {
			occupy(t, turns, &group, f, false, 2, time.Hour)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.take(ctx, owner{"c", core.DefaultNamespace}, false); err == nil {
			t.Error("there was a fifth turn")
		}
		if took := waited(t, turns, "d"); took != plan.TurnLife-time.Second {
			t.Errorf("beside what hangs it waited %v", took)
		}
		group.Wait()
		if turns.free != 4 || turns.slow != 2 || len(turns.had) != 0 || len(turns.queue) != 0 {
			t.Errorf("%+v", turns)
		}
	})
}

// Starts that need only a fork wait neither for another function's burst nor for the imports of many
// functions.
func TestStartBesideOthers(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["heavy"] = time.Second
		light := fn("light")
		mustStart(t, tr, light)
		apart := func(i int) *core.Function {
			f := fn(fmt.Sprint("apart", i), "heavy")
			f.Apart = map[string]string{"heavy": "because"}
			return f
		}
		long := fn("long")
		w.hook = func(verb string, b *box) error {
			if verb == "import" && b.config.Function == "long" {
				time.Sleep(time.Second)
			}
			return nil
		}
		mustStart(t, tr, long)
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { mustStart(t, tr, long) })
		}
		for range 200 {
			group.Go(func() { mustStart(t, tr, fn("burst")) })
		}
		for i := range 20 {
			group.Go(func() { mustStart(t, tr, apart(i)) })
		}
		for range 20 {
			time.Sleep(10 * time.Millisecond)
			if _, _, ph := mustStart(t, tr, light); ph.Queue > 4*time.Millisecond {
				t.Errorf("a light start waited %v", ph.Queue)
			}
		}
		group.Wait()
	})
}
