package tree

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
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
		return core.Stopping()
	}
	root, found := t.roots[key]
	if !found {
		root = &rootStart{done: make(chan struct{})}
		t.roots[key] = root
		phase = &phases.Preload
		t.working.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), plan.RootTimeout)
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
	n, err := t.joinZygote(live, plan.Shape{Runtime: live.Runtime.ID}, plan.Necessary())
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
func (t *Tree) joinZygote(live Live, s plan.Shape, worth float64) (*Node, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, core.Stopping()
	}
	var parent plan.Zygote
	if len(s.Modules) > 0 {
		var found bool
		if parent, found = plan.Parent(t.zygotesOf(live.Generation), s, t.facts); !found {
			t.mu.Unlock()
			return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "no zygote of %s can be forked now", s.Runtime)
		}
	}
	var measured int64
	if d := t.demands[s.Key()]; d != nil {
		measured = d.Bytes
	}
	bytes := t.facts.Weights.ZygoteBytes(s, parent, measured)
	n := t.add(core.RoleZygote, s, t.nodes[parent.ID], live.Generation, bytes)
	ends, enough := t.reclaim(worth / float64(bytes))
	if enough {
		n.rebuilt = t.built[s.Key()]
		t.built[s.Key()]++
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
	return core.SandboxConfig{ID: n.id, Role: core.RoleZygote, Runtime: live.Runtime, Packages: n.shape.Set}
}

// settle makes a zygote ready to fork. The uses that it was made for count as its own.
func (t *Tree) settle(n *Node, began time.Time, uses float64) error {
	took := time.Since(began)
	t.mu.Lock()
	n.saves = took
	t.mu.Unlock()
	n.mu.Lock()
	n.use = plan.Use{Weight: max(uses, 1), Last: time.Now()}
	n.mu.Unlock()
	if _, ok := n.apply(made); !ok {
		n.Kill()
		return lostError{core.Errorf(core.KindUnavailable, core.FaultDriver, "%s ended as soon as it was made", n.id)}
	}
	wake(t.born)
	t.mu.Lock()
	t.announce()
	t.mu.Unlock()
	t.config.Log.Info("preload", "rt", n.shape.Runtime, "node", n.id, "modules", n.shape.Modules, "took", took)
	return nil
}

// demand remembers use of a zygote with all of want, and that it was missed, by what counts as so many requests: then it wakes the planner. The
// caller has the lock.
func (t *Tree) demand(want plan.Shape, missed int, by plan.Use) {
	if t.demands.Add(want, missed, by, time.Now()) {
		wake(t.missed)
	}
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
		var round plan.Round
		for t.ctx.Err() == nil && !round.Over() {
			want, found := t.wanted(&round)
			if !found {
				break
			}
			err := t.grow(want)
			if err == nil && t.settled(want.Shape) {
				continue
			}
			why := t.fullOfBetter() // or it had to go at once, for it was larger than it was taken to be
			if err != nil && !core.IsKind(err, core.KindExhausted) {
				why = err.Error()
			}
			round.Leave(want.Shape, why, time.Now())
		}
		t.mu.Lock()
		t.planning, t.short = false, round.Short()
		t.rounds++
		round.Explain(t.demands)
		t.announce()
		t.mu.Unlock()
	}
}

// wanted asks the policy what is missing, besides what the round has left.
func (t *Tree) wanted(round *plan.Round) (want plan.Candidate, found bool) {
	now := time.Now()
	t.mu.Lock()
	zygotes := t.zygotes()
	t.blocks.Forget(now)
	t.demands.Met(zygotes, t.facts)
	demands, blocks, facts := t.demands.Heaviest(now), round.Blocks(t.blocks), t.facts.Clone()
	t.mu.Unlock()
	return plan.Wanted(demands, zygotes, blocks, facts, now)
}

// grow makes a zygote, in a turn like a start that has to import as much. One that is due is as plan.Necessary() as the start that follows. An error is for want of memory, a driver or a sandbox; packages that cannot
// be imported are a block.
func (t *Tree) grow(want plan.Candidate) error {
	ctx, cancel := context.WithTimeout(t.ctx, plan.PreloadTimeout)
	defer cancel()
	began := time.Now()
	live, err := t.drivers.Driver(ctx, want.Runtime)
	if err == nil {
		err = t.needRoot(ctx, live)
	}
	if err != nil {
		return err
	}
	worth := want.Worth
	if want.Due {
		worth = plan.Necessary()
	}
	n, err := t.joinZygote(live, want.Shape, worth)
	if err != nil {
		return err
	}
	done, err := t.takeTurn(ctx, n, &core.Phases{})
	if err != nil {
		return err
	}
	defer done()
	if err := t.spawn(ctx, live, n, zygoteConfig(n, live), &core.Phases{}); err != nil {
		t.config.Log.Warn("preload", "rt", want.Runtime, "modules", want.Modules, "err", err)
		return err
	}
	t.importModules(ctx, live, n, began, want.Uses)
	return nil
}

// importModules makes a parked process a zygote. When that fails for a reason in the packages it remembers the reason.
func (t *Tree) importModules(ctx context.Context, live Live, n *Node, began time.Time, uses float64) {
	load := core.Load{Packages: directories(n.shape.Set), Modules: plan.Missing(n.shape.Modules, n.parent.shape.Modules)}
	report, err := live.Driver.Import(ctx, n.id, load)
	switch {
	case err == nil && report.Threads > 1:
		n.Kill()
		t.Learn(n.shape.Runtime, report.Modules)
		reason := fmt.Sprintf("importing %s leaves %d threads running", strings.Join(load.Modules, ", "), report.Threads)
		t.block(func() { t.blocks.Forbid(n.shape, reason) })
		t.config.Log.Info("evict", "rt", n.shape.Runtime, "node", n.id, "err", reason)
		return
	case err == nil:
		t.Learn(n.shape.Runtime, report.Modules)
		if t.settle(n, began, uses) == nil { // what has ended already is wanted again
			t.measure(n) // before the next one is made: there may be no memory for it
		}
		return
	}
	n.Kill()
	if t.ctx.Err() == nil {
		t.block(func() { t.blocks.Postpone(n.shape, err.Error(), time.Now()) })
		t.config.Log.Warn("import", "rt", n.shape.Runtime, "node", n.id, "modules", load.Modules, "err", err)
	}
}

// block remembers that a zygote cannot be made.
func (t *Tree) block(remember func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	remember()
	t.announce()
}
