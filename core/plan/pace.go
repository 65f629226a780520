package plan

import "time"

// How long the tree waits for drivers and processes, and how often it tries.
const (
	ForkTimeout    = 5 * time.Second                 // a fork takes milliseconds; one that takes longer hangs
	PreloadTimeout = 60 * time.Second                // a process start and imports, with cold disks
	RootTimeout    = PreloadTimeout + 10*time.Second // with its sandbox
	HandlerTimeout = 10 * time.Second                // at least; a handler's import may import packages
	Attempts       = 2                               // of a start, when a driver or a zygote fails

	// A connection breaks before the kernel reports the end of the process, and the members of a pid
	// namespace end before its first process. So the reason for an end is known a moment later.
	EndGrace    = 200 * time.Millisecond // for the end of an instance whose connection broke
	ParentGrace = 100 * time.Millisecond // for the end of its zygote
)

// Most of a start is the fork and the way into the sandbox, and neither depends on the event. So a function
// that was started from a zygote a second time within AheadLife has one child made ahead of its next start.
const (
	AheadLife = 30 * time.Second // of a parked child that nobody takes

	// AheadDelay is the time from a start to making the next child ahead, unless the instance becomes free
	// before. The event should not share the processor with that work.
	AheadDelay = 5 * time.Millisecond

	maxAhead = 64 // functions that have a child ahead
)

// Ahead says whether one more function may have a child ahead, beside that many.
func Ahead(functions int) bool { return functions < maxAhead }

// HerdWait is the longest time that a start of a herd waits for its zygote. Then it imports for itself.
const HerdWait = 10 * time.Second

// Cold says whether one more start of a shape may import for itself, beside that many. Just enough do for the
// zygote to be wanted.
func Cold(importing int) bool { return importing < EnoughMisses }

// TurnLife is the longest time that a turn is kept from others. Work that takes longer waits for something
// other than a processor.
const TurnLife = 2 * time.Second

// Turns returns the number of turns on a machine with that many processors. There are more turns than
// processors, because work may wait for the kernel or a driver.
func Turns(processors int) int { return max(2*processors, 4) }

// Shares returns how many of all turns one function may have, one namespace beside others (as many as lanes),
// and all slow work. So whoever comes next finds a turn soon.
func Shares(turns int) (function, beside, slow int) { return turns - 1, max(turns/4, 1), turns / 2 }

// Slow says whether starts of a function are slow work, because its own files took that long to import. Most
// files take some milliseconds, and some tens on a busy machine.
func Slow(took time.Duration) bool { return took >= 200*time.Millisecond }

// How often the tree measures and plans.
const (
	FirstSample = time.Second // after the birth of a node: its memory has settled
	NextSample  = 30 * time.Second
	NextRound   = time.Second // of planning, after an unfinished round, when memory is freed
	NextGoal    = time.Minute // after the last one
)

// Piece is how long the planner of goals works before it rests.
const Piece = time.Millisecond

// Rest is how long the sampler rests after a measurement that took that long, and the planner of goals after
// a piece. So each uses 5 % of one core at the most.
func Rest(took time.Duration) time.Duration { return 20 * took }
