package sched

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// lanes are those of one namespace. While events of several namespaces come, each event needs a lane of its
// namespace to begin, and has it for plan.LaneLife at most. So the processors have few events of each
// namespace to choose from, however many it has, and those of another one begin soon. A namespace that is
// alone needs no lanes.
type lanes struct {
	mu      sync.Mutex
	taken   int
	waiting []chan struct{} // events that wait for a lane, the longest waiting first; each closed when it has one
}

// enter waits for a lane of at most so many. The caller calls leave when its event is over. An error is the
// context's.
func (l *lanes) enter(ctx context.Context, most int) (leave func(), err error) {
	l.mu.Lock()
	if l.taken < most {
		l.taken++
		l.mu.Unlock()
		return l.lane(), nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return l.lane(), nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	at := slices.Index(l.waiting, turn)
	if at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
	l.mu.Unlock()
	if at < 0 {
		l.leave()
	}
	return nil, ctx.Err()
}

// lane returns how a lane that was just taken is given back.
func (l *lanes) lane() (leave func()) {
	put := sync.OnceFunc(l.leave)
	late := time.AfterFunc(plan.LaneLife, put)
	return func() { late.Stop(); put() }
}

// leave gives a lane to the event that has waited longest.
func (l *lanes) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.taken--
		return
	}
	close(l.waiting[0])
	l.waiting = l.waiting[1:]
}
