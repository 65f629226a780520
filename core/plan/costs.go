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

// Once is the use of what has been used once, now.
func Once(now time.Time) Use { return Use{1, now} }

// Add counts one more use.
func (u Use) Add(now time.Time) Use { return Use{u.At(now) + 1, now} }

// Plus is the use of what both are the use of.
func (u Use) Plus(o Use) Use {
	if o.Last.After(u.Last) {
		u, o = o, u
	}
	return Use{u.Weight + o.At(u.Last), u.Last}
}

// At is how much the use weighs at a time, which is not before the last use.
func (u Use) At(now time.Time) float64 {
	if u.Weight == 0 {
		return 0
	}
	return u.Weight * math.Exp2(-float64(now.Sub(u.Last))/float64(halfLife))
}

// Module names a module in the tables of costs and weights. All its versions are taken to cost the same.
type Module struct {
	Runtime core.RuntimeID
	Name    string
}

// Costs is the measured time of importing each module, with what it imports itself.
type Costs map[Module]time.Duration

// Learn keeps the highest measurement: a lower one mostly means that another module had done a part of the work.
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

// saves is how much import time want is spared when it starts where the modules have been imported.
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

// InstanceBytes is the memory that an instance is taken to need: as measured of an earlier one, if there was one.
func InstanceBytes(measured int64) int64 {
	if measured > 0 {
		return measured
	}
	return assumedBytes
}

// ZygoteBytes is the memory that a zygote forked from parent is taken to need: as measured of an earlier one, if there was one.
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

// Clone returns facts that do not change when these learn costs or weights. Asks and Needs never change.
func (f Facts) Clone() Facts {
	f.Costs, f.Weights = maps.Clone(f.Costs), maps.Clone(f.Weights)
	return f
}
