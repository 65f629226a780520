package tree

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// herd starts n instances of a function at once, and returns how many of them were cold.
func herd(t *testing.T, tr *Tree, f *core.Function, n int) (cold int, took time.Duration) {
	t.Helper()
	began := time.Now()
	var group sync.WaitGroup
	var mu sync.Mutex
	for range n {
		group.Go(func() {
			_, start, _ := mustStart(t, tr, f)
			mu.Lock()
			defer mu.Unlock()
			if start == core.StartCold {
				cold++
			}
		})
	}
	group.Wait()
	return cold, time.Since(began)
}

// Of many requests at once, only as many import for themselves as it takes for the zygote to be wanted.
func TestHerdWaitsForTheZygote(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["a"] = 100 * time.Millisecond
		f := fn("f", "a")
		mustStart(t, tr, fn("other")) // so that there is a root zygote
		if cold, _ := herd(t, tr, f, 30); cold > plan.EnoughMisses {
			t.Errorf("%d of 30 imported for themselves", cold)
		}
		if cold, _ := herd(t, tr, f, 30); cold != 0 {
			t.Errorf("with the zygote there, %d of 30 imported for themselves", cold)
		}
	})
}

// No start waits for a zygote that cannot be made.
func TestHerdWithoutZygote(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["a"] = 100 * time.Millisecond
		w.threads["a"] = 3
		if cold, took := herd(t, tr, fn("f", "a"), 30); cold != 30 || took >= plan.HerdWait {
			t.Errorf("%d of 30 imported for themselves, in %v", cold, took)
		}
	})
}

// No start waits for a zygote longer than plan.HerdWait.
func TestHerdWaitsNotForEver(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.costs["a"] = time.Minute
		w.hook = func(verb string, b *box) error {
			if verb == "import" && b.config.Role == core.RoleZygote {
				time.Sleep(time.Hour)
				return errors.New("it hangs")
			}
			return nil
		}
		f := fn("f", "a")
		f.Limits.Timeout = 5 * time.Minute
		if cold, took := herd(t, tr, f, 6); cold != 6 || took > 2*time.Minute {
			t.Errorf("%d of 6 imported for themselves, in %v", cold, took)
		}
	})
}
