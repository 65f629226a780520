package plan

import (
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Live is a zygote that is there.
type Live struct {
	ID        core.NodeID
	Parent    core.NodeID // "" for a root zygote
	Runtime   core.RuntimeID
	Namespace string
	Set       core.Set
}

// Step makes a zygote of a plan or evicts one that is there.
type Step struct {
	Make  int         // in Desired.Nodes, -1 for none
	Evict core.NodeID // "" for none
}

// Diff returns the steps from the zygotes that are there to those of a plan. After each step every function
// of the plan's demand starts as fast as before all steps, or as fast as the plan wants, whichever is slower.
// So a zygote is evicted as soon as the plan's node is there for each function that may start from it, and
// not before. A parent is made before its children, and evicted after them; a zygote from which something was
// forked that stays is kept, and so is each root zygote.
func Diff(live []Live, plan Desired, asks Asks) (steps []Step) {
	there, all := compare(live, plan, asks)
	evict := func() {
		for i := 0; i < len(all); {
			l := all[i]
			waits := slices.ContainsFunc(l.awaits, func(n int) bool { return !there[n] })
			if waits || slices.ContainsFunc(all, func(o leaving) bool { return o.parent == l.id }) {
				i++
				continue
			}
			steps = append(steps, Step{Make: -1, Evict: l.id})
			all = slices.Delete(all, i, i+1)
			i = 0 // its parent may have waited for it
		}
	}
	evict()
	for i := range plan.Nodes {
		if !there[i] {
			there[i] = true
			steps = append(steps, Step{Make: i})
			evict()
		}
	}
	return steps
}

// compare returns which nodes of a plan are there, and the zygotes that are not in it.
func compare(live []Live, plan Desired, asks Asks) (there []bool, all []leaving) {
	there = make([]bool, len(plan.Nodes))
	kept := map[core.NodeID]bool{}
	parents := map[core.NodeID]core.NodeID{}
	for _, l := range live {
		parents[l.ID] = l.Parent
	}
	keep := func(id core.NodeID) {
		for ; id != "" && !kept[id]; id = parents[id] {
			kept[id] = true
		}
	}
	for i, n := range plan.Nodes {
		for _, l := range live {
			if l.Runtime == n.Runtime && l.Namespace == n.Namespace && slices.Equal(l.Set, n.Set) {
				there[i] = true
				keep(l.ID)
				break // a second one of the same set is not in the plan
			}
		}
	}
	for _, l := range live {
		if len(l.Set) == 0 {
			keep(l.ID)
		}
	}
	for _, l := range live {
		if !kept[l.ID] {
			all = append(all, leaving{l.ID, l.Parent, l.awaits(plan, asks)})
		}
	}
	return there, all
}

// leaving is a zygote that is not in the plan.
type leaving struct {
	id, parent core.NodeID
	awaits     []int // the nodes from which its functions start by the plan
}

// awaits returns the nodes of a plan that have to be there before a zygote is evicted.
func (l Live) awaits(plan Desired, asks Asks) (nodes []int) {
	for _, served := range plan.Served {
		if served.From < 0 || slices.Contains(nodes, served.From) {
			continue
		}
		shape := Shape{Runtime: served.Runtime, Namespace: served.Namespace, Set: served.Set}
		if asks.MayBecome(Shape{Runtime: l.Runtime, Namespace: l.Namespace, Set: l.Set}, shape) {
			nodes = append(nodes, served.From)
		}
	}
	return nodes
}
