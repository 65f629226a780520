package tree

import (
	"context"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Requests for a function may come as a herd, before any zygote has imported what it needs. If every one of
// them imported for itself, they would starve each other and the zygote. So only as many import as it takes
// for the policy to want the zygote; the rest of the herd wait and are forked from it.

// awaitZygote waits while a zygote that saves the function its imports may still come. It does not wait when
// few others import the same. The caller calls leave when its start has ended.
func (t *Tree) awaitZygote(ctx context.Context, live LiveDriver, fn *core.Function, phases *core.Phases) (leave func()) {
	want := plan.ShapeOf(fn)
	if len(want.Modules) == 0 {
		return func() {}
	}
	key, began := want.Key(), time.Now()
	timer := time.NewTimer(plan.HerdWait)
	defer timer.Stop()
	for late := false; ; {
		t.mu.Lock()
		if plan.Whole(t.zygotesOf(live.Generation), want, t.facts) || ctx.Err() != nil {
			t.mu.Unlock()
			phases.Queue += time.Since(began)
			return func() {}
		}
		if late || t.closed || plan.Cold(t.cold[key]) || t.forbidden(want) {
			t.cold[key]++
			t.mu.Unlock()
			phases.Queue += time.Since(began)
			began = time.Now()
			return func() { t.leaveHerd(key, time.Since(began)) }
		}
		grown := t.grown
		if t.herds[key]++; t.herds[key] == 1 {
			wake(t.replan) // its zygote is made now, whatever memory has
		}
		t.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
		case <-timer.C:
			late = true
		}
		t.mu.Lock()
		if t.herds[key]--; t.herds[key] == 0 {
			delete(t.herds, key)
		}
		t.mu.Unlock()
	}
}

// leaveHerd has another start import for itself, when the zygote could have been made: it waits for its turn
// and imports, as the start did.
func (t *Tree) leaveHerd(key string, took time.Duration) {
	time.AfterFunc(min(2*took, plan.HerdWait), func() {
		t.update(func() {
			if t.cold[key]--; t.cold[key] == 0 {
				delete(t.cold, key)
			}
		})
	})
}

// update makes a change, and has everybody who waits for a zygote look again.
func (t *Tree) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.grown)
	t.grown = make(chan struct{})
}

// forbidden says whether there may be no zygote of that shape now, which has modules: because of a block, or
// at all. The caller holds mu.
func (t *Tree) forbidden(want plan.Shape) bool {
	return t.config.RootsOnly || len(t.blocks.Forbidding(want, time.Now())) > 0
}
