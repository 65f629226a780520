package sched

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

const plenty = 1 << 40

func within(t *testing.T, limit int, test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(newWorld(), limit, plenty)
		defer r.close(t)
		test(t, r)
	})
}

// fault checks the kind and the fault of an error.
func fault(t *testing.T, err error, kind core.Kind, whose core.Fault) *core.Error {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Fault != whose {
		t.Fatalf("want %s of the %s, got %+v", kind, whose, err)
	}
	return e
}

func slow(d time.Duration) func(*box, *request) {
	return func(b *box, r *request) {
		time.Sleep(d)
		b.answer('R', r.event)
	}
}

func TestReuse(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		f := fn("f")
		res, err := r.run(t.Context(), f, `{"a":1}`)
		if err != nil || string(res.Body) != `{"a":1}` || res.Start != core.StartCold || res.Phases.Fork != 3*time.Millisecond || res.Phases.Handler != time.Second || res.Phases.Total != 1003*time.Millisecond {
			t.Errorf("%+v %v", res, err)
		}
		again, err := r.run(t.Context(), f, `2`)
		if err != nil || again.Start != core.StartWarm || again.Node != res.Node || again.Phases != (core.Phases{Handler: time.Second, Total: time.Second}) {
			t.Errorf("%+v %v", again, err)
		}
		f = fn("fresh")
		f.Limits.Reuse = false
		first, _ := r.run(t.Context(), f, `1`)
		second, err := r.run(t.Context(), f, `2`)
		if err != nil || second.Start != core.StartFork || second.Node == first.Node {
			t.Errorf("%+v %v", second, err)
		}
	})
}

func TestWaitAndHandOver(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		f := fn("f")
		f.Limits.MaxInstances = 2
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				res, err := r.run(t.Context(), f, `1`)
				if err != nil || i > 1 && (res.Start != core.StartWarm || res.Phases.Queue < time.Duration(i/2)*time.Second-10*time.Millisecond) {
					t.Errorf("%d: %+v %v", i, res, err)
				}
			})
		}
		group.Wait()
		if r.w.highest() != 2 || r.w.starts != 2 {
			t.Errorf("%d alive, %d started", r.w.highest(), r.w.starts)
		}
	})
}

func TestWhatIsFreeFirst(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		r.w.on(slow(2 * time.Millisecond))
		f := fn("f")
		r.run(t.Context(), f, `1`)
		go r.run(t.Context(), f, `1`)
		time.Sleep(time.Millisecond)
		res, err := r.run(t.Context(), f, `2`) // its fork takes 3 ms, the other event 1 ms more
		if err != nil || res.Start != core.StartWarm || res.Phases.Queue != time.Millisecond {
			t.Errorf("%+v %v", res, err)
		}
		time.Sleep(time.Second)
		if n := r.w.living(); n != 2 {
			t.Errorf("%d alive", n)
		}
	})
}

func TestStartMayTakeLongerThanARequestMayWait(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.forks = 25 * time.Second
		if res, err := r.run(t.Context(), fn("f"), `1`); err != nil || res.Phases.Fork != 25*time.Second {
			t.Errorf("%+v %v", res, err)
		}
	})
}

// A caller goes away just after its answer. The late interrupt must not hit the next event.
func TestLateInterrupt(t *testing.T) {
	near, far := net.Pipe()
	i := &instance{conn: endpoint.Open(near, 3)}
	first := i.begin(time.Now().Add(time.Minute))
	i.begin(time.Now().Add(time.Minute))
	i.interrupt(first)
	go far.Write([]byte{1})
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestDrainedWhileRequestsWait(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(func(b *box, _ *request) {
			time.Sleep(time.Second)
			b.die(core.Exit{Code: 1, Known: true})
		})
		f := fn("f")
		f.Limits.MaxInstances = 1
		go r.run(t.Context(), f, `1`)
		time.Sleep(100 * time.Millisecond)
		served := make(chan error)
		go func() {
			_, err := r.run(t.Context(), f, `2`) // gets an instance that is started after the drain
			served <- err
		}()
		time.Sleep(100 * time.Millisecond)
		r.Drain("f")
		r.w.on(slow(0))
		if err := <-served; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := r.w.living(); n != 0 {
			t.Errorf("%d alive", n)
		}
	})
}

