package packages

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// graph chooses what packages require, so that each has the closure that it wants. Packages are known by
// their place in the order of what they want: a package requires only earlier ones, whose closures are known
// by then and not larger.
type graph struct {
	profile  *profile.Profile
	packages []Package
	wanted   []int
	weights  []float64      // sums of the popularity of all packages before a place
	closures []map[int]span // of each package: its members, with the versions that it allows of each
	seed     uint64
}

// span is the versions from the first to the last one.
type span struct{ first, last int }

func (s span) meet(o span) span { return span{max(s.first, o.first), min(s.last, o.last)} }
func (s span) empty() bool      { return s.first > s.last }

func newGraph(p *profile.Profile, all []Package, wanted []int, seed uint64) *graph {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return wanted[a] - wanted[b] })
	g := &graph{profile: p, seed: seed, weights: []float64{0}, closures: make([]map[int]span, len(all))}
	for place, i := range order {
		g.packages = append(g.packages, all[i])
		g.wanted = append(g.wanted, min(wanted[i], place+1))
		g.weights = append(g.weights, g.weights[place]+all[i].Popularity)
	}
	return g
}

// link returns the packages with what they require.
func (g *graph) link() []Package {
	for i := range g.packages {
		random := rand.New(Numbers(g.seed, g.profile.Language, "requires", g.packages[i].Name))
		have := map[int]span{i: {0, len(g.packages[i].Versions) - 1}}
		// A package requires about as many directly as the root of its closure: ReqBench has 2, 4, 5 and 10
		// for 4, 16, 22 and 58.
		direct := int(math.Ceil(math.Sqrt(float64(g.wanted[i] - 1))))
		for len(have) < g.wanted[i] && g.require(random, i, have, max(1, direct-len(g.packages[i].Requires))) {
		}
		g.closures[i] = have
		g.packages[i].Closure = len(have)
	}
	return g.packages
}

// require has package i require one more, after which as many as left are to complete its closure. It is
// false if there is none.
func (g *graph) require(random *rand.Rand, i int, have map[int]span, left int) bool {
	rest := g.wanted[i] - len(have)
	end := sort.SearchInts(g.wanted, rest+1) // those from here on bring too many, perhaps
	end = min(end, i)
	for _, least := range []int{rest / left, rest / left / 2, 1} {
		begin := sort.SearchInts(g.wanted[:end], least)
		for range 8 {
			if begin < end && g.add(random, i, g.popular(random, begin, end), have) {
				return true
			}
		}
	}
	if end == 0 {
		return false
	}
	for d, start := 0, random.IntN(end); d < end; d++ {
		if g.add(random, i, (start+d)%end, have) {
			return true
		}
	}
	return false
}

// popular draws one of the packages from begin to end by their popularity.
func (g *graph) popular(random *rand.Rand, begin, end int) int {
	u := g.weights[begin] + random.Float64()*(g.weights[end]-g.weights[begin])
	return min(max(begin, sort.SearchFloat64s(g.weights, u)-1), end-1)
}

// add has package i require d, unless it does already, or something that it requires cannot be installed
// together with d.
func (g *graph) add(random *rand.Rand, i, d int, have map[int]span) bool {
	if _, already := have[d]; already {
		return false
	}
	requirement, allowed := g.constrain(random, d)
	for member, s := range g.closures[d] {
		if member == d {
			s = allowed
		}
		if old, both := have[member]; both && old.meet(s).empty() {
			return false
		}
	}
	for member, s := range g.closures[d] {
		if member == d {
			s = allowed
		}
		if old, both := have[member]; both {
			s = old.meet(s)
		}
		have[member] = s
	}
	g.packages[i].Requires = append(g.packages[i].Requires, requirement)
	return true
}

// constrain makes the requirement of a package, and tells which of its versions are allowed. What a
// requirement names is the version that was the newest when its author wrote it: seldom long ago, as an
// assumption.
func (g *graph) constrain(random *rand.Rand, d int) (Requirement, span) {
	versions := g.packages[d].Versions
	last := len(versions) - 1
	at := max(0, last-int(random.ExpFloat64()*0.7))
	r := Requirement{Package: g.packages[d].Name, Version: versions[at].Number}
	c := g.profile.Constraints
	switch u := random.Float64(); {
	case u < c.Any:
		r.Allows, r.Version = Any, ""
		return r, span{0, last}
	case u < c.Any+c.AtLeast:
		r.Allows = AtLeast
		return r, span{at, last}
	case u < c.Any+c.AtLeast+c.Compatible:
		r.Allows = Compatible
		to := at
		for to < last && major(versions[to+1].Number) == major(versions[at].Number) {
			to++
		}
		return r, span{at, to}
	}
	r.Allows = Exact
	return r, span{at, at}
}
