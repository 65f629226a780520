package plan

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	maxDemands = 1024 // shapes that are remembered
	maxPlanned = 64   // demands that one plan looks at, the heaviest first: planning is quadratic in them
)

// EnoughMisses is how many requests miss a zygote before it is made. A deploy counts as that many.
const EnoughMisses = 2

// Demand is what requests have asked for: all functions of one shape together.
type Demand struct {
	Shape
	Missed int // requests that no zygote had every module for, since the last one that had
	Use    Use
	Due    int    // deploys that wait for its zygote
	Bytes  int64  // of its zygote when that was measured, 0 before
	Why    string // the last try did not make its zygote, "" if there was none
}

// Demands are all demands, each under the key of its shape.
type Demands map[string]*Demand

// Add counts the use of a zygote with all of want, and the requests that missed it; 0 says that there was one. It returns
// whether a zygote may be wanted now that was not before. A demand more than are remembered takes the place of the least used
// one. A shape without modules is no demand, for a root zygote is all that it takes.
func (d Demands) Add(want Shape, missed int, by Use, now time.Time) (wanting bool) {
	if len(want.Modules) == 0 {
		return false
	}
	key := want.Key()
	one := d[key]
	if one == nil {
		if len(d) >= maxDemands {
			least := slices.MinFunc(slices.Collect(maps.Keys(d)), func(a, b string) int {
				return cmp.Compare(d[a].Use.At(now), d[b].Use.At(now))
			})
			delete(d, least)
		}
		one = &Demand{Shape: want}
		d[key] = one
	}
	one.Use = one.Use.Plus(by)
	if missed == 0 {
		one.Missed = 0
	}
	one.Missed += missed
	return missed > 0
}

// Lose has all zygotes of a runtime missed enough: those that there were fork no more.
func (d Demands) Lose(rt core.RuntimeID) {
	for _, one := range d {
		if one.Runtime == rt {
			one.Missed = max(one.Missed, EnoughMisses)
		}
	}
}

// Met forgets what was missed and is there now.
func (d Demands) Met(zygotes []Zygote, facts Facts) {
	for _, one := range d {
		if one.Missed > 0 && Whole(zygotes, one.Shape, facts) {
			one.Missed, one.Why = 0, ""
		}
	}
}

// Heaviest returns the demands that a plan looks at, those that miss a zygote first. The order depends on the demands alone.
func (d Demands) Heaviest(now time.Time) []Demand {
	all := make([]Demand, 0, len(d))
	for _, key := range slices.Sorted(maps.Keys(d)) {
		all = append(all, *d[key])
	}
	slices.SortStableFunc(all, func(a, b Demand) int {
		return cmp.Or(cmp.Compare(min(b.Missed, 1), min(a.Missed, 1)), cmp.Compare(b.Use.At(now), a.Use.At(now)))
	})
	return all[:min(len(all), maxPlanned)]
}
