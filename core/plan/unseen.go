package plan

import (
	"math/rand/v2"
	"slices"
)

const (
	unseen     = 2000 // functions that are guessed, at most
	keptLeast  = 0.4  // of what a function imports itself, in a guess
	keptMost   = 0.6
	addedLeast = 0.2 // as a part of what the function imports itself
	addedMost  = 0.4
)

// guess adds functions that were not seen yet to the wishes. The next start is of a new function about as often
// as a start so far was the only one of its kind (Good and Turing), so the guesses count as much as these
// together. A guess imports a part of what one function imports, and more: half of that as often as functions
// import it, and half what others import that have something in common with the guess.
func (x *index) guess() {
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	var mass float64
	roots := make([][]int, len(x.wishes))
	imported := make([][]int, len(x.families)) // roots, as often as functions have them
	with := make([][]int, len(x.atoms))        // for each root, the functions that have it
	for i, w := range x.wishes {
		seen[w.set.key()] = true
		roots[i] = x.roots(w)
		imported[w.family] = append(imported[w.family], roots[i]...)
		for _, root := range roots[i] {
			with[root] = append(with[root], i)
		}
		if w.count <= 1 {
			mass += w.count
		}
	}
	if mass == 0 {
		return
	}
	one := func(of []int) int { return of[random.IntN(len(of))] }
	between := func(least, most float64) float64 { return least + random.Float64()*(most-least) }
	known := len(x.wishes)
	for tries := 0; tries < 20*unseen && len(x.wishes) < known+unseen; tries++ {
		base := random.IntN(known)
		guess := wish{family: x.wishes[base].family, set: x.setOf(nil)}
		names := map[string]int{}
		var has []int // roots
		kept, more := between(keptLeast, keptMost), between(addedLeast, addedMost)
		added := 0
		for _, root := range roots[base] {
			if random.Float64() < kept && x.join(&guess, names, root) {
				has = append(has, root)
			}
			if random.Float64() < more {
				added++
			}
		}
		for range max(added, 1) {
			root := one(imported[guess.family])
			if len(has) > 0 && random.Float64() < 0.5 {
				root = one(roots[one(with[one(has)])])
			}
			if x.join(&guess, names, root) {
				has = append(has, root)
			}
		}
		if !seen[guess.set.key()] {
			x.wishes = append(x.wishes, guess)
		}
	}
	for i := range x.wishes[known:] {
		guess := &x.wishes[known+i]
		guess.count = mass / float64(len(x.wishes)-known)
		slices.Sort(guess.atoms)
	}
}

// join adds an atom with its closure, unless the function has another atom of the same name.
func (x *index) join(w *wish, names map[string]int, root int) bool {
	closure := x.atoms[root].closure
	for _, a := range closure {
		if b, there := names[x.atoms[a].pkg.Name]; there && b != a && !slices.Contains(closure, b) {
			return false
		}
	}
	for _, a := range closure {
		if !w.set.has(a) {
			w.set.add(a)
			w.atoms = append(w.atoms, a)
			names[x.atoms[a].pkg.Name] = a
		}
	}
	return true
}

// roots returns the atoms of a function that no other one of its atoms requires: what it imports itself.
func (x *index) roots(w wish) (roots []int) {
	required := x.setOf(nil)
	for _, a := range w.atoms {
		for _, b := range x.atoms[a].closure {
			if b != a && (b > a || !slices.Contains(x.atoms[b].closure, a)) { // of those that require each other, the first stays
				required.add(b)
			}
		}
	}
	for _, a := range w.atoms {
		if !required.has(a) {
			roots = append(roots, a)
		}
	}
	return roots
}
