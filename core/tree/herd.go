package tree

import (
	"context"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Many requests for a function may come at once, before any zygote has imported what it needs. Were each to import it in an
// instance of its own, they would starve one another and the zygote that is to be made. So as many do as it takes for the policy to
// want the zygote; the others wait for that and are forked from it.

// awaitZygote waits while a zygote that would spare the function its imports may still come, unless few others are importing
// the same. The caller calls leave when its start has ended.
func (t *Tree) awaitZygote(ctx context.Context, live Live, fn *core.Function, phases *core.Phases) (leave func()) {
	want := plan.ShapeOf(fn)
	if len(want.Modules) == 0 {
		return func() {}
	}
	key, began := want.Key(), time.Now()
	timer := time.NewTimer(plan.HerdWait)
	defer timer.Stop()
	for late := false; ; {
		t.mu.Lock()
		if plan.Whole(t.zygotesFor(live.Generation, fn, want), want, t.facts) || ctx.Err() != nil {
			t.mu.Unlock()
			phases.Queue += time.Since(began)
			return func() {}
		}
		if late || t.closed || plan.Cold(t.cold[key]) || t.forbidden(want) {
			t.cold[key]++
			t.mu.Unlock()
			phases.Queue += time.Since(began)
			return func() { t.leaveHerd(key) }
		}
		grown := t.grown
		t.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
		case <-timer.C:
			late = true
		}
	}
}

func (t *Tree) leaveHerd(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cold[key]--; t.cold[key] == 0 {
		delete(t.cold, key)
	}
	t.announce()
}

// announce tells everybody in a herd to look again. The caller has the lock.
func (t *Tree) announce() {
	close(t.grown)
	t.grown = make(chan struct{})
}

// forbidden says whether a zygote of that shape cannot be made now. The caller has the lock.
func (t *Tree) forbidden(want plan.Shape) bool {
	return len(t.blocks.Forbidding(want, time.Now())) > 0
}

// takeTurn waits until the process of a node may be made, or may import when it is there. The caller calls done when that is over. Without a
// turn nothing is left of the node.
func (t *Tree) takeTurn(ctx context.Context, n *Node, phases *core.Phases) (done func(), err error) {
	function, slow := string(n.shape.Runtime), true // as zygotes have it
	if n.fn != nil {
		t.mu.Lock()
		function, slow = n.fn.Name, t.slow[version{n.fn.Name, n.fn.Version}] || len(plan.Missing(n.fn.Imports, n.parent.shape.Modules)) > 0
		t.mu.Unlock()
	}
	began := time.Now()
	done, err = t.turns.take(ctx, function, slow)
	phases.Queue += time.Since(began)
	if err != nil {
		t.abandon(n)
	}
	return done, err
}

// imported notes whether a function's own files take so long to import that its starts are slow work.
func (t *Tree) imported(fn *core.Function, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if plan.Slow(took) {
		t.slow[version{fn.Name, fn.Version}] = true
	} else {
		delete(t.slow, version{fn.Name, fn.Version})
	}
}

// abandon ends a node, whether it has a process or not.
func (t *Tree) abandon(n *Node) {
	if n.place() == nil {
		t.remove(n)
	} else {
		n.Kill()
	}
}
