package plan

import (
	"maps"
	"slices"
	"time"
)

// FirstBackoff is the time before a zygote that could not import is tried again. It doubles with each
// failure.
const FirstBackoff = time.Minute

const (
	lastBackoff = time.Hour
	maxLeft     = 4 // zygotes that a round could not make, before it ends
)

// Block is a zygote that cannot be made.
type Block struct {
	Shape
	Reason   string
	failures int
	until    time.Time // zero: for good
}

// ForGood says whether the block never ends.
func (b Block) ForGood() bool { return b.until.IsZero() }

// again is the block after one more failed try.
func (b Block) again(reason string, now time.Time) Block {
	b.Reason, b.failures = reason, b.failures+1
	b.until = now.Add(min(FirstBackoff<<min(b.failures-1, 10), lastBackoff))
	return b
}

// forbids says whether s must not be made now. A block for good forbids every shape that contains its own.
func (b Block) forbids(s Shape, now time.Time) bool {
	if b.ForGood() {
		return b.partOf(s) && len(Missing(b.Modules, s.Modules)) == 0
	}
	return now.Before(b.until) && b.Runtime == s.Runtime && b.Key() == s.Key()
}

// Blocks are all blocks, each under the key of its shape.
type Blocks map[string]Block

// Forbid blocks a zygote that must not be forked, for good.
func (b Blocks) Forbid(s Shape, reason string) { b[s.Key()] = Block{Shape: s, Reason: reason} }

// Postpone blocks a zygote that could not be made for a while, which grows with each failure. A block for
// good stays.
func (b Blocks) Postpone(s Shape, reason string, now time.Time) {
	one, blocked := b[s.Key()]
	if blocked && one.ForGood() {
		return
	}
	one.Shape = s
	b[s.Key()] = one.again(reason, now)
}

// Forbidding returns the blocks that forbid s now.
func (b Blocks) Forbidding(s Shape, now time.Time) (forbidding []Block) {
	for _, one := range b {
		if one.forbids(s, now) {
			forbidding = append(forbidding, one)
		}
	}
	return forbidding
}

// Forget drops blocks that ended long ago. The next failure then counts as the first.
func (b Blocks) Forget(now time.Time) {
	maps.DeleteFunc(b, func(_ string, one Block) bool { return !one.ForGood() && now.Sub(one.until) > lastBackoff })
}

// Round is one round of planning. It makes zygotes until none is wanted, or until too many have failed.
type Round struct {
	left  []Block // zygotes that it could not make; another one may need less memory, or another driver
	made  []Block // zygotes that it has made; it makes none again that another one has replaced
	later bool    // zygotes are missed that it has not tried to make
}

// Leave leaves a zygote for a later round.
func (r *Round) Leave(s Shape, reason string, now time.Time) {
	r.left = append(r.left, Block{Shape: s, Reason: reason, until: now.Add(lastBackoff)})
}

// Made says that the round has made a zygote.
func (r *Round) Made(s Shape, now time.Time) {
	r.made = append(r.made, Block{Shape: s, until: now.Add(lastBackoff)})
}

// Later says that zygotes are missed that the round does not try to make.
func (r *Round) Later() { r.later = true }

// Unfinished says whether the round has left a zygote.
func (r *Round) Unfinished() bool { return len(r.left) > 0 || r.later }

// Over says whether the round has left so many zygotes that it ends.
func (r *Round) Over() bool { return len(r.left) == maxLeft }

// Blocks returns the blocks of this round, with all others.
func (r *Round) Blocks(all Blocks) []Block {
	return slices.AppendSeq(slices.Concat(r.left, r.made), maps.Values(all))
}

// Explain notes in the demands why the round has not made their zygotes. A round that is over has not tried
// all of them: the last reason then holds for the rest.
func (r *Round) Explain(demands Demands) {
	for _, b := range r.left {
		if d := demands[b.Key()]; d != nil {
			d.Why = b.Reason
		}
	}
	if !r.Over() {
		return
	}
	for _, d := range demands {
		if d.Missed > 0 && d.Why == "" {
			d.Why = r.left[maxLeft-1].Reason
		}
	}
}
