package tree

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	maxDemands = 1024             // shapes that are remembered
	graceRoot  = 10 * time.Second // for making its sandbox, on top of preloadTimeout
)

// rootKey names a root zygote: one for each runtime and life of a driver.
type rootKey struct {
	runtime    core.RuntimeID
	generation int
}

// rootStart is a root zygote being made, for everybody who waits for it.
type rootStart struct {
	done chan struct{}
	err  error // after done
}

// awaitRoot waits for a root zygote, which it begins to make when nobody does. The making goes on when the context ends.
func (t *Tree) awaitRoot(ctx context.Context, live Live, phases *core.Phases) error {
	key := rootKey{live.Runtime.ID, live.Generation}
	began, phase := time.Now(), &phases.Queue
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return closing()
	}
	root, found := t.roots[key]
	if !found {
		root = &rootStart{done: make(chan struct{})}
		t.roots[key] = root
		phase = &phases.Preload
		t.working.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), preloadTimeout+graceRoot)
			defer cancel()
			defer context.AfterFunc(t.ctx, cancel)()
			root.err = t.makeRoot(ctx, live)
			t.mu.Lock()
			delete(t.roots, key)
			t.mu.Unlock()
			close(root.done)
		})
	}
	t.mu.Unlock()
	defer func() { *phase += time.Since(began) }()
	select {
	case <-root.done:
		return root.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *Tree) makeRoot(ctx context.Context, live Live) error {
	began := time.Now()
	n, err := t.joinZygote(live, shape{runtime: live.Runtime.ID}, necessary)
	if err != nil {
		return err
	}
	if err := t.spawnInTurn(ctx, live, n, zygoteConfig(n, live)); err != nil {
		return err
	}
	return t.settle(n, began)
}

// joinZygote makes the node of a zygote under its nearest one, if memory suffices without evicting anything worth more. One
// without modules is a root zygote.
func (t *Tree) joinZygote(live Live, s shape, worth float64) (*Node, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, closing()
	}
	var parent *Node
	if len(s.modules) > 0 {
		z, found := nearest(t.zygotes(live.Generation, maxDepth-1), s, t.costs)
		if !found {
			t.mu.Unlock()
			return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "no zygote of %s can be forked now", s.runtime)
		}
		parent = t.nodes[z.id]
	}
	n := t.add(core.RoleZygote, s, parent, live.Generation, assumedBytes)
	ends, enough := t.reclaim(worth)
	if enough {
		n.rebuilt = t.built[s.key()]
		t.built[s.key()]++
	}
	t.mu.Unlock()
	killAll(ends)
	if !enough {
		t.remove(n)
		return nil, exhausted(t.config.Budget)
	}
	return n, nil
}

func zygoteConfig(n *Node, live Live) core.SandboxConfig {
	return core.SandboxConfig{ID: n.id, Role: core.RoleZygote, Runtime: live.Runtime, Packages: n.shape.set}
}

// settle makes a zygote ready to fork.
func (t *Tree) settle(n *Node, began time.Time) error {
	took := time.Since(began)
	t.mu.Lock()
	n.saves = took
	t.mu.Unlock()
	if _, ok := n.apply(made); !ok {
		n.Kill()
		return lostError{core.Errorf(core.KindUnavailable, core.FaultDriver, "%s ended as soon as it was made", n.id)}
	}
	wake(t.born)
	t.mu.Lock()
	t.announce()
	t.mu.Unlock()
	t.config.Log.Info("preload", "rt", n.shape.runtime, "node", n.id, "modules", n.shape.modules, "took", took)
	return nil
}

// demand remembers a request and, when no zygote had all that it imports, wakes the planner. The caller has the lock.
func (t *Tree) demand(want shape, missed bool) {
	now, key := time.Now(), want.key()
	d := t.demands[key]
	if d == nil {
		if len(t.demands) >= maxDemands {
			least := slices.MinFunc(slices.Collect(maps.Keys(t.demands)), func(a, b string) int {
				return cmp.Compare(t.demands[a].use.at(now), t.demands[b].use.at(now))
			})
			delete(t.demands, least)
		}
		d = &demand{shape: want}
		t.demands[key] = d
	}
	d.use = d.use.add(now)
	d.missed++
	if !missed {
		d.missed = 0
		return
	}
	wake(t.missed)
}

// plan makes missing zygotes, one at a time and off every request's path, as long as the policy wants one.
func (t *Tree) plan() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.missed:
		}
		for t.ctx.Err() == nil {
			want, worth, found := t.wanted()
			if !found || !t.grow(want, worth) {
				break
			}
		}
	}
}

func (t *Tree) wanted() (want shape, worth float64, found bool) {
	now := time.Now()
	t.mu.Lock()
	for key, b := range t.blocks {
		if !b.until.IsZero() && now.Sub(b.until) > lastBackoff {
			delete(t.blocks, key)
		}
	}
	demands, zygotes := heaviest(t.demands, now), t.zygotes(anyGeneration, maxDepth)
	blocks, costs := slices.Collect(maps.Values(t.blocks)), maps.Clone(t.costs)
	t.mu.Unlock()
	return wanted(demands, zygotes, blocks, costs, now)
}

// grow makes a zygote. It returns false when the planner had better wait for the next request.
func (t *Tree) grow(want shape, worth float64) bool {
	ctx, cancel := context.WithTimeout(t.ctx, preloadTimeout)
	defer cancel()
	began := time.Now()
	live, err := t.drivers.Driver(ctx, want.runtime)
	if err != nil {
		return false // the next request shows why
	}
	n, err := t.joinZygote(live, want, worth/assumedBytes)
	if err != nil {
		return false // no root zygote, or no memory to spare
	}
	if err := t.spawnInTurn(ctx, live, n, zygoteConfig(n, live)); err != nil {
		t.config.Log.Warn("preload", "rt", want.runtime, "modules", want.modules, "err", err)
		return false
	}
	return t.importModules(ctx, live, n, began)
}

// importModules makes a parked process a zygote. When that fails for a reason in the packages it remembers the reason.
func (t *Tree) importModules(ctx context.Context, live Live, n *Node, began time.Time) bool {
	load := core.Load{Packages: directories(n.shape.set), Modules: without(n.shape.modules, n.parent.shape.modules)}
	report, err := live.Driver.Import(ctx, n.id, load)
	switch {
	case err == nil && report.Threads > 1:
		n.Kill()
		t.Learn(n.shape.runtime, report.Modules)
		reason := fmt.Sprintf("importing %s leaves %d threads running", strings.Join(load.Modules, ", "), report.Threads)
		t.block(n.shape, func(b block) block { b.reason = reason; return b })
		t.config.Log.Info("evict", "rt", n.shape.runtime, "node", n.id, "err", reason)
		return true
	case err == nil:
		t.Learn(n.shape.runtime, report.Modules)
		return t.settle(n, began) == nil
	}
	n.Kill()
	if t.ctx.Err() == nil {
		t.block(n.shape, func(b block) block { return b.again(err.Error(), time.Now()) })
		t.config.Log.Warn("import", "rt", n.shape.runtime, "node", n.id, "modules", load.Modules, "err", err)
	}
	return true
}

// block remembers that a zygote cannot be made.
func (t *Tree) block(s shape, change func(block) block) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := s.key()
	b := t.blocks[key]
	b.shape = s
	t.blocks[key] = change(b)
	t.announce()
}
