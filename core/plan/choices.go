package plan

import (
	"cmp"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	joined   = 3    // packages, with all that they require, that make up a choice
	extended = 8    // ways in which a choice is extended
	maxLevel = 8000 // choices of as many packages
	proposed = 2000 // guesses whose own set is a choice
	compared = 500  // functions that one is compared with, at most, to find those that are like it
	alike    = 10   // of these, the ones whose common part is a choice
)

// worthKeeping are nanoseconds of import for each byte: 5, 20, 80 and 320 ms for each MiB. Of what functions
// have in common, a choice has all that takes longer.
var worthKeeping = []float64{5e6 / (1 << 20), 20e6 / (1 << 20), 80e6 / (1 << 20), 320e6 / (1 << 20)}

// choice is a zygote that the plan may have.
type choice struct {
	set    set
	asked  set     // what it asks for, nil for nothing
	size   int     // of the set
	bytes  float64 // with what its parent has
	gain   float64 // nanoseconds that each start from it saves
	wishes []int32 // that it serves
}

// planner is the state of one call of Plan.
type planner struct {
	index   *index
	machine Machine
	budget  int64
	with    [][]int32 // for each atom, the wishes that have it
	pool    []choice
	known   map[string]bool // sets that were considered
	there   int             // of the pool, the first ones: zygotes that are there
	breathe func()          // called after each piece of work
}

func newPlanner(x *index, machine Machine, budget int64, breathe func()) *planner {
	s := &planner{index: x, machine: machine, budget: budget, breathe: breathe, with: make([][]int32, len(x.atoms)), known: map[string]bool{}}
	for i, w := range x.wishes {
		for _, a := range w.atoms {
			s.with[a] = append(s.with[a], int32(i))
		}
	}
	return s
}

// served returns the wishes that a zygote with these atoms serves. Doubles are among them if it serves enough
// functions that are known.
func (s *planner) served(atoms, asked set) (wishes []int32) {
	var fewest []int32
	first := true
	for a := range atoms.all {
		if first || len(s.with[a]) < len(fewest) {
			fewest, first = s.with[a], false
		}
	}
	known := 0
	for _, w := range fewest { // doubles come last
		if int(w) >= s.index.guessed && known < doubled {
			break
		}
		if mayBecome(atoms, asked, s.index.wishes[w].set) {
			wishes = append(wishes, w)
			if int(w) < s.index.known {
				known++
			}
		}
	}
	return wishes
}

// keep considers zygotes that are there. Atoms that no function has are in none of them.
func (s *planner) keep(there []Live) {
	number := map[family]map[core.Package][]int{}
	for i, a := range s.index.atoms {
		g := s.index.families[a.family]
		if number[g] == nil {
			number[g] = map[core.Package][]int{}
		}
		number[g][a.pkg] = append(number[g][a.pkg], i)
	}
	for _, l := range there {
		atoms, all := s.index.setOf(nil), len(l.Set) > 0
		for _, p := range l.Set {
			of := number[family{l.Runtime, l.Namespace}][p]
			if all = all && len(of) == 1; !all {
				break
			}
			atoms.add(of[0])
		}
		if all {
			if _, ok := s.consider(atoms); ok && len(s.pool) > s.there {
				s.there = len(s.pool)
			}
		}
	}
}

// consider adds a choice to the pool, unless it was there before, saves nothing or serves nobody.
func (s *planner) consider(atoms set) (one choice, ok bool) {
	key := atoms.key()
	if s.known[key] {
		return one, false
	}
	s.known[key] = true
	s.breathe()
	one = choice{set: atoms, asked: s.index.asking(atoms), size: atoms.size()}
	for a := range atoms.all {
		one.bytes += s.index.atoms[a].bytes
		one.gain += s.index.atoms[a].took
	}
	one.gain -= s.machine.ForkPerByte * one.bytes
	one.wishes = s.served(atoms, one.asked)
	if one.gain > 0 && len(one.wishes) > 0 {
		s.pool = append(s.pool, one)
	}
	return one, len(one.wishes) > 0
}

