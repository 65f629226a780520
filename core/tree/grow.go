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
	maxLeft    = 4                // zygotes that could not be made, before a round of the planner ends
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
	return t.settle(n, began, 0)
}

// joinZygote makes the node of a zygote under its nearest one, if memory suffices without evicting anything that is worth more for its size. One
// without modules is a root zygote.
func (t *Tree) joinZygote(live Live, s shape, worth float64) (*Node, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, closing()
	}
	var parent *Node
	if len(s.modules) > 0 {
		z, found := nearest(t.zygotes(live.Generation, maxDepth-1), s, t.costs, t.asks)
		if !found {
			t.mu.Unlock()
			return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "no zygote of %s can be forked now", s.runtime)
		}
		parent = t.nodes[z.id]
	}
	bytes := int64(assumedBytes)
	if d := t.demands[s.key()]; d != nil && d.bytes > 0 {
		bytes = d.bytes
	} else if parent != nil {
		bytes = t.weights.of(s.runtime, without(s.modules, parent.shape.modules))
	}
	n := t.add(core.RoleZygote, s, parent, live.Generation, bytes)
	ends, enough := t.reclaim(worth / float64(bytes))
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

// settle makes a zygote ready to fork. The uses that it was made for count as its own.
func (t *Tree) settle(n *Node, began time.Time, uses float64) error {
	took := time.Since(began)
	t.mu.Lock()
	n.saves = took
	t.mu.Unlock()
	n.mu.Lock()
	n.use = use{max(uses, 1), time.Now()}
	n.mu.Unlock()
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

// demand remembers use of a zygote with all of want, and that it was missed, by what counts as so many requests: then it wakes the planner. The
// caller has the lock.
func (t *Tree) demand(want shape, missed int, by use) {
	if len(want.modules) == 0 {
		return // a root zygote is all it takes
	}
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
	d.use = d.use.plus(by)
	if missed == 0 {
		d.missed = 0
		return
	}
	d.missed += missed
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
		t.mu.Lock()
		t.planning, t.short = true, false
		t.mu.Unlock()
		var left []block // that cannot be made in this round: another one may have the memory, or the driver, that it takes
		for t.ctx.Err() == nil && len(left) < maxLeft {
			want, found := t.wanted(left)
			if !found {
				break
			}
			err := t.grow(want)
			if err == nil && t.settled(want.shape) {
				continue
			}
			why := t.fullOfBetter() // or it had to go at once, for it was larger than it was taken to be
			if err != nil && !core.IsKind(err, core.KindExhausted) {
				why = err.Error()
			}
			left = append(left, block{shape: want.shape, reason: why, until: time.Now().Add(lastBackoff)})
		}
		t.mu.Lock()
		t.planning, t.short = false, len(left) > 0
		t.rounds++
		for i, b := range left {
			if d := t.demands[b.key()]; d != nil {
				d.why = b.reason
			}
			if i == maxLeft-1 { // nor what has not been tried
				for _, d := range t.demands {
					if d.missed > 0 && d.why == "" {
						d.why = b.reason
					}
				}
			}
		}
		t.announce()
		t.mu.Unlock()
	}
}

// wanted asks the policy what is missing, besides what is left.
func (t *Tree) wanted(left []block) (want candidate, found bool) {
	now := time.Now()
	t.mu.Lock()
	for key, b := range t.blocks {
		if !b.until.IsZero() && now.Sub(b.until) > lastBackoff {
			delete(t.blocks, key)
		}
	}
	for _, d := range t.demands {
		if d.missed > 0 && t.whole(d.shape) {
			d.missed, d.why = 0, ""
		}
	}
	demands, zygotes := heaviest(t.demands, now), t.zygotes(anyGeneration, maxDepth)
	blocks, costs, weights := slices.AppendSeq(slices.Clone(left), maps.Values(t.blocks)), maps.Clone(t.costs), maps.Clone(t.weights)
	asks, needs := t.asks, t.needs
	t.mu.Unlock()
	return wanted(demands, zygotes, blocks, costs, weights, asks, needs, now)
}

// grow makes a zygote, in a turn like a start that has to import as much. One that is due is as necessary as the start that follows. An error is for want of memory, a driver or a sandbox; packages that cannot
// be imported are a block.
func (t *Tree) grow(want candidate) error {
	ctx, cancel := context.WithTimeout(t.ctx, preloadTimeout)
	defer cancel()
	began := time.Now()
	live, err := t.drivers.Driver(ctx, want.runtime)
	if err == nil {
		err = t.needRoot(ctx, live)
	}
	if err != nil {
		return err
	}
	worth := want.worth
	if want.due {
		worth = necessary
	}
	n, err := t.joinZygote(live, want.shape, worth)
	if err != nil {
		return err
	}
	done, err := t.takeTurn(ctx, n, &core.Phases{})
	if err != nil {
		return err
	}
	defer done()
	if err := t.spawn(ctx, live, n, zygoteConfig(n, live), &core.Phases{}); err != nil {
		t.config.Log.Warn("preload", "rt", want.runtime, "modules", want.modules, "err", err)
		return err
	}
	t.importModules(ctx, live, n, began, want.uses)
	return nil
}

// importModules makes a parked process a zygote. When that fails for a reason in the packages it remembers the reason.
func (t *Tree) importModules(ctx context.Context, live Live, n *Node, began time.Time, uses float64) {
	load := core.Load{Packages: directories(n.shape.set), Modules: without(n.shape.modules, n.parent.shape.modules)}
	report, err := live.Driver.Import(ctx, n.id, load)
	switch {
	case err == nil && report.Threads > 1:
		n.Kill()
		t.Learn(n.shape.runtime, report.Modules)
		reason := fmt.Sprintf("importing %s leaves %d threads running", strings.Join(load.Modules, ", "), report.Threads)
		t.block(n.shape, func(b block) block { b.reason = reason; return b })
		t.config.Log.Info("evict", "rt", n.shape.runtime, "node", n.id, "err", reason)
		return
	case err == nil:
		t.Learn(n.shape.runtime, report.Modules)
		if t.settle(n, began, uses) == nil { // what has ended already is wanted again
			t.measure(n) // before the next one is made: there may be no memory for it
		}
		return
	}
	n.Kill()
	if t.ctx.Err() == nil {
		t.block(n.shape, func(b block) block { return b.again(err.Error(), time.Now()) })
		t.config.Log.Warn("import", "rt", n.shape.runtime, "node", n.id, "modules", load.Modules, "err", err)
	}
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
