package tree

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// If only requests that miss a zygote had it made, the first starts of a function would be cold. So a deploy
// counts as that many requests, and so does a use by an earlier worker. The planner then makes the zygote by
// the same policy and within the same budget.

// Preload has the zygote made that the function's instances are best forked from, unless there is one. It
// waits until the planner has made it, or has nothing more to make, or the context ends. Unready reports the
// outcome.
func (t *Tree) Preload(ctx context.Context, fn *core.Function) {
	live, err := t.drivers.Driver(ctx, fn.Runtime)
	if err != nil || t.needRoot(ctx, live) != nil {
		return
	}
	want := plan.ShapeOf(fn)
	t.mu.Lock()
	once := plan.Once(time.Now())
	t.uses[fn.Name] = t.uses[fn.Name].Plus(once)
	missed, enough := 0, t.rounds+1
	if !t.whole(want) {
		missed = plan.EnoughMisses
	}
	if t.planning { // that round may have read the demands already
		enough++
	}
	t.addDemand(want, missed, once)
	if d := t.demands[want.Key()]; d != nil {
		d.Due++
		defer func() { t.mu.Lock(); d.Due--; t.mu.Unlock() }()
	}
	for !t.closed && !t.whole(want) && !t.forbidden(want) && t.rounds < enough {
		grown := t.grown
		t.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
	}
	t.mu.Unlock()
}

// Unready says why no zygote has imported everything that the function imports. It returns "" when one has.
func (t *Tree) Unready(fn *core.Function) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	want := plan.ShapeOf(fn)
	apart := t.apart(fn)
	switch modules := slices.Sorted(maps.Keys(apart)); {
	case len(modules) > 0:
		return modules[0] + ": " + apart[modules[0]]
	case t.whole(want):
		return ""
	case t.config.RootsOnly && len(want.Modules) > 0:
		return "this worker has root zygotes only"
	case len(t.zygotes()) == 0:
		return fmt.Sprintf("%s has no zygote yet", fn.Runtime)
	}
	if blocks := t.blocks.Forbidding(want, time.Now()); len(blocks) > 0 {
		return blocks[0].Reason
	}
	if d := t.demands[want.Key()]; d != nil && d.Why != "" { // the outcome of the last try
		return d.Why
	}
	if !plan.Room(t.bytes, t.config.Budget) {
		return t.noMemory()
	}
	return "its zygote is not made yet"
}

// decided says whether a zygote has imported everything, or none may.
func (t *Tree) decided(want plan.Shape) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.whole(want) || t.forbidden(want)
}

// whole says whether a zygote has imported everything. The caller holds mu.
func (t *Tree) whole(want plan.Shape) bool { return plan.Whole(t.zygotes(), want, t.facts) }

// needRoot makes a root zygote for a driver that has none.
func (t *Tree) needRoot(ctx context.Context, live LiveDriver) error {
	t.mu.Lock()
	_, found := plan.Nearest(t.zygotesOf(live.Generation), plan.Shape{Runtime: live.Runtime.ID}, t.facts)
	t.mu.Unlock()
	if found {
		return nil
	}
	return t.awaitRoot(ctx, live, &core.Phases{})
}

// Drop ends the zygotes that served functions as they were before and can serve none of the functions now,
// and forgets the demands for them. Instances live on. A zygote that a deploy under way has had made may be
// among them. It returns the zygotes; they end soon, or with their last instance.
func (t *Tree) Drop(before, now []core.Function) (dropped []*Node) {
	t.mu.Lock()
	asks := t.facts.Asks
	t.mu.Unlock()
	useless := func(s plan.Shape) bool {
		serves := func(fn core.Function) bool { return asks.MayBecome(s, plan.ShapeOf(&fn)) }
		return len(s.Set) > 0 && slices.ContainsFunc(before, serves) && !slices.ContainsFunc(now, serves)
	}
	var ends []*Node
	t.mu.Lock()
	maps.DeleteFunc(t.demands, func(_ string, d *plan.Demand) bool { return d.Due == 0 && useless(d.Shape) })
	for _, n := range t.nodes {
		if n.role != core.RoleZygote || !useless(n.shape) {
			continue
		}
		if _, ok := n.apply(retire); ok {
			dropped = append(dropped, n)
			if len(n.children) == 0 {
				ends = append(ends, n)
			}
		}
	}
	t.mu.Unlock()
	killAll(ends)
	return dropped
}

// Used says how much a function was used by an earlier worker.
type Used struct {
	Function core.Function
	Use      core.Use
}

// Resume has the zygotes of used functions made in the background, the most valuable first. The time since
// the last use of any of them does not count. It returns at once.
func (t *Tree) Resume(used []Used) {
	t.working.Go(func() {
		var runtimes []core.RuntimeID
		var last time.Time
		for _, u := range used {
			if !slices.Contains(runtimes, u.Function.Runtime) {
				runtimes = append(runtimes, u.Function.Runtime)
			}
			if u.Use.Last.After(last) {
				last = u.Use.Last
			}
		}
		for _, rt := range runtimes {
			if live, err := t.drivers.Driver(t.ctx, rt); err == nil {
				_ = t.needRoot(t.ctx, live) // the next request reports the error
			}
		}
		now := time.Now()
		t.mu.Lock()
		defer t.mu.Unlock()
		for i := range used {
			u := &used[i]
			before := plan.Use{Weight: plan.Use(u.Use).At(last), Last: now}
			t.uses[u.Function.Name] = t.uses[u.Function.Name].Plus(before)
			if want := plan.ShapeOf(&u.Function); !t.whole(want) {
				t.addDemand(want, plan.EnoughMisses, before)
			}
		}
	})
}

// Uses returns how much each deployed function has been used, and forgets the other functions.
func (t *Tree) Uses(deployed func(name string) bool) map[string]core.Use {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.uses, func(name string, _ plan.Use) bool { return !deployed(name) })
	uses := maps.Clone(t.uses)
	for _, n := range t.nodes {
		if n.fn == nil {
			continue
		}
		if before, known := uses[n.fn.Name]; known {
			n.mu.Lock()
			used := n.use
			n.mu.Unlock()
			uses[n.fn.Name] = before.Plus(used)
		}
	}
	all := make(map[string]core.Use, len(uses))
	for name, u := range uses {
		all[name] = core.Use(u)
	}
	return all
}