// choices fills the pool. It begins with each package and all that it requires, joins what functions have
// together, the most valuable first, and adds to each what its functions have in common.
func (s *planner) choices() {
	var level []choice
	for _, a := range s.index.atoms {
		if one, ok := s.consider(s.index.setOf(a.closure)); ok {
			level = append(level, one)
		}
	}
	rate, more, touched := make([]float64, len(s.index.atoms)), make([]float64, len(s.index.atoms)), []int{}
	for size := 1; ; size++ {
		for _, one := range level {
			s.considerCommon(one)
		}
		if size == joined {
			break
		}
		level = s.most(level)
		var next []choice
		for _, one := range level {
			touched = touched[:0]
			for _, w := range one.wishes {
				for _, a := range s.index.wishes[w].atoms {
					if rate[a] == 0 {
						touched = append(touched, a)
					}
					rate[a] += s.index.wishes[w].count
				}
			}
			for _, a := range s.extensions(one, rate, more, touched) {
				if more, ok := s.consider(one.set.union(s.index.setOf(s.index.atoms[a].closure))); ok {
					next = append(next, more)
				}
			}
			for _, a := range touched {
				rate[a] = 0
			}
		}
		level = next
	}
	for i, w := range s.index.wishes[:min(s.index.guessed, s.index.known+proposed)] {
		s.consider(w.set)
		if i < s.index.known {
			s.considerAlike(i)
		}
	}
}

// considerAlike considers what a function has in common with each of those that are most like it: with which
// it shares the most import time.
func (s *planner) considerAlike(i int) {
	type part struct {
		of   int
		took float64
	}
	var most []part
	x := s.index
	for step := range min(x.known-1, compared) {
		j := (i + 1 + step*max((x.known-1)/compared, 1)) % x.known
		one := part{of: j}
		for a := range x.wishes[i].set.both(x.wishes[j].set) {
			one.took += x.atoms[a].took
		}
		at, _ := slices.BinarySearchFunc(most, one, func(a, b part) int { return cmp.Or(cmp.Compare(b.took, a.took), cmp.Compare(a.of, b.of)) })
		if at < alike {
			most = slices.Insert(most, at, one)[:min(len(most)+1, alike)]
		}
	}
	for _, one := range most {
		common := slices.Clone(x.wishes[i].set)
		common.intersect(x.wishes[one.of].set)
		s.consider(common)
	}
}

// extensions returns the atoms that save most when they join a choice. Rate is how often each of those atoms
// is wanted together with it. More is written to.
func (s *planner) extensions(one choice, rate, more []float64, atoms []int) (best []int) {
	for _, a := range atoms {
		more[a] = 0
		for _, b := range s.index.atoms[a].closure {
			if !one.set.has(b) {
				more[a] += rate[a] * s.index.atoms[b].took
			}
		}
		if more[a] == 0 || len(best) == extended && more[a] < more[best[extended-1]] {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, a, func(a, b int) int { return cmp.Or(cmp.Compare(more[b], more[a]), cmp.Compare(a, b)) })
		if at < extended {
			best = slices.Insert(best, at, a)[:min(len(best)+1, extended)]
		}
	}
	return best
}

// most returns the choices with the most benefit for each byte, if there are too many.
func (s *planner) most(level []choice) []choice {
	if len(level) <= maxLevel {
		return level
	}
	type valued struct {
		choice
		value float64
	}
	all := make([]valued, len(level))
	for i, one := range level {
		all[i].choice = one
		for _, w := range one.wishes {
			all[i].value += s.index.wishes[w].count
		}
		all[i].value *= one.gain / (one.bytes + float64(s.machine.NodeBytes))
	}
	slices.SortStableFunc(all, func(a, b valued) int { return cmp.Compare(b.value, a.value) })
	level = level[:0]
	for _, v := range all[:maxLevel] {
		level = append(level, v.choice)
	}
	return level
}

// considerCommon considers what all functions of a choice have, and of that what is worth its memory.
func (s *planner) considerCommon(one choice) {
	common := slices.Clone(s.index.wishes[one.wishes[0]].set)
	for _, w := range one.wishes[1:] {
		common.intersect(s.index.wishes[w].set)
	}
	s.consider(common)
	for _, least := range worthKeeping {
		kept := slices.Clone(one.set)
		for a := range common.all {
			if b := s.index.atoms[a]; b.took > least*b.bytes {
				for _, c := range b.closure {
					kept.add(c)
				}
			}
		}
		s.consider(kept)
	}
}
