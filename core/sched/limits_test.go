package sched

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

func TestRefuse(t *testing.T) {
	within(t, 99, func(t *testing.T, r *rig) {
		r.w.on(slow(20 * time.Second))
		f := fn("f")
		f.Limits.MaxInstances = 1
		var group sync.WaitGroup
		group.Go(func() { r.run(t.Context(), f, `1`) })
		time.Sleep(time.Second)
		for range plan.MaxWaiting {
			if err := r.Refused(f); err != nil {
				t.Errorf("refused while fewer wait than may: %v", err)
			}
			group.Go(func() {
				began := time.Now()
				_, err := r.run(t.Context(), f, `1`)
				if e := fault(t, err, core.KindExhausted, core.FaultCaller); !strings.Contains(e.Message, "max_instances of f") || !e.Retryable || time.Since(began) != plan.MaxWait {
					t.Errorf("%v after %v", e, time.Since(began))
				}
			})
		}
		time.Sleep(time.Second)
		fault(t, r.Refused(f), core.KindExhausted, core.FaultCaller)
		if err := r.Refused(fn("other")); err != nil {
			t.Error(err)
		}
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
		for range 4 + plan.MaxWaiting {
			group.Go(func() { r.run(t.Context(), f, `1`) })
		}
		synctest.Wait()
		_, err := r.run(t.Context(), f, `1`)
		if e := fault(t, err, core.KindExhausted, core.FaultCaller); e.RetryAfter() != 2*time.Second*(plan.MaxWaiting/4+1) {
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

// withQuotas is within, with quotas of the namespace team.
func withQuotas(t *testing.T, limit int, quotas core.Quotas, test func(t *testing.T, r *rig)) {
	within(t, limit, func(t *testing.T, r *rig) {
		r.slots.quotas = func(namespace string) core.Quotas {
			if namespace == "team" {
				return quotas
			}
			return core.Quotas{}
		}
		test(t, r)
	})
}

// A namespace has no more instances than its quota, by number or by memory. Its idle ones make room for each
// other, and nobody else's do.
func TestQuotas(t *testing.T) {
	memory := core.DefaultLimits().Memory
	for name, quotas := range map[string]core.Quotas{core.QuotaInstances: {Instances: 2}, core.QuotaMemory: {Memory: 2*memory + 1}} {
		t.Run(name, func(t *testing.T) {
			withQuotas(t, 10, quotas, func(t *testing.T, r *rig) {
				r.run(t.Context(), fn("idle"), `1`)
				r.run(t.Context(), fn("a.team"), `1`)
				r.run(t.Context(), fn("b.team"), `1`)
				if res, err := r.run(t.Context(), fn("c.team"), `1`); err != nil || res.Phases.Queue > time.Second {
					t.Errorf("an idle instance of the namespace does not make room: %+v %v", res, err)
				}
				if res, err := r.run(t.Context(), fn("idle"), `1`); err != nil || res.Start != core.StartWarm {
					t.Errorf("another namespace has lost its instance: %+v %v", res, err)
				}
				r.w.on(slow(20 * time.Second))
				for _, name := range []string{"d.team", "e.team"} {
					go r.run(t.Context(), fn(name), `1`)
				}
				time.Sleep(time.Second)
				_, err := r.run(t.Context(), fn("g.team"), `1`)
				if e := fault(t, err, core.KindExhausted, core.FaultCaller); !errors.Is(e, core.Exceeded{Namespace: "team", Quota: name}) || !e.Retryable {
					t.Errorf("%+v", e)
				}
				if used := r.Used("team"); used.Instances != 2 || used.Memory != 2*memory {
					t.Errorf("%+v", used)
				}
				for range 5 {
					if res, err := r.run(t.Context(), fn("other"), `1`); err != nil || res.Phases.Queue > time.Second {
						t.Errorf("beside a namespace at its quota: %+v %v", res, err)
					}
				}
			})
		})
	}
}

// A namespace whose requests never end leaves another one its share of the worker's instances, however many
// functions it has.
func TestWorkerLimitIsSharedByNamespaces(t *testing.T) {
	within(t, 8, func(t *testing.T, r *rig) {
		r.w.on(slow(time.Second))
		var group sync.WaitGroup
		for i := range 96 {
			group.Go(func() {
				if _, err := r.run(t.Context(), fn(fmt.Sprintf("burst%d.loud", i%16)), `1`); err != nil && !core.IsKind(err, core.KindExhausted) {
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		for range 4 {
			var own sync.WaitGroup
			for i := range 4 { // half of eight
				own.Go(func() {
					if res, err := r.run(t.Context(), fn(fmt.Sprintf("light%d.quiet", i)), `1`); err != nil || res.Phases.Queue > 1100*time.Millisecond {
						t.Errorf("%+v %v", res, err)
					}
				})
			}
			own.Wait()
		}
		group.Wait()
	})
}
