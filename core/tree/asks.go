package tree

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

// LearnAsks replaces what the tree knows of that, before a zygote imports such a package, and before a function has one that is asked for.
func (t *Tree) LearnAsks(asks Asks) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asks = asks
}

// mayBecome is the invariant of the tree: s may be forked into o only when everything that s may have loaded is o's as well, and nothing that s has
// loaded has looked in vain for a package that o has: it remembers that there was none.
func (a Asks) mayBecome(s, o shape) bool {
	if !s.partOf(o) {
		return false
	}
	if len(s.set) == len(o.set) {
		return true
	}
	return !slices.ContainsFunc(s.set, func(p core.Package) bool {
		others, asks := a[Asker{s.runtime, p}]
		return asks && (others == nil || slices.ContainsFunc(others, func(q core.Package) bool { return has(o.set, q) && !has(s.set, q) }))
	})
}

func has(set core.Set, p core.Package) bool {
	_, found := slices.BinarySearchFunc(set, p, core.Package.Compare)
	return found
}
