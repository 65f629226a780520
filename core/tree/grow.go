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

// rootStart is a root zygote that is being made. Everybody who needs it waits for the same one.
type rootStart struct {
	done chan struct{}
	err  error // valid after done
}

// awaitRoot waits for a root zygote and makes it unless somebody does already. Making it goes on when the
// context ends.
func (t *Tree) awaitRoot(ctx context.Context, live LiveDriver, phases *core.Phases) error {
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

func (t *Tree) makeRoot(ctx context.Context, live LiveDriver) error {
	began := time.Now()
	n, err := t.joinZygote(live, plan.Shape{Runtime: live.Runtime.ID}, plan.Necessary())
	if err != nil {
		return err
	}
	if err := t.spawnInTurn(ctx, live, n, zygoteConfig(n, live)); err != nil {
		return err
	}
	return t.makeReady(n, began, 0)
}

// joinZygote makes the node of a zygote under its nearest one. It fails when memory does not suffice without
// evicting something of more value. A zygote without modules is a root zygote.
func (t *Tree) joinZygote(live LiveDriver, s plan.Shape, benefit float64) (*Node, error) {
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
	n.limit = t.facts.ZygoteLimit(s)
	ends, enough := t.afford(n, benefit/float64(bytes))
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

func zygoteConfig(n *Node, live LiveDriver) core.SandboxConfig {
	config := core.SandboxConfig{ID: n.id, Role: core.RoleZygote, Forks: live.Forks, Runtime: live.Runtime, Packages: n.shape.Set,
		Namespace: n.shape.Namespace, Limits: core.Limits{Memory: plan.WithChildren(n.limit, 0)}}
	if n.parent != nil {
		config.Parent = n.parent.id
	}
	return config
}

// makeReady lets a zygote fork. The uses that it was made for count as its own.
func (t *Tree) makeReady(n *Node, began time.Time, uses float64) error {
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
	wake(t.resample)
	t.update(func() {})
	t.config.Log.Info("preload", "rt", n.shape.Runtime, "node", n.id, "modules", n.shape.Modules, "took", took)
	return nil
}

// addDemand adds to the demand for a zygote with all of want, and wakes the planner if requests missed
// one. The caller holds mu.
func (t *Tree) addDemand(want plan.Shape, missed int, by plan.Use) {
	if !t.config.RootsOnly && t.demands.Add(want, missed, by, time.Now()) {
		wake(t.replan)
	}
}

// planZygotes makes missing zygotes, one at a time and off every request's path, for as long as the policy
// wants one.
func (t *Tree) planZygotes() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.replan:
		}
		t.mu.Lock()
		t.planning, t.unfinished = true, false
		t.mu.Unlock()
		var round plan.Round
		for t.ctx.Err() == nil && !round.Over() {
			want, found := t.nextWanted(&round)
			if !found {
				break
			}
			err := t.grow(want)
			if err == nil && t.decided(want.Shape) {
				round.Made(want.Shape, time.Now())
				continue
			}
			why := t.noMemory() // perhaps it was evicted at once, because it was larger than expected
			if err != nil && !core.IsKind(err, core.KindExhausted) {
				why = err.Error()
			}
			round.Leave(want.Shape, why, time.Now())
		}
		t.update(func() {
			t.planning, t.unfinished = false, round.Unfinished()
			t.rounds++
			round.Explain(t.demands)
		})
	}
}

// nextWanted asks the policy which zygote to make next: one that is missed, or else one of the goal. When
// memory is full, misses are left to the goal, unless a deploy or a herd waits. The round has left some
// zygotes that it does not try again.
func (t *Tree) nextWanted(round *plan.Round) (want plan.Candidate, found bool) {
	now := time.Now()
	t.mu.Lock()
	zygotes := t.zygotes()
	t.blocks.Forget(now)
	t.demands.Met(zygotes, t.facts)
	room := plan.Room(t.bytes, t.config.Budget)
	may := func(key string, d *plan.Demand) bool { return room || d.Due > 0 || t.herds[key] > 0 }
	demands, later := t.demands.Heaviest(now, may)
	if later {
		round.Later()
	}
	blocks := round.Blocks(t.blocks)
	var facts plan.Facts
	if len(demands) > 0 {
		facts = t.facts.Clone()
	}
	t.mu.Unlock()
	if want, found = plan.Wanted(demands, zygotes, blocks, facts, now); found {
		return want, true
	}
	return t.nextOfGoal(zygotes, blocks, now)
}

// grow makes a zygote. It takes a turn, like a start that has to import as much. A zygote that is due is as
// necessary as the start that follows. An error means that memory, a driver or a sandbox is missing; packages
// that cannot be imported become a block.
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
	benefit := want.Benefit
	if want.Due {
		benefit = plan.Necessary()
	}
	n, err := t.joinZygote(live, want.Shape, benefit)
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

// importModules turns a parked process into a zygote. If that fails because of the packages, it blocks the
// zygote with the reason.
func (t *Tree) importModules(ctx context.Context, live LiveDriver, n *Node, began time.Time, uses float64) {
	load := core.Load{Packages: directories(n.shape.Set), Modules: plan.Missing(n.shape.Modules, n.parent.shape.Modules)}
	report, err := live.Driver.Import(ctx, n.id, load)
	switch {
	case err == nil && report.Threads > 1:
		n.Kill()
		t.Learn(n.shape.Runtime, report.Modules)
		reason := fmt.Sprintf("importing %s leaves %d threads running", strings.Join(load.Modules, ", "), report.Threads)
		t.update(func() { t.blocks.Forbid(n.shape, reason) })
		t.config.Log.Info("evict", "rt", n.shape.Runtime, "node", n.id, "err", reason)
		return
	case err == nil:
		t.Learn(n.shape.Runtime, report.Modules)
		if t.makeReady(n, began, uses) == nil { // a zygote that has ended already is wanted again
			t.measure(n) // now, because there may be no memory for the next one
		}
		return
	}
	n.Kill()
	if t.ctx.Err() == nil {
		t.update(func() { t.blocks.Postpone(n.shape, err.Error(), time.Now()) })
		t.config.Log.Warn("import", "rt", n.shape.Runtime, "node", n.id, "modules", load.Modules, "err", err)
	}
}
