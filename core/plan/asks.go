package plan

import (
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Asker is a package of a runtime. The same package may behave differently in another runtime.
type Asker struct {
	Runtime core.RuntimeID
	Package core.Package
}

// Asks is, for each package, the other packages that it looks for when it is imported, whether they are there
// or not. Nil stands for all packages. A package that is missing from Asks looks for none. It never changes
// once a tree has it.
type Asks map[Asker]core.Set

// MayBecome is the invariant of the tree: s may be forked into o only if o imports every module that s has
// imported, whose traces o would find, o may load every package that s may have loaded, and no package of s
// has looked in vain for a package of o. It would remember that there was none.
func (a Asks) MayBecome(s, o Shape) bool {
	if !s.partOf(o) || len(Missing(s.Modules, o.Modules)) > 0 {
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
