package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// After each step from any tree to any plan, every function starts as fast as before, or as the plan wants.
func TestDiff(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	moves := 0
	for range 60 {
		demand, facts := instance(random, 2+random.IntN(8), 1+random.IntN(15))
		before := Plan(demand[:(len(demand)+1)/2], facts, ours, int64(random.IntN(80*mib)))
		plan := Plan(demand, facts, ours, int64(random.IntN(80*mib)))
		live := []Live{{ID: "root", Runtime: "lang1"}, {ID: "root2", Runtime: "lang2"}}
		for i, n := range before.Nodes {
			l := Live{ID: core.NodeID(fmt.Sprint("z", i)), Parent: "root", Runtime: n.Runtime, Namespace: n.Namespace, Set: n.Set}
			if n.Parent >= 0 {
				l.Parent = core.NodeID(fmt.Sprint("z", n.Parent))
			}
			live = append(live, l)
		}
		there := map[string]Planned{}
		for i, n := range before.Nodes {
			there[fmt.Sprint("z", i)] = n
		}
		tree := func() (tree Desired) {
			for _, n := range there {
				tree.Nodes = append(tree.Nodes, n)
			}
			return tree
		}
		one := func(d Arrivals, tree Desired) float64 { return saved([]Arrivals{d}, facts, tree) }
		made := map[int]bool{}
		for _, step := range Diff(live, plan, facts.Asks) {
			moves++
			if step.Make >= 0 {
				n := plan.Nodes[step.Make]
				there[fmt.Sprint("new", step.Make)] = n
				made[step.Make] = true
			} else {
				if slices.ContainsFunc(live, func(l Live) bool { return l.Parent == step.Evict }) {
					t.Errorf("%s is evicted before its children", step.Evict)
				}
				live = slices.DeleteFunc(live, func(l Live) bool { return l.ID == step.Evict })
				delete(there, string(step.Evict))
			}
			for _, d := range demand {
				if now, least := one(d, tree()), min(one(d, before), one(d, plan)); now < least {
					t.Errorf("after %+v %v saves %v, before %v, and %v by the plan", step, d.Set, now, one(d, before), one(d, plan))
				}
			}
		}
		for _, d := range demand {
			if now := one(d, tree()); now < one(d, plan) {
				t.Errorf("after all steps %v saves %v, by the plan %v", d.Set, now, one(d, plan))
			}
		}
	}
	if moves == 0 {
		t.Error("no steps")
	}
	if steps := Diff(nil, Desired{}, nil); steps != nil {
		t.Errorf("from nothing to nothing: %v", steps)
	}
}
