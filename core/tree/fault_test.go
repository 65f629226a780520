package tree

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

func TestFailures(t *testing.T) {
	lost := core.Errorf(core.KindUnavailable, core.FaultDriver, "zygote lost")
	tests := []struct {
		name  string
		fails int // how many calls
		verb  string
		with  func(w *world, b *box) error
		kind  core.Kind
		fault core.Fault
		forks int // calls in all
		roots int // made
	}{
		{"a fork that fails once is tried on a fresh zygote", 1, "fork", func(w *world, b *box) error { return lost }, "", "", 2, 2},
		{"twice is unavailable", 2, "fork", func(w *world, b *box) error { return lost }, core.KindUnavailable, core.FaultDriver, 2, 2},
		{"a zygote that hangs", 1, "fork", func(w *world, b *box) error { time.Sleep(plan.ForkTimeout); return context.DeadlineExceeded }, "", "", 2, 2},
		{"a handler that raises is not tried again", 9, "import", func(w *world, b *box) error {
			return core.Errorf(core.KindException, core.FaultHandler, "ValueError")
		}, core.KindException, core.FaultHandler, 1, 1},
		{"a handler that exits at import", 9, "import", func(w *world, b *box) error {
			w.crash(b.config.ID, core.Exit{Code: 3, Known: true})
			return lost
		}, core.KindExit, core.FaultHandler, 1, 1},
		{"a handler over its memory at import", 9, "import", func(w *world, b *box) error {
			w.crash(b.config.ID, core.Exit{Signal: 9, OutOfMemory: true, Known: true})
			return lost
		}, core.KindMemory, core.FaultHandler, 1, 1},
		{"a handler that never comes to an end at import", 9, "import", func(w *world, b *box) error {
			<-b.done
			return lost
		}, core.KindTimeout, core.FaultHandler, 1, 1},
		{"a handler that closes its endpoint at import", 9, "import", func(w *world, b *box) error {
			b.far.Close()
			return lost
		}, core.KindExit, core.FaultHandler, 1, 1},
		{"a zygote that dies under an import", 1, "import", func(w *world, b *box) error {
			w.crash(b.parent.config.ID, core.Exit{Signal: 9, Known: true})
			return lost
		}, "", "", 2, 2},
		{"a machine that cannot is not the zygote's fault", 9, "fork", func(w *world, b *box) error {
			return core.Errorf(core.KindExhausted, core.FaultWorker, "no pids")
		}, core.KindExhausted, core.FaultWorker, 1, 1},
		{"a driver's shortage neither", 9, "fork", func(w *world, b *box) error {
			return core.Errorf(core.KindExhausted, core.FaultDriver, "too many open files")
		}, core.KindExhausted, core.FaultDriver, 1, 1},
		{"a shortage at the gate, of which the driver sees the end of a process", 9, "fork", func(w *world, b *box) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			b.entering = core.Shortage("at the gate", syscall.EMFILE)
			return lost
		}, core.KindExhausted, core.FaultWorker, 1, 1},
		{"a kill for want of memory around the worker", 9, "import", func(w *world, b *box) error {
			w.crash(b.config.ID, core.Exit{Signal: 9, Starved: true, Known: true})
			return lost
		}, core.KindUnavailable, core.FaultDriver, 2, 1},
	}
	for i := range 2 * len(tests) {
		test, byCore := tests[i/2], i%2 == 1
		t.Run(fmt.Sprintf("%s, forked by core: %v", test.name, byCore), func(t *testing.T) {
			within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
				w.forks = byCore
				forks, roots, fails := 0, 0, test.fails
				w.hook = func(verb string, b *box) error {
					if verb == "preload" {
						roots++
					}
					if verb == "fork" {
						forks++
						for _, info := range tr.Snapshot() {
							if info.Role == core.RoleZygote {
								w.corrupt(info.ID)
							}
						}
					}
					if verb == test.verb && fails > 0 {
						fails--
						return test.with(w, b)
					}
					return nil
				}
				_, _, _, err := tr.Start(t.Context(), fn("f"), "")
				if test.kind == "" && err != nil {
					t.Fatalf("%v", err)
				}
				if e := core.AsError(err); e != nil && (e.Kind != test.kind || e.Fault != test.fault) {
					t.Errorf("%s %s: %v", e.Kind, e.Fault, e)
				}
				if forks != test.forks || roots != test.roots {
					t.Errorf("%d forks of %d root zygotes, not %d of %d", forks, roots, test.forks, test.roots)
				}
				synctest.Wait()
				for _, info := range tr.Snapshot() {
					if info.Role == core.RoleInstance && err != nil {
						t.Errorf("left: %+v", info)
					}
				}
			})
		})
	}
}

func TestDriverLost(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n, _, _ := mustStart(t, tr, fn("f"))
		w.mu.Lock()
		w.generation = 2
		w.mu.Unlock()
		tr.DriverLost(1)
		synctest.Wait()
		if !n.is(busy) || !n.parent.is(retired) {
			t.Fatalf("instance %v, zygote %v", state(n.state.Load()), state(n.parent.state.Load()))
		}
		m, _, _ := mustStart(t, tr, fn("f"))
		if m.parent == n.parent {
			t.Error("a retired zygote was forked")
		}
		if info := tr.Snapshot()[1]; info.Generation != 1 {
			t.Errorf("generation %d", info.Generation)
		}
		n.Kill()
		<-n.Done()
		<-n.parent.Done()
	})
}

// TestExpel takes a package out of the tree. Processes that may have it end, busy ones after they have
// answered; no others do.
func TestExpel(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		with, without := fn("with", "a"), fn("without", "b")
		with.Packages[0].Digest = "sha256:a"
		for range 5 { // until a zygote has it
			n, _, _ := mustStart(t, tr, with)
			n.Kill()
			rest(time.Second)
		}
		last, _, _ := mustStart(t, tr, with)
		if len(last.parent.shape.Set) == 0 {
			t.Fatal("no zygote has the package")
		}
		idler, _, _ := mustStart(t, tr, with)
		idler.Release(time.Now())
		other, _, _ := mustStart(t, tr, without)
		tr.Expel("sha256:a")
		<-idler.Done()
		if !last.is(leaving) || !last.parent.is(retired) || !other.is(busy) || !other.parent.is(ready) {
			t.Errorf("%+v", tr.Snapshot())
		}
		if last.Release(time.Now()) {
			t.Error("an instance with it became idle")
		}
		last.Kill()
		<-last.parent.Done()
	})
}

func TestDriverThatDiesUnderAForkSparesItsInstances(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n, _, _ := mustStart(t, tr, fn("f"))
		w.hook = func(verb string, b *box) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if verb == "fork" && w.generation == 1 {
				w.generation = 2
				return errors.Join(core.Errorf(core.KindUnavailable, core.FaultDriver, "EOF"))
			}
			return nil
		}
		mustStart(t, tr, fn("f"))
		if !n.is(busy) {
			t.Error("the instance of the old driver ended")
		}
	})
}

func TestDeathOfAZygoteIsThatOfItsSubtree(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n, _, _ := mustStart(t, tr, fn("f"))
		w.crash(n.parent.id, core.Exit{Signal: 11, Known: true})
		<-n.Done()
		if err := n.Ended(); err.Kind != core.KindUnavailable || err.Fault != core.FaultWorker || !err.Retryable {
			t.Errorf("%+v", err)
		}
		if len(tr.Snapshot()) != 0 {
			t.Errorf("left: %+v", tr.Snapshot())
		}
	})
}
