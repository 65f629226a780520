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

// A function's first start would be cold, and its second, were its zygote made only when requests have missed it. So a deploy counts as that many
// requests, and so does a use before the worker was started: the planner makes what is missing, by the same policy and within the same budget.

// Preload has the zygote made that instances of the function are best forked from, unless there is one, and waits until the planner has made
// it or has nothing more to make, or the context ends. Unready tells what came of it.
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
	if t.planning { // that round may not see what it is asked for now
		enough++
	}
	t.demand(want, missed, once)
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

// Unready tells why no zygote could be forked for the next instance of a function that has all that the function imports, "" when one could.
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
	case len(t.zygotes()) == 0:
		return fmt.Sprintf("%s has no zygote yet", fn.Runtime)
	}
	if blocks := t.blocks.Forbidding(want, time.Now()); len(blocks) > 0 {
		return blocks[0].Reason
	}
	if d := t.demands[want.Key()]; d != nil && d.Why != "" { // of the last time that it was tried
		return d.Why
	}
	return "its zygote is not made yet"
}

// settled tells whether a zygote has everything, or cannot.
func (t *Tree) settled(want plan.Shape) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.whole(want) || t.forbidden(want)
}

// whole tells whether a zygote has everything. The caller has the lock.
func (t *Tree) whole(want plan.Shape) bool {
	return plan.Whole(t.zygotes(), want, t.facts)
}

// needRoot makes a root zygote for a driver that has none.
func (t *Tree) needRoot(ctx context.Context, live Live) error {
	t.mu.Lock()
	_, found := plan.Nearest(t.zygotesOf(live.Generation), plan.Shape{Runtime: live.Runtime.ID}, t.facts)
	t.mu.Unlock()
	if found {
		return nil
	}
	return t.awaitRoot(ctx, live, &core.Phases{})
}

// Drop ends the zygotes, and forgets the demands, that were for functions as they were before and can be for none of those that there are now:
// instances that are left live on. What a deploy under way has had made may be among them. It returns the zygotes, which end soon, or with their last
// instance.
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

// Used is a function that was used before, and how much.
type Used struct {
	Function core.Function
	Use      core.Use
}

// Resume has the zygotes of functions made in the background, the most valuable first, as if the time since the last use of them all had not
// passed. It returns at once.
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
				_ = t.needRoot(t.ctx, live) // the next request shows why
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
				t.demand(want, plan.EnoughMisses, before)
			}
		}
	})
}

// Uses returns how much each of the functions is used, of those that were, and forgets the others.
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