func TestRefuse(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		r.w.on(slow(20 * time.Second))
		f := fn("f")
		f.Limits.MaxInstances = 1
		var group sync.WaitGroup
		group.Go(func() { r.run(t.Context(), f, `1`) })
		time.Sleep(time.Second)
		for range maxWaiting {
			group.Go(func() {
				began := time.Now()
				_, err := r.run(t.Context(), f, `1`)
				if e := fault(t, err, core.KindExhausted, core.FaultCaller); !strings.Contains(e.Message, "max_instances of f") || !e.Retryable || time.Since(began) != maxWait {
					t.Errorf("%v after %v", e, time.Since(began))
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		_, err := r.run(t.Context(), f, `1`)
		fault(t, err, core.KindExhausted, core.FaultCaller)
		if time.Since(began) != 0 {
			t.Error("the one too many waited")
		}
		group.Wait()
	})
}

func TestWorkerLimit(t *testing.T) {
	within(t, 2, func(t *testing.T, r *rig) {
		r.run(t.Context(), fn("a"), `1`)
		r.run(t.Context(), fn("b"), `1`)
		if res, err := r.run(t.Context(), fn("c"), `1`); err != nil || res.Phases.Queue > time.Second {
			t.Errorf("an idle instance of another function does not make room: %+v %v", res, err)
		}
		r.w.on(slow(20 * time.Second))
		for _, name := range []string{"d", "e"} {
			go r.run(t.Context(), fn(name), `1`)
		}
		time.Sleep(time.Second)
		_, err := r.run(t.Context(), fn("g"), `1`)
		if e := fault(t, err, core.KindExhausted, core.FaultCaller); !strings.Contains(e.Message, "this worker") {
			t.Error(e)
		}
		if res, err := r.run(t.Context(), fn("h"), `1`); err != nil || res.Phases.Queue < 8*time.Second {
			t.Errorf("%+v %v", res, err)
		}
		if r.w.highest() != 2 {
			t.Errorf("%d alive", r.w.highest())
		}
	})
}

// A function whose requests never end leaves another function its share of the worker's instances.
func TestWorkerLimitIsShared(t *testing.T) {
	within(t, 4, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		burst := fn("burst")
		var group sync.WaitGroup
		for range 36 {
			group.Go(func() {
				if _, err := r.run(t.Context(), burst, `1`); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		for i := range 4 {
			if res, err := r.run(t.Context(), fn(fmt.Sprint("light", i%2)), `1`); err != nil || res.Phases.Queue > 1100*time.Millisecond {
				t.Errorf("%+v %v", res, err)
			}
		}
		group.Wait()
	})
}

// A refusal says how long the queue will take.
func TestRetryAfter(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		r.w.on(slow(2 * time.Second))
		f := fn("f")
		f.Limits.MaxInstances = 4
		r.run(t.Context(), f, `1`)
		var group sync.WaitGroup
		for range 4 + maxWaiting {
			group.Go(func() { r.run(t.Context(), f, `1`) })
		}
		synctest.Wait()
		_, err := r.run(t.Context(), f, `1`)
		if e := fault(t, err, core.KindExhausted, core.FaultCaller); e.RetryAfter() != 2*time.Second*(maxWaiting/4+1) {
			t.Errorf("again after %v", e.RetryAfter())
		}
		group.Wait()
	})
}

func TestMemoryPressureWaitsForTheOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(newWorld(), 99, 20<<20) // a root and one instance, before they are measured
		defer r.close(t)
		r.w.on(slow(500 * time.Millisecond))
		go r.run(t.Context(), fn("f"), `1`)
		time.Sleep(100 * time.Millisecond)
		if res, err := r.run(t.Context(), fn("f"), `1`); err != nil || res.Start != core.StartWarm {
			t.Errorf("%+v %v", res, err)
		}
		go r.run(t.Context(), fn("f"), `1`)
		time.Sleep(100 * time.Millisecond)
		_, err := r.run(t.Context(), fn("g"), `1`)
		fault(t, err, core.KindExhausted, core.FaultWorker)
	})
}

func TestIdleTimeout(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		f := fn("f")
		f.Limits.IdleTimeout = time.Minute
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { r.run(t.Context(), f, `1`) })
		}
		group.Wait()
		for range 10 { // one is kept busy, the other is not
			time.Sleep(10 * time.Second)
			r.run(t.Context(), f, `1`)
		}
		synctest.Wait()
		if r.w.living() != 1 {
			t.Errorf("%d alive", r.w.living())
		}
		time.Sleep(61 * time.Second)
		if r.w.living() != 0 {
			t.Errorf("%d alive after all", r.w.living())
		}
	})
}

