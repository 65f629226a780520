package plan

import (
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	leastUse = 1.0 / 64 // of a demand that a goal is made for: half an hour after a single start

	// earned is the use that a zygote of a goal needs, by all that start from it or from what is below it. A
	// single start is less. So what is started once has no zygote, and the memory that it would have had is
	// for instances.
	earned = 1.5

	// sticky is how much more a zygote counts that is there, beside one that would have to be made. So goals
	// do not change for little.
	sticky = 1.5
)

// GoalBytes returns the memory that a goal may take, of a tree with that budget. The rest is for instances.
func GoalBytes(budget int64) int64 { return budget / 2 }

// Goal is a whole tree that the tree is to become, one zygote after the other.
type Goal struct {
	nodes   []goalNode // a parent before its children
	desired Desired    // of stand-ins, with the same nodes
	facts   Facts      // about the stand-ins
	needs   Needs
	asks    Asks
	known   map[core.NodeID]bool // zygotes that were there
}

// goalNode is one zygote of a goal.
type goalNode struct {
	Candidate
	parent int
	bytes  int64
	serves []Shape // that start from it, and zygotes below it
	tried  bool    // to make it
}

// Aim plans the best tree for these demands, of at most so many bytes, where these zygotes are. Breathe is
// called after each piece of work, most of which take microseconds, and may sleep.
func Aim(demands []Demand, zygotes []Zygote, facts Facts, machine Machine, budget int64, now time.Time, breathe func()) Goal {
	var arrivals []Arrivals
	for _, d := range demands {
		if use := d.Use.At(now); use >= leastUse {
			arrivals = append(arrivals, Arrivals{d.Shape, use})
		}
		breathe()
	}
	g := Goal{needs: facts.Needs, asks: facts.Asks, known: map[core.NodeID]bool{}}
	var modules []Arrivals
	modules, g.facts = modular(arrivals, facts, breathe)
	var there []Live
	for _, z := range zygotes {
		g.known[z.ID] = true
		there = append(there, Live{Runtime: z.Runtime, Namespace: z.Namespace, Set: standIns(z.Shape, g.needs)})
	}
	g.desired = plan(modules, there, g.facts, machine, budget, breathe)
	g.nodes = make([]goalNode, len(g.desired.Nodes))
	for i, n := range g.desired.Nodes {
		g.nodes[i] = goalNode{parent: n.Parent, bytes: n.Bytes}
		g.nodes[i].Shape = Shape{Runtime: n.Runtime, Namespace: n.Namespace}
	}
	for i, served := range g.desired.Served {
		breathe()
		for at := served.From; at >= 0; at = g.nodes[at].parent {
			g.join(at, arrivals[i], at == served.From)
		}
	}
	for i := range g.nodes {
		n, saves := &g.nodes[i], g.desired.Nodes[i].Saves
		if n.parent >= 0 && n.Uses > 0 {
			saves -= g.desired.Nodes[n.parent].Saves
			g.nodes[n.parent].serves = append(g.nodes[n.parent].serves, n.Shape)
		}
		n.Benefit = n.Uses * saves.Seconds()
	}
	return g
}

// join counts what starts from a node, or from one below it. The first has its modules in their order.
func (g *Goal) join(at int, a Arrivals, from bool) {
	n := &g.nodes[at]
	n.Uses += a.Count
	if from {
		n.serves = append(n.serves, a.Shape)
	}
	if n.Set != nil || n.Modules != nil {
		return
	}
	var names []string
	for _, p := range g.desired.Nodes[at].Set {
		if module := moduleOf(p); module != "" {
			names = append(names, module)
		} else {
			n.Set = append(n.Set, p)
		}
	}
	n.Modules = slices.DeleteFunc(slices.Clone(a.Modules), func(m string) bool { return !slices.Contains(names, m) })
}

// Next returns the zygote to make next, and those that are spare: without them each function starts as fast
// as it does, or as fast as the goal wants. A zygote that is younger than the goal is not spare. Each is to
// be made once: one that could not be made, or that was evicted since, is left to the next goal. What a block
// forbids is not made.
func (g *Goal) Next(zygotes []Zygote, blocks []Block, now time.Time) (next Candidate, found bool, spare []core.NodeID) {
	live := make([]Live, len(zygotes))
	for i, z := range zygotes {
		live[i] = g.live(z)
	}
	there, gone := compare(live, g.desired, g.facts.Asks)
	for _, l := range gone {
		if g.known[l.id] && !slices.ContainsFunc(l.awaits, func(n int) bool { return !there[n] }) {
			spare = append(spare, l.id)
		}
	}
	best, value := -1, 0.0
	for i, n := range g.nodes {
		if there[i] || n.tried || n.Uses <= earned || n.parent >= 0 && !there[n.parent] && !g.nodes[n.parent].tried {
			continue
		}
		if slices.ContainsFunc(blocks, func(b Block) bool { return b.forbids(n.Shape, now) }) {
			continue
		}
		if v := n.Benefit / float64(max(n.bytes, 1)); v > value {
			best, value = i, v
		}
	}
	if best < 0 {
		return next, false, spare
	}
	g.nodes[best].tried = true
	return g.nodes[best].Candidate, true, spare
}

// live is a zygote as it is to be compared with the goal. One that does for a node of the goal is that node.
func (g *Goal) live(z Zygote) Live {
	l := Live{ID: z.ID, Parent: z.Parent, Runtime: z.Runtime, Namespace: z.Namespace, Set: standIns(z.Shape, g.needs)}
	for i := len(g.nodes) - 1; i >= 0 && len(z.Modules) > 0; i-- {
		n := &g.nodes[i]
		if n.Uses == 0 || n.Runtime != z.Runtime || len(Missing(n.Modules, z.Modules)) > 0 {
			continue
		}
		if !slices.ContainsFunc(n.serves, func(s Shape) bool { return !g.asks.MayBecome(z.Shape, s) }) {
			l.Namespace, l.Set = n.Namespace, g.desired.Nodes[i].Set
			break
		}
	}
	return l
}
