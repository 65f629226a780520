package plan

import (
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Asker is a package of a runtime. The same package may do something else in another one.
type Asker struct {
	Runtime core.RuntimeID
	Package core.Package
}

// Asks is, for each package, which others it looks for when it is imported, whether they are there or not; nil stands for all of them. One that
// is missing asks for none. It is not changed any more once a tree has it.
type Asks map[Asker]core.Set

// MayBecome is the invariant of the tree: s may be forked into o only when everything that s may have loaded is o's as well, and nothing that s has
// loaded has looked in vain for a package that o has: it remembers that there was none.
func (a Asks) MayBecome(s, o Shape) bool {
	if !s.partOf(o) {
		return false
	}
	if len(s.Set) == len(o.Set) {
		return true
	}
	return !slices.ContainsFunc(s.Set, func(p core.Package) bool {
		others, asks := a[Asker{s.Runtime, p}]
		return asks && (others == nil || slices.ContainsFunc(others, func(q core.Package) bool { return has(o.Set, q) && !has(s.Set, q) }))
	})
}

func has(set core.Set, p core.Package) bool {
	_, found := slices.BinarySearchFunc(set, p, core.Package.Compare)
	return found
}