func TestHandlerThatCannotBeImported(t *testing.T) {
	within(t, 2, func(t *testing.T, r *rig) {
		r.w.fails = core.Errorf(core.KindException, core.FaultHandler, "ImportError")
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				_, err := r.run(t.Context(), fn("f"), `1`)
				fault(t, err, core.KindException, core.FaultHandler)
			})
		}
		group.Wait()
		r.w.fails = nil
		if _, err := r.run(t.Context(), fn("f"), `1`); err != nil {
			t.Error(err)
		}
	})
}

func TestDrain(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		old, next := fn("f"), fn("f")
		next.Version = 2
		busy := make(chan core.Result)
		go func() {
			res, err := r.run(t.Context(), old, `1`)
			if err != nil {
				t.Error(err)
			}
			busy <- res
		}()
		time.Sleep(500 * time.Millisecond)
		fresh, _ := r.run(t.Context(), next, `1`)
		r.Drain("f", 2)
		if res := <-busy; string(res.Body) != "1" {
			t.Errorf("%+v", res)
		}
		synctest.Wait()
		if res, _ := r.run(t.Context(), next, `1`); res.Node != fresh.Node || r.w.living() != 1 {
			t.Errorf("%+v, %d alive", res, r.w.living())
		}
		r.Drain("f")
		synctest.Wait()
		if r.w.living() != 0 {
			t.Errorf("%d alive", r.w.living())
		}
	})
}

// Several versions of a function may be kept at once.
func TestDrainKeepsVersions(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		nodes := map[int]core.NodeID{}
		run := func(version int) core.NodeID {
			f := fn("f")
			f.Version = version
			res, err := r.run(t.Context(), f, `1`)
			if err != nil {
				t.Error(err)
			}
			return res.Node
		}
		for version := 1; version <= 3; version++ {
			nodes[version] = run(version)
		}
		r.Drain("f", 1, 3)
		synctest.Wait()
		if living := r.w.living(); living != 2 {
			t.Errorf("%d of three versions are alive, two are to be kept", living)
		}
		for _, version := range []int{1, 3} {
			if node := run(version); node != nodes[version] {
				t.Errorf("version %d was served by %s and then by %s", version, nodes[version], node)
			}
		}
	})
}

func TestCloseLetsEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(newWorld(), 1, plenty)
		r.w.on(slow(time.Second))
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := r.run(t.Context(), fn("f"), `1`); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(100 * time.Millisecond)
		group.Go(func() {
			_, err := r.run(t.Context(), fn("f"), `1`)
			fault(t, err, core.KindUnavailable, core.FaultWorker)
		})
		time.Sleep(100 * time.Millisecond)
		r.close(t)
		group.Wait()
		_, err := r.run(t.Context(), fn("f"), `1`)
		fault(t, err, core.KindUnavailable, core.FaultWorker)
	})
}

func TestManyAtOnce(t *testing.T) {
	within(t, 7, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Millisecond))
		var group sync.WaitGroup
		for i := range 60 {
			group.Go(func() {
				f := fn(fmt.Sprint("f", i%4))
				f.Limits.MaxInstances = 3
				f.Limits.Reuse = i%4 != 0
				for n := range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i+n)%50)*time.Millisecond)
					event := fmt.Sprint(i*1000 + n)
					res, err := r.run(ctx, f, event)
					if err != nil && !core.IsKind(err, core.KindCanceled) || err == nil && string(res.Body) != event {
						t.Errorf("%q for %q: %v", res.Body, event, err)
					}
					if ph := res.Phases; err == nil && ph.Queue+ph.Sandbox+ph.Preload+ph.Fork+ph.Enter+ph.Import+ph.Handler > ph.Total {
						t.Errorf("phases exceed the total: %+v", ph)
					}
					cancel()
				}
			})
		}
		group.Wait()
		if r.w.highest() > 7 {
			t.Errorf("%d alive", r.w.highest())
		}
		time.Sleep(time.Second)
	})
}

// An event whose version was replaced or removed before it reached the scheduler does not run, and no
// instance waits for the next one.
func TestReplaced(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		f := fn("f")
		r.w.removed.Store(1)
		r.Drain("f")
		if _, err := r.run(t.Context(), f, `1`); !errors.Is(err, ErrReplaced) {
			t.Errorf("%v", err)
		}
		r.Correct(f)
		if len(r.pools) != 0 || r.w.living() != 0 {
			t.Errorf("%d pools, %d instances", len(r.pools), r.w.living())
		}
		next := fn("f")
		next.Version = 2
		if _, err := r.run(t.Context(), next, `1`); err != nil {
			t.Error(err)
		}
	})
}
