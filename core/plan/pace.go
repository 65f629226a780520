package plan

import "time"

// How long the tree waits for others, and how often it tries.
const (
	ForkTimeout    = 5 * time.Second  // a fork takes milliseconds; what takes longer hangs
	PreloadTimeout = 60 * time.Second // a process start and imports, with cold disks
	RootTimeout    = PreloadTimeout + 10*time.Second
	HandlerTimeout = 10 * time.Second // the least for a handler's import, which may import packages, whatever its limit for one event
	Attempts       = 2                // of a start, when a driver or a zygote fails

	// A broken connection tells of an end before the kernel does, and the kernel ends the members of a pid namespace before its
	// first process is seen to end. So the reason for an end is known a moment later.
	EndGrace    = 200 * time.Millisecond // for the end of an instance whose connection broke
	ParentGrace = 100 * time.Millisecond // for the end of its zygote
)

// Most of a start is the fork and the way into the sandbox, and neither depends on the event. So a function that has been
// started from a zygote a second time within AheadLife has one child made ahead of the next start.
const (
	AheadLife = 30 * time.Second // of a parked child that nobody takes, and between the starts that ask for one

	// AheadDelay is when a child ahead is made after the start that asks for it, if its instance has not become free before: the
	// event is not to share the processor with it.
	AheadDelay = 5 * time.Millisecond

	maxAhead = 64 // functions that have one
)

// Ahead says whether one more function may have a child ahead, when so many have.
func Ahead(functions int) bool { return functions < maxAhead }

// HerdWait is how long a start waits for a zygote that others are about to miss often enough; then it imports for itself.
const HerdWait = 10 * time.Second

// Cold says whether one more start of a shape may import for itself, when so many do: just enough for a zygote to be made.
func Cold(importing int) bool { return importing < EnoughMisses }

// TurnLife is how long a turn is kept from others at the most. What takes longer waits for something other than a processor.
const TurnLife = 2 * time.Second

// Turns returns how many turns there are on a machine with so many processors: work that waits a little, for the kernel or a
// driver, keeps no processor idle.
func Turns(processors int) int { return max(2*processors, 4) }

// Shares returns how many of all turns one function may have, and how many all slow work together: whoever comes next finds
// one soon.
func Shares(turns int) (function, slow int) { return turns - 1, turns / 2 }

// Slow says whether a function whose own files took that long to import is slow work from then on. Most take some
// milliseconds, on a busy machine some tens.
func Slow(took time.Duration) bool { return took >= 200*time.Millisecond }

// When a node is measured, and when a zygote is planned again that there was no memory for.
const (
	FirstSample = time.Second // after a node is born its memory has settled
	NextSample  = 30 * time.Second
	NextRound   = time.Second // of planning, after there is more memory again
)

// Rest is how long the sampler rests after a measurement that took so long: it takes 5 % of one core at the most.
func Rest(took time.Duration) time.Duration { return 20 * took }
