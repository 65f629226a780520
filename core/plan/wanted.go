package plan

import (
	"slices"
	"time"
)

const worthSharing = 20 * time.Millisecond // the least import time for which functions get a zygote in common

// Candidate is a zygote that could be made.
type Candidate struct {
	Shape
	Uses    float64 // of those whom it would spare something
	Benefit float64 // seconds that it would spare them, weighed by use; divided by bytes it compares with the value of a leaf
	Due     bool    // whether a deploy waits for it
}

// Wanted chooses the missing zygote whose making helps most. It weighs candidates by what they save each demand that may start
// from them, beyond what its nearest zygote saves it already, times how much that demand is used, for each byte that they take.
// One that a deploy waits for comes first.
//
// A candidate is all of a demand that misses something, or what such a demand has in common with another one. The latter wins
// when it serves both well, and is then made first and becomes the parent of either. For the same reason a demand's own zygote
// is chosen before one that contains it.
func Wanted(demands []Demand, zygotes []Zygote, blocks []Block, facts Facts, now time.Time) (want Candidate, found bool) {
	s := search{demands: demands, zygotes: zygotes, blocks: blocks, facts: facts, now: now, have: make([]time.Duration, len(demands)), seen: map[string]bool{}}
	for i, d := range demands {
		if z, ok := Nearest(zygotes, d.Shape, facts); ok {
			s.have[i] = facts.Costs.saves(z.Modules, d.Shape)
		}
	}
	for i, d := range demands {
		if d.Missed == 0 {
			continue
		}
		if own, ok := s.consider(d.Shape, d.Bytes); ok {
			s.own = append(s.own, own)
		}
		for j, e := range demands {
			if i == j || d.Runtime != e.Runtime {
				continue
			}
			if both, ok := s.shared(i, e.Shape); ok {
				s.consider(both, 0)
			}
		}
	}
	for _, own := range s.own {
		if own.within(s.best.Shape) && facts.Asks.MayBecome(own.Shape, s.best.Shape) && facts.Costs.saves(own.Modules, own.Shape) >= worthSharing {
			s.best = own
		}
	}
	return s.best, s.found
}

// search is the state of one call of Wanted.
type search struct {
	demands []Demand
	zygotes []Zygote
	blocks  []Block
	facts   Facts
	now     time.Time

	have  []time.Duration // what its nearest zygote saves each demand
	seen  map[string]bool // shapes
	own   []Candidate     // that are all of a demand
	best  Candidate
	value float64 // of the best
	found bool
}

// consider weighs a shape and keeps it when it is the best so far. Bytes is what it takes, 0 when that was never measured. It
// returns false when the shape was considered before, is blocked, or has not been missed enough.
func (s *search) consider(shape Shape, bytes int64) (one Candidate, ok bool) {
	key := shape.Key()
	if s.seen[key] || slices.ContainsFunc(s.blocks, func(b Block) bool { return b.forbids(shape, s.now) }) {
		return one, false
	}
	s.seen[key] = true
	one, missed := s.weigh(shape)
	if missed < EnoughMisses {
		return one, false
	}
	parent, _ := Nearest(s.zygotes, shape, s.facts)
	value := one.Benefit / float64(s.facts.Weights.ZygoteBytes(shape, parent, bytes))
	better := value > s.value || value == s.value && smaller(shape, s.best.Shape) < 0
	if !s.found || one.Due && !s.best.Due || one.Due == s.best.Due && better {
		s.best, s.value, s.found = one, value, true
	}
	return one, true
}

// weigh adds up what a zygote of that shape would spare the demands, and how often they have missed one.
func (s *search) weigh(shape Shape) (one Candidate, missed int) {
	one.Shape = shape
	for i, d := range s.demands {
		if !s.facts.Asks.MayBecome(shape, d.Shape) {
			continue
		}
		if more := s.facts.Costs.saves(shape.Modules, d.Shape) - s.have[i]; more > 0 {
			one.Uses += d.Use.At(s.now)
			one.Benefit += d.Use.At(s.now) * more.Seconds()
			one.Due = one.Due || d.Due > 0
			missed += d.Missed
		}
	}
	return one, missed
}

// shared is what a demand has in common with another shape, if a zygote of that is worth making.
func (s *search) shared(i int, with Shape) (both Shape, ok bool) {
	d := s.demands[i]
	both = d.shared(with)
	worth := func() bool {
		return len(both.Set) > 0 && s.facts.Costs.saves(both.Modules, d.Shape)-s.have[i] >= worthSharing
	}
	if !worth() {
		return both, false
	}
	// Modules of one name may be of packages whose versions differ, or which require packages whose versions differ.
	both.Modules = slices.DeleteFunc(both.Modules, func(m string) bool { return !s.facts.Needs.importable(m, d.Set, both.Set) })
	return both, worth()
}
