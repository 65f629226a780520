package plan

import (
	"slices"
	"time"
)

const worthSharing = 20 * time.Millisecond // the least import time for which functions share a zygote

// Candidate is a zygote that could be made.
type Candidate struct {
	Shape
	Uses    float64 // of the demands that it saves something
	Benefit float64 // seconds that it saves them, weighed by use
	Due     bool    // a deploy waits for it
}

// Wanted chooses the missing zygote to make next. One that a deploy waits for comes first, then the one of
// the highest value. The benefit of a candidate is the import time that it saves each demand that may start
// from it, beyond what the demand's nearest zygote saves already, weighed by the use of that demand. Its
// value is that benefit for each byte that it takes.
//
// Wanted takes two passes. The first considers, for each demand that misses a zygote, a zygote of the
// demand's own shape, and one of the shape that it shares with each other demand. A shared zygote wins when
// it serves both well; it is made first, and becomes the parent of both. The second pass prefers a demand's
// own zygote to one that contains it, for the same reason.
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
	own   []Candidate     // of the shapes of demands
	best  Candidate
	value float64 // of the best
	found bool
}

// consider weighs a shape, and keeps it if it is the best so far. Bytes is the memory that it takes, 0 if
// that was never measured. It returns false when the shape was considered before, is blocked, or was not
// missed enough.
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

// weigh adds up the benefit of a zygote of that shape, and the requests that missed one.
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

// shared returns what a demand has in common with another shape. It returns false when no zygote of that is
// worth making.
func (s *search) shared(i int, with Shape) (both Shape, ok bool) {
	d := s.demands[i]
	both = d.shared(with)
	worth := func() bool {
		return len(both.Set) > 0 && s.facts.Costs.saves(both.Modules, d.Shape)-s.have[i] >= worthSharing
	}
	if !worth() {
		return both, false
	}
	// Modules of the same name may belong to different versions of a package, or to packages that require
	// different versions.
	both.Modules = slices.DeleteFunc(both.Modules, func(m string) bool { return !s.facts.Needs.importable(m, d.Set, both.Set) })
	return both, worth()
}
