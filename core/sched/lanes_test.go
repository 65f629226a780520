package sched

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

const ownLanes = 2 // of each namespace, in tests

// census counts events that instances have, by namespace.
type census struct {
	mu   sync.Mutex
	now  map[string]int
	most map[string]int
}

func (c *census) add(namespace string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[namespace] += n
	c.most[namespace] = max(c.most[namespace], c.now[namespace])
}

// counted returns a handler that takes that long, and counts its events.
func (c *census) counted(took time.Duration) func(*box, *request) {
	return func(b *box, r *request) {
		namespace := core.Namespace(b.config.Function)
		c.add(namespace, 1)
		time.Sleep(took)
		c.add(namespace, -1)
		b.answer('R', r.event)
	}
}

// crowd has so many events of a function under way at once, after each has an instance, and returns a result
// of each.
func (r *rig) crowd(t *testing.T, name string, n int) (results []core.Result, wait func()) {
	t.Helper()
	results = make([]core.Result, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			var err error
			if results[i], err = r.run(t.Context(), fn(name), `1`); err != nil {
				t.Error(err)
			}
		})
	}
	return results, group.Wait
}

// While events of two namespaces come, few of the one that sends many have an instance at work, and none of
// the other waits. One that is alone has as many at work as it sends.
func TestLanes(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		counts := &census{now: map[string]int{}, most: map[string]int{}}
		r.lanes = ownLanes // whatever machine this is
		const n = 8 * ownLanes
		r.w.on(slow(time.Second))
		_, wait := r.crowd(t, "f.loud", n) // they start
		wait()
		r.w.on(counts.counted(time.Millisecond))
		_, wait = r.crowd(t, "f.loud", n)
		wait()
		if counts.most["loud"] != n {
			t.Errorf("of %d events of the only namespace %d were at work at once", n, counts.most["loud"])
		}
		r.run(t.Context(), fn("f.quiet"), `1`)
		clear(counts.most)
		results, wait := r.crowd(t, "f.loud", n)
		synctest.Wait()
		began := time.Now()
		if res, err := r.run(t.Context(), fn("f.quiet"), `1`); err != nil || time.Since(began) != time.Millisecond || res.Phases.Queue != 0 {
			t.Errorf("an event of another namespace took %v: %+v %v", time.Since(began), res, err)
		}
		wait()
		if counts.most["loud"] != ownLanes {
			t.Errorf("beside another namespace %d events were at work at once, and there are %d lanes", counts.most["loud"], ownLanes)
		}
		if took := time.Since(began); took != 8*time.Millisecond {
			t.Errorf("%d events of 1 ms took %v in %d lanes", n, took, ownLanes)
		}
		for _, res := range results {
			if res.Phases.Handler != time.Millisecond || res.Phases.Queue+res.Phases.Handler != res.Phases.Total {
				t.Errorf("the wait for a lane is counted as %+v", res.Phases)
			}
		}
		time.Sleep(time.Second)
		clear(counts.most)
		_, wait = r.crowd(t, "f.loud", n)
		wait()
		if counts.most["loud"] != n {
			t.Errorf("a while after the other namespace's last event %d of %d were at work at once", counts.most["loud"], n)
		}
	})
}

// An event that waits for something else keeps no lane: the others begin soon.
func TestLanesComeBack(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		r.lanes = ownLanes
		r.w.on(slow(time.Second))
		_, wait := r.crowd(t, "f.loud", 4*ownLanes) // they start
		wait()
		r.w.on(slow(time.Millisecond))
		r.run(t.Context(), fn("f.quiet"), `1`)
		r.w.on(slow(time.Second))
		began := time.Now()
		_, wait = r.crowd(t, "f.loud", 4*ownLanes)
		wait()
		if took := time.Since(began); took != time.Second+3*plan.LaneLife {
			t.Errorf("%d events of 1 s took %v in %d lanes", 4*ownLanes, took, ownLanes)
		}
	})
}

// A caller that goes away while its event waits for a lane leaves an idle instance, and takes no lane from
// others.
func TestLanesOfWhoLeft(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprint("concurrency ", concurrency), func(t *testing.T) {
			within(t, 99, func(t *testing.T, r *rig) {
				r.lanes = ownLanes
				r.w.on(slow(4 * time.Millisecond))
				f := several("f.loud", concurrency)
				r.run(t.Context(), fn("f.quiet"), `1`)
				r.run(t.Context(), f, `1`)
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				_, wait := r.crowd(t, "other.loud", ownLanes)
				wait() // they have started
				_, wait = r.crowd(t, "other.loud", ownLanes)
				synctest.Wait()
				began := time.Now()
				_, err := r.run(ctx, f, `1`)
				if e := fault(t, err, core.KindCanceled, core.FaultCaller); !strings.Contains(e.Message, "went away") || time.Since(began) >= time.Millisecond*2 {
					t.Errorf("%v after %v", e, time.Since(began))
				}
				if res, err := r.run(t.Context(), f, `1`); err != nil || res.Start != core.StartWarm {
					t.Errorf("%+v %v", res, err)
				}
				wait()
				time.Sleep(time.Minute)
				if taken := r.slots.space("loud").lanes.taken; taken != 0 {
					t.Errorf("%d lanes are still taken", taken)
				}
			})
		})
	}
}
