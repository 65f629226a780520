package plan

import (
	"math/rand/v2"
	"slices"
)

const (
	guesses    = 12000 // at most
	guessesOf  = 40    // for each function, at most
	keptLeast  = 0.4   // of what a function imports itself, in a guess
	keptMost   = 0.6
	addedLeast = 0.2 // as a part of what the function imports itself
	addedMost  = 0.4
	doubled    = 3    // functions that start from a node at least, if doubles do
	unseenMass = 0.75 // of guesses and of doubles each, as a part of the starts of functions that were seen once
)

// expect adds functions that were not seen yet to the wishes. The next start is of a new function about as
// often as a start so far was the only one of its kind (Good and Turing). Each function that was seen once
// stands for new ones that are like it: its double starts only from what two other functions start from too.
// More new functions are guessed.
func (x *index) expect() {
	x.know()
	x.guess()
	x.guessed = len(x.wishes)
	for _, w := range x.wishes[:x.known] {
		if w.count <= 1 {
			w.count *= unseenMass
			x.wishes = append(x.wishes, w)
		}
	}
}

// know has the wishes so far be those that are known.
func (x *index) know() { x.known, x.guessed = len(x.wishes), len(x.wishes) }

// guess adds functions to the wishes that import a part of what one function imports, and more. What is
// guessed several times counts as often.
func (x *index) guess() {
	g := guesser{index: x, random: rand.New(rand.NewPCG(1, 2))}
	g.roots, g.imported, g.with = make([][]int, x.known), make([][]int, len(x.families)), make([][]int, len(x.atoms))
	at := map[string]int{} // wishes, by their sets
	var mass float64
	for i, w := range x.wishes {
		at[w.set.key()] = i
		g.learn(i)
		if w.count <= 1 {
			mass += w.count
		}
	}
	if mass == 0 {
		return
	}
	most, made := min(guesses, guessesOf*x.known), 0
	for tries := 0; tries < 20*most && made < most; tries++ {
		guess := g.draw()
		key := guess.set.key()
		i, there := at[key]
		if there && i < x.known {
			continue
		}
		if !there {
			i = len(x.wishes)
			at[key] = i
			x.wishes = append(x.wishes, guess)
		}
		x.wishes[i].count++
		made++
	}
	for i := range x.wishes[x.known:] {
		guess := &x.wishes[x.known+i]
		guess.count *= unseenMass * mass / float64(made)
		slices.Sort(guess.atoms)
	}
}

// guesser draws functions that are like those that are known.
type guesser struct {
	*index
	random   *rand.Rand
	roots    [][]int // for each known wish, what it imports itself
	imported [][]int // for each family, the roots, as often as functions have them
	with     [][]int // for each root, the functions that have it
}

func (g *guesser) learn(i int) {
	w := g.wishes[i]
	g.roots[i] = g.rootsOf(w)
	g.imported[w.family] = append(g.imported[w.family], g.roots[i]...)
	for _, root := range g.roots[i] {
		g.with[root] = append(g.with[root], i)
	}
}

// draw returns a guess. Half of what it imports besides a part of one function is drawn as often as functions
// import it, and half from what others import that have something in common with the guess.
func (g *guesser) draw() wish {
	one := func(of []int) int { return of[g.random.IntN(len(of))] }
	between := func(least, most float64) float64 { return least + g.random.Float64()*(most-least) }
	base := g.random.IntN(g.known)
	guess := wish{family: g.wishes[base].family, set: g.setOf(nil)}
	names := map[string]int{}
	var has []int // roots
	kept, more := between(keptLeast, keptMost), between(addedLeast, addedMost)
	added := 0
	for _, root := range g.roots[base] {
		if g.random.Float64() < kept && g.join(&guess, names, root) {
			has = append(has, root)
		}
		if g.random.Float64() < more {
			added++
		}
	}
	for range max(added, 1) {
		root := one(g.imported[guess.family])
		if len(has) > 0 && g.random.Float64() < 0.5 {
			root = one(g.roots[one(g.with[one(has)])])
		}
		if g.join(&guess, names, root) {
			has = append(has, root)
		}
	}
	return guess
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

// rootsOf returns the atoms of a function that no other one of its atoms requires: what it imports itself.
func (x *index) rootsOf(w wish) (roots []int) {
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
