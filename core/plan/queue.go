package plan

import (
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// How many requests of a function wait while no instance is being started for them, and how long.
const (
	MaxWaiting = 256
	MaxWait    = 10 * time.Second
)

// FreshTries is the number of fresh instances that an event is sent to, if they end before they have read it.
const FreshTries = 2

// LargeAnswer is how long an instance may take to send a large answer once there is room for it, also after
// its deadline.
const LargeAnswer = 5 * time.Second

// One event may have MaxCalls calls under way. Further calls are refused, and the refusals count as
// unanswered until they are written. Only an instance that reads no answers exceeds MaxUnanswered.
const (
	MaxCalls      = 64
	MaxUnanswered = 1024
)

// Neighbours tells whether events of several namespaces come: whether one of another namespace than the
// latest came less than a second ago. The zero value has seen none.
type Neighbours struct {
	latest string
	at     time.Time // of the latest event
	other  time.Time // of the latest event of another namespace than that
}

// Seen returns the neighbours after an event of a namespace.
func (n Neighbours) Seen(namespace string, now time.Time) Neighbours {
	if namespace != n.latest {
		n.other = n.at
	}
	return Neighbours{latest: namespace, at: now, other: n.other}
}

// Several says whether events of several namespaces come.
func (n Neighbours) Several(now time.Time) bool { return now.Sub(n.other) < time.Second }

// LaneLife is how long an event has a lane at most. One that takes longer mostly waits for something other
// than a processor.
const LaneLife = 5 * time.Millisecond

// Lanes returns how many lanes a namespace has on a machine with that many processors: half of them, at least
// one. The other half is free for who comes next.
func Lanes(processors int) int { return max(processors/2, 1) }

// Share returns how many of the worker's instances a function may keep while another function wants one, and
// that many functions have some: an equal part for each of them and for the other one.
func Share(limit, functions int) int { return limit / (functions + 1) }

// Quota returns the bound that one more instance with that limit of memory would exceed, beside those that a
// namespace has; "" when there is none.
func Quota(quotas, used core.Quotas, memory int64) string {
	switch {
	case quotas.Instances > 0 && used.Instances >= quotas.Instances:
		return core.QuotaInstances
	case quotas.Memory > 0 && used.Memory+memory > quotas.Memory:
		return core.QuotaMemory
	}
	return ""
}

// Rate is how many events a namespace has left. It has those of one second at once.
type Rate struct {
	left float64
	at   time.Time // of left; zero before the first event
}

// At returns the rate at a later time, and how long the next event has to wait, 0 if it may begin.
func (r Rate) At(perSecond int, now time.Time) (Rate, time.Duration) {
	most := float64(perSecond)
	if r.at.IsZero() {
		r = Rate{most, now}
	}
	r = Rate{min(most, r.left+now.Sub(r.at).Seconds()*most), now}
	if r.left >= 1 {
		return r, 0
	}
	return r, time.Duration((1 - r.left) / most * float64(time.Second))
}

// Taken returns the rate after an event has begun.
func (r Rate) Taken() Rate { return Rate{r.left - 1, r.at} }

// Usual returns the moving average of how long an event has its instance, after one that took that long. The
// average is zero before the first event.
func Usual(usual, took time.Duration) time.Duration {
	if usual == 0 {
		return took
	}
	return usual + (took-usual)/8
}
