package sched

import (
	"context"
	"errors"
	"fmt"
	"net"
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
