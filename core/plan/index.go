package plan

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// set is a set of atoms, by their numbers.
type set []uint64

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }
func (s set) within(o set) bool {
	for i, w := range s {
		if w&^o[i] != 0 {
			return false
		}
	}
	return true
}
func (s set) union(o set) set {
	both := slices.Clone(s)
	for i, w := range o {
		both[i] |= w
	}
	return both
}
func (s set) intersect(o set) {
	for i, w := range o {
		s[i] &= w
	}
}
func (s set) all(yield func(int) bool) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if !yield(i*64 + bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}

// both yields what both sets have.
func (s set) both(o set) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i, w := range s {
			for w &= o[i]; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}
func (s set) size() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}
func (s set) key() string {
	key := make([]byte, 0, 64)
	for i := range s.all {
		key = append(key, byte(i), byte(i>>8), byte(i>>16))
	}
	return string(key)
}

// atom is a package together with all that it requires, in the versions that a function has of them. It is
// the least that a zygote can import: the same package with another version of what it requires is another
// atom. So a zygote, which is a set of atoms, may become a function exactly when its atoms are among the
// function's.
type atom struct {
	family  int // of the functions that may share it
	pkg     core.Package
	closure []int // the atoms of what it requires, and itself; sorted
	took    float64
	bytes   float64
	asks    []core.Package // nil stands for all, as in Asks
	asking  bool
}

// family is a runtime and a namespace: functions of different families share nothing.
type family struct {
	runtime   core.RuntimeID
	namespace string
}

// wish is a set of atoms that some functions have.
type wish struct {
	family int
	atoms  []int // sorted
	set    set
	count  float64
}

// index has the demand as sets of numbers.
type index struct {
	facts    Facts
	families []family
	atoms    []atom
	wishes   []wish // of the demand, different ones, in the order of their families and sets; then guesses and doubles
	known    int    // wishes of the demand
	guessed  int    // wishes before the doubles
	asked    []set  // for each atom that asks: the atoms that it asks for
}

func newIndex(demand []Arrivals, facts Facts) *index {
	x := &index{facts: facts}
	sorted := slices.DeleteFunc(slices.Clone(demand), func(d Arrivals) bool { return len(d.Set) == 0 })
	slices.SortStableFunc(sorted, func(a, b Arrivals) int {
		return cmp.Or(cmp.Compare(a.Runtime, b.Runtime), cmp.Compare(a.Namespace, b.Namespace), slices.CompareFunc(a.Set, b.Set, core.Package.Compare), cmp.Compare(a.Count, b.Count))
	})
	known := map[string]int{} // atoms by what they are
	for i, d := range sorted {
		if g := (family{d.Runtime, d.Namespace}); len(x.families) == 0 || x.families[len(x.families)-1] != g {
			x.families = append(x.families, g)
			clear(known)
		} else if slices.Equal(d.Set, sorted[i-1].Set) {
			x.wishes[len(x.wishes)-1].count += d.Count
			continue
		}
		x.wishes = append(x.wishes, wish{family: len(x.families) - 1, atoms: x.atomsOf(d.Set, known), count: d.Count})
	}
	for i := range x.wishes {
		x.wishes[i].set = x.setOf(x.wishes[i].atoms)
	}
	x.findAsked()
	return x
}

// atomsOf returns the atoms of a function with these packages, and makes those that are new.
func (x *index) atomsOf(packages core.Set, known map[string]int) []int {
	at := make(map[string][]int, len(packages))
	for i, p := range packages {
		at[p.Name] = append(at[p.Name], i)
	}
	closures, own := make([][]int, len(packages)), make([]int, len(packages))
	for i := range packages {
		seen := []int{i}
		for j := 0; j < len(seen); j++ {
			for _, name := range x.facts.Needs[packages[seen[j]]].Requires {
				for _, k := range at[name] {
					if !slices.Contains(seen, k) {
						seen = append(seen, k)
					}
				}
			}
		}
		slices.Sort(seen)
		closures[i] = seen
		key := packages[i].Name + "\n"
		for _, j := range seen {
			p := packages[j]
			key += p.Name + "=" + p.Version + "@" + p.Digest + "\n"
		}
		number, found := known[key]
		if !found {
			number = len(x.atoms)
			known[key] = number
			need := x.facts.Needs[packages[i]]
			one := atom{family: len(x.families) - 1, pkg: packages[i], took: float64(need.Took), bytes: float64(need.Bytes)}
			others, asks := x.facts.Asks[Asker{x.families[one.family].runtime, packages[i]}]
			one.asks, one.asking = others, asks
			x.atoms = append(x.atoms, one)
		}
		own[i] = number
	}
	for i, seen := range closures {
		one := &x.atoms[own[i]]
		if one.closure != nil {
			continue
		}
		for _, j := range seen {
			one.closure = append(one.closure, own[j])
		}
		slices.Sort(one.closure)
	}
	atoms := slices.Sorted(slices.Values(own))
	return slices.Compact(atoms)
}

// findAsked fills in which atoms each atom asks for, so that their absence would be remembered.
func (x *index) findAsked() {
	x.asked = make([]set, len(x.atoms))
	of := map[core.Package][]int{}
	for i, a := range x.atoms {
		of[a.pkg] = append(of[a.pkg], i)
	}
	for i, a := range x.atoms {
		if !a.asking {
			continue
		}
		x.asked[i] = x.setOf(nil)
		for j := range x.atoms {
			if a.asks == nil {
				x.asked[i].add(j)
			}
		}
		for _, p := range a.asks {
			for _, j := range of[p] {
				x.asked[i].add(j)
			}
		}
	}
}

func (x *index) setOf(atoms []int) set {
	s := make(set, (len(x.atoms)+63)/64)
	for _, a := range atoms {
		s.add(a)
	}
	return s
}

// asking returns what the atoms of s ask for, nil for nothing.
func (x *index) asking(s set) (asked set) {
	for a := range s.all {
		if of := x.asked[a]; of != nil {
			if asked == nil {
				asked = x.setOf(nil)
			}
			asked = asked.union(of)
		}
	}
	return asked
}

// mayBecome says whether a zygote with the atoms s, which ask for those of asked, may be forked into a
// process with those of o, as Asks.MayBecome does.
func mayBecome(s, asked, o set) bool {
	if !s.within(o) {
		return false
	}
	for i, w := range asked {
		if w&o[i]&^s[i] != 0 {
			return false
		}
	}
	return true
}

// packages returns a set of atoms as a set of packages.
func (x *index) packages(s set) (core.RuntimeID, string, core.Set) {
	var all []core.Package
	var g family
	for a := range s.all {
		all = append(all, x.atoms[a].pkg)
		g = x.families[x.atoms[a].family]
	}
	return g.runtime, g.namespace, core.NewSet(all...)
}
