package plan

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	assumedCost  = 50 * time.Millisecond // of importing a module that was never measured
	assumedBytes = 8 << 20               // of a process that was never measured
	halfLife     = 5 * time.Minute       // after which a use counts half
)

// Use is how much a thing is used: a count in which older uses weigh less.
type Use core.Use

// Once is the use of a thing that has been used once, now.
func Once(now time.Time) Use { return Use{1, now} }

// Add counts one more use.
func (u Use) Add(now time.Time) Use { return Use{u.At(now) + 1, now} }

// Plus adds two uses of the same thing.
func (u Use) Plus(o Use) Use {
	if o.Last.After(u.Last) {
		u, o = o, u
	}
	return Use{u.Weight + o.At(u.Last), u.Last}
}

// At returns the weight at a time. The time must not be before the last use.
func (u Use) At(now time.Time) float64 {
	if u.Weight == 0 {
		return 0
	}
	return u.Weight * math.Exp2(-float64(now.Sub(u.Last))/float64(halfLife))
}

// Module names a module in the tables of costs and weights. All versions of a module are assumed to cost the
// same.
type Module struct {
	Runtime core.RuntimeID
	Name    string
}

// Costs is the measured time of importing each module, with the modules that it imports itself.
type Costs map[Module]time.Duration

// Learn keeps the highest measurement. A lower one mostly means that part of the module had been imported
// before.
func (c Costs) Learn(rt core.RuntimeID, measured map[string]time.Duration) {
	for name, took := range measured {
		c[Module{rt, name}] = max(c[Module{rt, name}], took)
	}
}

func (c Costs) of(rt core.RuntimeID, name string) time.Duration {
	if cost, measured := c[Module{rt, name}]; measured {
		return max(cost, time.Microsecond)
	}
	return assumedCost
}

// saves returns the import time that want saves when it starts from a process with these modules.
func (c Costs) saves(modules []string, want Shape) time.Duration {
	var sum time.Duration
	for _, name := range want.Modules {
		if slices.Contains(modules, name) {
			sum += c.of(want.Runtime, name)
		}
	}
	return sum
}

// Weights is the measured memory, in bytes, that importing each module takes.
type Weights map[Module]int64

// Learn keeps the last measurement.
func (w Weights) Learn(rt core.RuntimeID, measured map[string]int64) {
	for name, bytes := range measured {
		w[Module{rt, name}] = bytes
	}
}

// InstanceBytes returns the memory that an instance is assumed to need. Measured is that of an earlier one,
// or 0. It is three quarters of the budget at most: one event that took more must not keep the function from
// starting for ever.
func InstanceBytes(measured, budget int64) int64 {
	if measured > 0 {
		return min(measured, budget/4*3)
	}
	return assumedBytes
}

// Room says whether a budget has memory for more processes without the end of others: a sixteenth of it, or
// enough for one.
func Room(bytes, budget int64) bool { return bytes+max(assumedBytes, budget/16) <= budget }

// ZygoteBytes returns the memory that a zygote forked from parent is assumed to need. Measured is that of an
// earlier one, or 0.
func (w Weights) ZygoteBytes(s Shape, parent Zygote, measured int64) int64 {
	if measured > 0 {
		return measured
	}
	bytes := int64(assumedBytes)
	for _, name := range Missing(s.Modules, parent.Modules) {
		bytes += w[Module{s.Runtime, name}]
	}
	return bytes
}

// Clone returns a copy that does not change when f learns. Asks and Needs are replaced, and never change.
func (f Facts) Clone() Facts {
	f.Costs, f.Weights = maps.Clone(f.Costs), maps.Clone(f.Weights)
	return f
}
