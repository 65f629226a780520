package plan

import (
	"math"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Leaf is a node that could be evicted: nobody holds it and nothing was forked from it.
type Leaf struct {
	ID      core.NodeID
	Root    bool          // a root zygote: evicted after everything else
	Use     Use           // of it
	Saves   time.Duration // each use
	Bytes   int64         // that its end gives back
	Charged int64         // that it counts for in the budget, with its part of what it shares
}

func (l Leaf) value(now time.Time) float64 {
	return l.Use.At(now) * l.Saves.Seconds() / float64(max(l.Bytes, 1))
}

// Victim chooses the least valuable leaf, and returns its value: seconds saved, weighed by use, per byte.
func Victim(leaves []Leaf, now time.Time) (least Leaf, value float64, found bool) {
	for _, l := range leaves {
		v := l.value(now)
		if !found || least.Root && !l.Root || least.Root == l.Root && (v < value || v == value && l.Use.Last.Before(least.Use.Last)) {
			least, value, found = l, v, true
		}
	}
	return least, value, found
}

// Necessary is the value of what a request or a deploy waits for: nothing that could be evicted for it has as much.
func Necessary() float64 { return math.Inf(1) }

// Reclaim chooses the leaves to evict when memory is short of so many bytes for something of that value: the least valuable
// first, and none that has as much value. When these are not enough it chooses none, unless it is necessary.
func Reclaim(leaves []Leaf, short int64, value float64, now time.Time) (victims []Leaf) {
	leaves = slices.Clone(leaves)
	for short > 0 {
		least, v, found := Victim(leaves, now)
		if !found || v >= value {
			break
		}
		victims = append(victims, least)
		short -= least.Charged
		leaves = slices.DeleteFunc(leaves, func(l Leaf) bool { return l.ID == least.ID })
	}
	if short > 0 && value < Necessary() {
		return nil
	}
	return victims
}
