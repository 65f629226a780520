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
	Root    bool // a root zygote: evicted after everything else
	Spare   bool // a zygote that the goal does without: worth less than nothing
	Use     Use
	Saves   time.Duration // by each use
	Bytes   int64         // that its end frees
	Charged int64         // bytes, as counted in the budget: with its part of shared memory
}

// Value returns the seconds that a node saves, weighed by use, for each byte; less than nothing for a spare
// one.
func (l Leaf) Value(now time.Time) float64 {
	if l.Spare {
		return -1
	}
	return l.Use.At(now) * l.Saves.Seconds() / float64(max(l.Bytes, 1))
}

// Victim chooses the leaf of the lowest value, and returns that value: seconds saved, weighed by use, for
// each byte.
func Victim(leaves []Leaf, now time.Time) (least Leaf, value float64, found bool) {
	for _, l := range leaves {
		v := l.Value(now)
		if !found || least.Root && !l.Root || least.Root == l.Root && (v < value || v == value && l.Use.Last.Before(least.Use.Last)) {
			least, value, found = l, v, true
		}
	}
	return least, value, found
}

// Necessary is the value of a node that a request or a deploy waits for. It is higher than that of any leaf.
func Necessary() float64 { return math.Inf(1) }

// Reclaim chooses the leaves to evict when memory is short of that many bytes for a node of that value. It
// takes the least valuable first, and none that has as much value. When they do not suffice it chooses none,
// unless the node is necessary.
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
