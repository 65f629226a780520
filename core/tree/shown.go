package tree

import (
	"context"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Whether processes of a runtime can be made is shown by those that are made for functions. When there were
// none for a while, or one has failed, whoever asks has one made, in the background: a fork of the root
// zygote that ends at once.

// Shown returns why no process of the runtime can be made, nil when one could be made lately. It does not
// wait: when it has one made, a later call has the outcome.
func (t *Tree) Shown(rt core.RuntimeID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.shown[rt]
	if last.Stale(time.Now()) && !t.showing[rt] && !t.closed {
		t.showing[rt] = true
		t.working.Go(func() { t.show(rt) })
	}
	if !known {
		return core.Errorf(core.KindUnavailable, core.FaultWorker, "no process of %s was made yet; the first is being made", rt).Again()
	}
	return last.Err
}

// show makes a process of the runtime, and notes whether it could.
func (t *Tree) show(rt core.RuntimeID) {
	ctx, cancel := context.WithTimeout(t.ctx, plan.RootTimeout)
	defer cancel()
	err := t.tryOut(ctx, rt)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.showing, rt)
	t.shown[rt] = plan.Shown{At: time.Now(), Err: err}
}

// tryOut forks the root zygote of a runtime, and ends the child.
func (t *Tree) tryOut(ctx context.Context, rt core.RuntimeID) error {
	live, err := t.drivers.Driver(ctx, rt)
	if err == nil {
		err = t.needRoot(ctx, live)
	}
	if err != nil {
		return err
	}
	bare := plan.Shape{Runtime: rt}
	t.mu.Lock()
	root, found := plan.Nearest(t.zygotesOf(live.Generation), bare, t.facts)
	if !found {
		t.mu.Unlock()
		return core.Errorf(core.KindUnavailable, core.FaultDriver, "the root zygote of %s ended as soon as it was made", rt).Again()
	}
	n := t.add(core.RoleZygote, bare, t.nodes[root.ID], live.Generation, 0)
	t.mu.Unlock()
	if err := t.spawnInTurn(ctx, live, n, zygoteConfig(n, live)); err != nil {
		return err
	}
	n.Kill()
	<-n.done
	return nil
}

// doubt has the next call of Shown make a process of the runtime, because making one has failed. The reason
// may have been the function's.
func (t *Tree) doubt(rt core.RuntimeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, known := t.shown[rt]; known {
		t.shown[rt] = plan.Shown{Err: last.Err}
	}
}

// Room says whether there is memory for one more instance, perhaps in the place of what is idle.
func (t *Tree) Room() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	short := t.bytes + plan.InstanceBytes(0, t.config.Budget) - t.config.Budget
	for _, v := range plan.Reclaim(t.leaves(), short, plan.Necessary(), time.Now()) {
		short -= t.nodes[v.ID].charged
	}
	return short <= 0
}
