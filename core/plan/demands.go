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
	maxPlanned = 64   // demands that Wanted considers; it is quadratic in them
)

// EnoughMisses is the number of requests that miss a zygote before it is made. A deploy counts as that many.
const EnoughMisses = 2

// Demand is the demand for a zygote of one shape, by all functions of that shape together.
type Demand struct {
	Shape
	Missed int // requests that found no zygote with every module, since the last one that did
	Use    Use
	Due    int    // deploys that wait for its zygote
	Bytes  int64  // memory of its zygote, 0 before that was measured
	Why    string // the reason why the last try did not make its zygote
}

// Demands are all demands, each under the key of its shape.
type Demands map[string]*Demand

// Add counts the use of a zygote with all of want, and the requests that missed it; 0 means that the zygote
// was there. It returns whether another zygote may be wanted now. When there are too many demands, a new one
// replaces the one that is used least. A shape without modules is no demand, because every root zygote serves
// it.
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

// Lose notes that the zygotes of a runtime fork no more: each of them counts as missed enough to be made
// again.
func (d Demands) Lose(rt core.RuntimeID) {
	for _, one := range d {
		if one.Runtime == rt {
			one.Missed = max(one.Missed, EnoughMisses)
		}
	}
}

// Met forgets the misses of demands whose zygote is there now.
func (d Demands) Met(zygotes []Zygote, facts Facts) {
	for _, one := range d {
		if one.Missed > 0 && Whole(zygotes, one.Shape, facts) {
			one.Missed, one.Why = 0, ""
		}
	}
}

// All returns all demands, by use. The order is the same for the same demands.
func (d Demands) All(now time.Time) []Demand {
	all := make([]Demand, 0, len(d))
	for _, key := range slices.Sorted(maps.Keys(d)) {
		all = append(all, *d[key])
	}
	slices.SortStableFunc(all, func(a, b Demand) int { return cmp.Compare(b.Use.At(now), a.Use.At(now)) })
	return all
}

// Heaviest returns the demands that Wanted considers: first those that miss a zygote, then by use. Only the
// misses of those count that may take memory now; later says whether others have missed one often enough.
// There are no demands if nothing that counts is missed.
func (d Demands) Heaviest(now time.Time, may func(key string, d *Demand) bool) (heaviest []Demand, later bool) {
	left := map[string]bool{}
	missing := false
	for key, one := range d {
		if one.Missed == 0 || may(key, one) {
			missing = missing || one.Missed > 0
			continue
		}
		left[key] = true
		later = later || one.Missed >= EnoughMisses
	}
	if !missing {
		return nil, later
	}
	all := d.All(now)
	for i := range all {
		if len(left) > 0 && left[all[i].Key()] {
			all[i].Missed = 0
		}
	}
	slices.SortStableFunc(all, func(a, b Demand) int { return cmp.Compare(min(b.Missed, 1), min(a.Missed, 1)) })
	return all[:min(len(all), maxPlanned)], later
}
