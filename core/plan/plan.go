// Package plan is the whole policy of the tree, and pure: data in, decision out. It decides which zygote is
// the nearest, which missing zygote is made next, which nodes are evicted, what is made ahead, and how long
// the tree waits for anything. It also has the bounds of the scheduler. It starts nothing, takes no mutex and
// reads no clock: the caller passes the time and holds mu.
//
// A plan is the tree that we would like for a demand, its costs and a budget of memory. Wanted names the next
// zygote to make for those that requests miss, and Reclaim the leaves to evict for it. Aim plans the whole
// tree of a worker: a goal, and Next has the next step to it. Plan is for functions that were not seen, too,
// and Diff has all steps to a plan.
package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const maxDepth = 8 // of a zygote, which takes two; pid namespaces nest 32 deep and a worker may run in one

// Facts are everything known of the modules and packages of all functions.
type Facts struct {
	Costs   Costs
	Weights Weights
	Asks    Asks
	Needs   Needs
}

// Shape is what a plan sees of a process: the packages that it may load, and the modules that it has imported
// or is to import.
type Shape struct {
	Runtime core.RuntimeID
	Set     core.Set
	Modules []string // in the order of import
	// Namespace is that of the functions which alone may start from it; empty if all may.
	Namespace string
}

// ShapeOf returns the shape of the zygote from which the function is best forked.
func ShapeOf(fn *core.Function) Shape {
	modules := slices.DeleteFunc(slices.Concat(fn.Imports, fn.Loaded), func(m string) bool { return fn.Apart[m] != "" })
	set := slices.DeleteFunc(slices.Clone(fn.Packages), func(p core.Package) bool { return slices.Contains(fn.Aside, p) })
	shape := Shape{Runtime: fn.Runtime, Set: set, Modules: modules}
	if fn.Isolated {
		shape.Namespace = core.Namespace(fn.Name)
	}
	return shape
}

// Key identifies the shape, whatever the order of its modules.
func (s Shape) Key() string {
	modules := slices.Sorted(slices.Values(s.Modules))
	return string(s.Runtime) + "\n" + s.Namespace + "\n" + s.Set.Key() + "\n" + strings.Join(modules, "\n")
}

// partOf says whether o may load everything that s may have loaded. A zygote that may load no package, as a
// root zygote, is for every namespace.
func (s Shape) partOf(o Shape) bool {
	return s.Runtime == o.Runtime && (s.Namespace == o.Namespace || len(s.Set) == 0) && s.Set.SubsetOf(o.Set)
}

// within says whether o has everything that s has, and more.
func (s Shape) within(o Shape) bool {
	return s.partOf(o) && len(Missing(s.Modules, o.Modules)) == 0 && smaller(s, o) < 0
}

// shared returns what both have in common. The modules keep the order of s.
func (s Shape) shared(o Shape) Shape {
	modules := slices.DeleteFunc(slices.Clone(s.Modules), func(m string) bool { return !slices.Contains(o.Modules, m) })
	both := Shape{Runtime: s.Runtime, Set: s.Set.Intersect(o.Set), Modules: modules, Namespace: s.Namespace}
	if s.Namespace != o.Namespace {
		both.Set = nil
	}
	return both
}

// smaller orders shapes by how much they load. A fork costs more the more its zygote has loaded.
func smaller(a, b Shape) int {
	return cmp.Or(cmp.Compare(len(a.Set), len(b.Set)), cmp.Compare(len(a.Modules), len(b.Modules)))
}

// Missing returns the modules in want that are not in have.
func Missing(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(m string) bool { return slices.Contains(have, m) })
}

// Zygote is a process that can be forked now.
type Zygote struct {
	Shape
	ID     core.NodeID
	Parent core.NodeID // "" for a root zygote
	Depth  int         // of a root zygote: 1
}

// Nearest finds the zygote that saves want the most import time, among those that may become it. Among equals
// it prefers the zygote that has loaded least, then the one nearer to the root, then the older one.
func Nearest(zygotes []Zygote, want Shape, facts Facts) (best Zygote, found bool) {
	var most time.Duration
	for _, z := range zygotes {
		saved := facts.Costs.saves(z.Modules, want)
		if found && saved < most {
			continue
		}
		if found && saved == most && !preferred(z, best) {
			continue
		}
		// The expensive check comes last.
		if facts.Asks.MayBecome(z.Shape, want) {
			best, most, found = z, saved, true
		}
	}
	return best, found
}

func preferred(a, b Zygote) bool {
	return cmp.Or(smaller(a.Shape, b.Shape), cmp.Compare(a.Depth, b.Depth), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) < 0
}

// Parent finds the zygote from which a new one is forked: the nearest that is not too deep.
func Parent(zygotes []Zygote, want Shape, facts Facts) (parent Zygote, found bool) {
	return Nearest(slices.DeleteFunc(slices.Clone(zygotes), func(z Zygote) bool { return z.Depth >= maxDepth }), want, facts)
}

// Whole says whether the nearest zygote has imported every module of want.
func Whole(zygotes []Zygote, want Shape, facts Facts) bool {
	z, found := Nearest(zygotes, want, facts)
	return found && len(Missing(want.Modules, z.Modules)) == 0
}
