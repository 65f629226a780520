package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Arrivals are the starts of functions of one shape: a count, in which older ones may weigh less.
type Arrivals struct {
	Shape
	Count float64
}

// Machine is what a process costs on one machine, besides what it imports.
type Machine struct {
	ForkPerByte float64 // nanoseconds that a fork takes longer for each byte that its zygote has imported
	NodeBytes   int64   // that a zygote takes which imports nothing
}

// Desired is a plan: the zygotes that we would like to have, below the root zygotes.
type Desired struct {
	Nodes  []Planned // a parent before its children
	Served []Served  // in the order of the demand
	Bytes  int64     // of all nodes
}

// Planned is one zygote of a plan. Its set is closed: each package is there with all that it requires.
type Planned struct {
	Runtime   core.RuntimeID
	Namespace string // as in Shape
	Set       core.Set
	Parent    int           // in Desired.Nodes, -1 for a root zygote
	Bytes     int64         // beyond its parent's
	Saves     time.Duration // of each start from it, compared with one from the root zygote
	Benefit   time.Duration // what all starts together would take longer without it
}

// Served says how functions of one shape start.
type Served struct {
	Arrivals
	From int           // the node that they start from, -1 for a root zygote
	Left time.Duration // of imports, by the instance itself
}

// serves says whether starts of that shape may begin at the node.
func (p *Planned) serves(s Shape, asks Asks) bool { return asks.MayBecome(p.shape(), s) }

// shape is what the node has loaded, without modules.
func (p *Planned) shape() Shape { return Shape{Runtime: p.Runtime, Namespace: p.Namespace, Set: p.Set} }

// Plan returns a tree of at most so many bytes for the demand. It minimises what starts take on average, by
// the counts and costs, and by a guess of functions that were not seen yet. It is the same for the same
// arguments, in whichever order the demand is.
//
// A set of the demand has no package that must not be in a zygote. All that is in it counts as imported.
func Plan(demand []Arrivals, facts Facts, machine Machine, budget int64) Desired {
	x := newIndex(demand, facts)
	x.expect()
	c := newPlanner(x, machine, budget, func() {}).choose()
	c.improve()
	return c.tree(demand)
}

// plan is Plan for the functions of the demand alone. It prefers zygotes that are there. Instead of swaps, it
// drops what the rest makes useless.
func plan(demand []Arrivals, there []Live, facts Facts, machine Machine, budget int64, breathe func()) Desired {
	x := newIndex(demand, facts)
	x.know()
	s := newPlanner(x, machine, budget, breathe)
	s.keep(there)
	c := s.choose()
	c.prune()
	c.fill(nil)
	c.prune()
	return c.tree(demand)
}

// choose returns what is chosen of all choices.
func (s *planner) choose() *chosen {
	s.choices()
	c := newChosen(s)
	c.fill(nil)
	return c
}

// tree returns what was chosen, with parents that are not too deep.
func (c *chosen) tree(demand []Arrivals) Desired {
	parents, bytes := c.arranged(c.list)
	for bytes > c.budget && len(c.list) > 0 { // chains were cut at maxDepth, so memory is not shared as was thought
		c.remove(c.list[len(c.list)-1])
		parents, bytes = c.arranged(c.list)
	}
	t := Desired{Bytes: bytes}
	number := map[int32]int{} // in t, of those in the pool
	for _, p := range parents {
		one := &c.pool[p.of]
		node := Planned{Parent: -1, Bytes: int64(one.bytes) + c.machine.NodeBytes, Saves: time.Duration(one.gain)}
		if p.parent >= 0 {
			node.Parent, node.Bytes = number[p.parent], node.Bytes-int64(c.pool[p.parent].bytes)
		}
		node.Runtime, node.Namespace, node.Set = c.index.packages(one.set)
		number[p.of] = len(t.Nodes)
		t.Nodes = append(t.Nodes, node)
	}
	c.assign(&t, demand)
	return t
}

// placed is a choice below another, -1 for a root zygote.
type placed struct{ of, parent int32 }

// arranged returns choices below their parents, and the memory that all take. What is chosen first comes
// first among siblings.
func (s *planner) arranged(list []int32) (all []placed, bytes int64) {
	order := slices.Clone(list)
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(s.pool[a].size, s.pool[b].size) })
	depth := map[int32]int{-1: 0}
	for i, c := range order {
		one := &s.pool[c]
		at, inherited := placed{c, -1}, 0.0
		for _, d := range order[:i] {
			other := &s.pool[d]
			if other.bytes > inherited && depth[d] < maxDepth-1 && mayBecome(other.set, other.asked, one.set) {
				at.parent, inherited = d, other.bytes
			}
		}
		depth[c] = depth[at.parent] + 1
		bytes += int64(one.bytes-inherited) + s.machine.NodeBytes
		all = append(all, at)
	}
	return all, bytes
}

// assign finds the node of each part of the demand, and what each node is good for.
func (s *planner) assign(t *Desired, demand []Arrivals) {
	t.Served = make([]Served, len(demand))
	for i, d := range demand {
		served := Served{Arrivals: d, From: -1}
		var best, next time.Duration
		for j := range t.Nodes {
			n := &t.Nodes[j]
			if n.Saves <= next || !n.serves(Shape{Runtime: d.Runtime, Namespace: d.Namespace, Set: d.Set}, s.index.facts.Asks) {
				continue
			}
			if n.Saves > best {
				served.From, best, next = j, n.Saves, best
			} else {
				next = n.Saves
			}
		}
		for _, p := range d.Set {
			if served.From < 0 || !has(t.Nodes[served.From].Set, p) {
				served.Left += s.index.facts.Needs[p].Took
			}
		}
		if served.From >= 0 {
			t.Nodes[served.From].Benefit += time.Duration(d.Count * float64(best-next))
		}
		t.Served[i] = served
	}
}
