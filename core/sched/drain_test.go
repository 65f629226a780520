package sched

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

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
