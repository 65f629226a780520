package tree

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// A child made ahead of the next start is forked from the function's nearest zygote, inside its sandbox, and parked. It has not run
// any of the function's code.

// aheadKey names a version of a function, and the modules that a zygote should have imported for it: what was made ahead when others were
// known is not taken any more.
type aheadKey struct {
	name    string
	version int
	modules string
}

func keyOf(fn *core.Function) aheadKey {
	return aheadKey{fn.Name, fn.Version, strings.Join(plan.ShapeOf(fn).Modules, "\n")}
}

// ahead is what a function has ahead. It is there from its first start on, for plan.AheadLife after the last one.
type ahead struct {
	last    time.Time     // start
	done    chan struct{} // not nil while a child is being made; closed when it is there or has failed
	claimed bool          // by a start that waits for the child being made
	node    *Node         // parked, or nil
}

// takeAhead returns the child of the function that was made ahead, to be imported into by the caller, or nil when there is
// none. No new one could be better, for its zygote had imported everything, and whether its driver lives does not matter any
// more. A child that is just being made is waited for by one start; others fork their own.
func (t *Tree) takeAhead(ctx context.Context, fn *core.Function, phases *core.Phases) *Node {
	key := keyOf(fn)
	t.mu.Lock()
	a := t.ahead[key]
	if a == nil || a.claimed {
		t.mu.Unlock()
		return nil
	}
	if a.done != nil {
		done, began := a.done, time.Now()
		a.claimed = true
		t.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
		}
		phases.Queue += time.Since(began)
		t.mu.Lock()
		a.claimed = false
		// Starts come faster than children are made: the next one is made beside this one's event, not after it.
		defer t.forkAhead(fn)
	}
	n := a.node
	a.node = nil
	t.mu.Unlock()
	if n != nil {
		if _, ok := n.apply(unpark); ok {
			return n
		}
	}
	return nil // what is parked no more is ending
}

// forkAheadAfter makes a child ahead of the next start of the function that n was started for.
func (t *Tree) forkAheadAfter(n *Node) {
	fork := sync.OnceFunc(func() { t.forkAhead(n.fn) })
	n.mu.Lock()
	n.freed = fork
	n.mu.Unlock()
	time.AfterFunc(plan.AheadDelay, fork)
}

// forkAhead remembers a start and makes a child ahead of the next one, off the request's path. A version that is not deployed any more
// has no next one.
func (t *Tree) forkAhead(fn *core.Function) {
	if !t.config.Deployed(fn.Name, fn.Version) {
		return
	}
	key, now := keyOf(fn), time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.ahead[key]
	if a == nil {
		if plan.Ahead(len(t.ahead)) && !t.closed {
			t.ahead[key] = &ahead{last: now}
			t.forget(key, now)
		}
		return
	}
	a.last = now
	if a.node != nil || a.done != nil || t.closed {
		return
	}
	a.done = make(chan struct{})
	t.working.Go(func() {
		n := t.parkedChild(fn)
		t.mu.Lock()
		a.node = n
		close(a.done)
		a.done = nil
		stale := t.ahead[key] != a
		t.mu.Unlock()
		if stale && n != nil {
			n.Kill()
		}
	})
}

// parkedChild forks a child into its sandbox. It returns nil when that fails, or needs memory that something else has: the next
// start then does without, and shows why.
func (t *Tree) parkedChild(fn *core.Function) *Node {
	ctx, cancel := context.WithTimeout(t.ctx, plan.ForkTimeout)
	defer cancel()
	live, err := t.drivers.Driver(ctx, fn.Runtime)
	if err != nil {
		return nil
	}
	n, whole, err := t.joinNow(live, fn, 0)
	if err != nil || n == nil {
		return nil
	}
	if !whole {
		t.remove(n)
		return nil
	}
	if err := t.spawnInTurn(ctx, live, n, instanceConfig(n, live)); err != nil {
		return nil
	}
	// Asked when the child is parked: Evict, which follows when the version is replaced, finds it from then on.
	if _, ok := n.apply(park); !ok || !t.config.Deployed(fn.Name, fn.Version) {
		n.Kill()
		return nil
	}
	return n
}

// forget drops what a function has ahead when it has not been started for plan.AheadLife. The caller has the lock.
func (t *Tree) forget(key aheadKey, last time.Time) {
	time.AfterFunc(time.Until(last.Add(plan.AheadLife)), func() {
		t.mu.Lock()
		a := t.ahead[key]
		if a.last != last && !t.closed {
			t.forget(key, a.last)
			t.mu.Unlock()
			return
		}
		delete(t.ahead, key)
		n := a.node
		t.mu.Unlock()
		if n != nil {
			n.Evict()
		}
	})
}
