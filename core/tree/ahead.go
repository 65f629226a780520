package tree

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// A child made ahead of the next start is forked from the function's nearest zygote, is inside its sandbox,
// and is parked. It has not run any of the function's code.

// aheadKey names a version of a function and the modules that its zygote should have imported. Once other
// modules are known, nobody takes a child that was made for the earlier ones.
type aheadKey struct {
	name    string
	version int
	modules string
}

func keyOf(fn *core.Function) aheadKey {
	return aheadKey{fn.Name, fn.Version, strings.Join(plan.ShapeOf(fn).Modules, "\n")}
}

// aheadChild is what a function has ahead: a child, or none yet. It is kept for plan.AheadLife after the last
// start.
type aheadChild struct {
	last    time.Time     // start of the function
	done    chan struct{} // not nil while a child is being made; closed when that has ended
	claimed bool          // by a start that waits for the child that is being made
	node    *Node         // parked, or nil
	zygote  *Node         // whose child has written to the pages; nil as long as nobody knows them
	pages   core.Pages
}

// takeAhead returns the function's child that was made ahead, or nil when there is none. The caller has it
// import the handler. A new child would be no better: the zygote of this one had imported everything, and it
// needs its driver no more. One start waits for a child that is being made; other starts fork their own.
func (t *Tree) takeAhead(ctx context.Context, fn *core.Function, phases *core.Phases) (child *Node, waited bool) {
	key := keyOf(fn)
	t.mu.Lock()
	a := t.ahead[key]
	if a == nil || a.claimed {
		t.mu.Unlock()
		return nil, false
	}
	if waited = a.done != nil; waited {
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
	}
	n := a.node
	a.node = nil
	t.mu.Unlock()
	if n != nil {
		if _, ok := n.apply(unpark); ok {
			return n, waited
		}
	}
	return nil, waited // a child that is no longer parked is ending
}

// forkAheadAfter makes a child ahead of the next start of the function that n was started for.
func (t *Tree) forkAheadAfter(n *Node) {
	fork := sync.OnceFunc(func() { t.forkAhead(n.fn) })
	n.mu.Lock()
	n.freed = func() {
		go func() {
			t.notePages(n)
			fork()
		}()
	}
	n.mu.Unlock()
	time.AfterFunc(plan.AheadDelay, fork)
}

// notePages keeps which pages an instance has written to by the end of its first event. The next child of the
// same zygote will write to these too, for it has them at the same addresses, and copies them while it is
// parked.
func (t *Tree) notePages(n *Node) {
	t.mu.Lock()
	a := t.ahead[keyOf(n.fn)]
	noted := a == nil || a.zygote == n.parent
	t.mu.Unlock()
	if noted || n.is(dead) {
		return
	}
	if pages := n.place().Written(); pages != nil {
		t.mu.Lock()
		a.zygote, a.pages = n.parent, pages
		t.mu.Unlock()
	}
}

// pagesOf returns what a child that is made ahead is to copy.
func (t *Tree) pagesOf(n *Node) core.Pages {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.ahead[keyOf(n.fn)]; a != nil && a.zygote == n.parent {
		return a.pages
	}
	return nil
}

// forkAhead remembers a start and makes a child ahead of the next one, off the request's path. A version that
// is no longer deployed has no next start.
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
			t.ahead[key] = &aheadChild{last: now}
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

// parkedChild forks a child into its sandbox. It returns nil when that fails, or when something else has the
// memory. The next start then does without a child, and reports why.
func (t *Tree) parkedChild(fn *core.Function) *Node {
	ctx, cancel := context.WithTimeout(t.ctx, plan.ForkTimeout)
	defer cancel()
	live, err := t.drivers.Driver(ctx, fn.Runtime)
	if err != nil {
		return nil
	}
	n, whole, err := t.joinNow(live, fn, false)
	if err != nil || n == nil {
		return nil
	}
	if !whole {
		t.remove(n)
		return nil
	}
	config, err := t.instanceConfig(n, live)
	if err != nil {
		return nil
	}
	config.Pages = t.pagesOf(n)
	if t.spawnInTurn(ctx, live, n, config) != nil {
		return nil
	}
	// Asked after the child is parked: when the version is replaced, Evict follows and finds a parked child.
	if _, ok := n.apply(park); !ok || !t.config.Deployed(fn.Name, fn.Version) {
		n.Kill()
		return nil
	}
	return n
}

// forget drops what a function has ahead once it has not been started for plan.AheadLife. The caller
// holds mu.
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
