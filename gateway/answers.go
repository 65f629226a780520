package gateway

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// answers are the large answers that the worker has in memory until callers have taken them. Together they
// have no more than the budget: a result that finds no room stays in its instance until there is some. Then
// those that have taken longest are cut off, of the namespace that is in the way.
type answers struct {
	budget *core.Budget
	mu     sync.Mutex
	kept   []*answer     // the oldest first
	fewer  chan struct{} // closed when one of them is over
}

// answer is one of them.
type answer struct {
	namespace  string
	connection *http.ResponseController
	bytes      int64
	began      time.Time
	cut        bool
}

// patient is the time in which an answer can be taken, while there is no room for one more.
const patient = time.Second

func newAnswers() *answers { return &answers{budget: core.EventBudget(), fewer: make(chan struct{})} }

// take waits until there is room for an answer of so many bytes.
func (a *answers) take(ctx context.Context, one *answer, bytes int) error {
	one.bytes = min(int64(bytes), a.budget.Share())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, fewer := a.tryTake(one)
		if fewer == nil {
			return nil
		}
		timer.Reset(wait)
		select {
		case <-fewer:
		case <-timer.C:
		case <-ctx.Done():
			one.bytes = 0
			return context.Cause(ctx)
		}
	}
}

// tryTake returns nil if there was room, else what to wait for, and how long at most.
func (a *answers) tryTake(one *answer) (wait time.Duration, fewer <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.budget.Take(one.namespace, one.bytes) {
		one.began, one.cut = time.Now(), false
		a.kept = append(a.kept, one)
		return 0, nil
	}
	return a.cutOldest(one.namespace), a.fewer
}

// cutOldest ends the answer that has taken longest of the namespace that has most, if that is more than
// patient. Who shares a namespace with it waits for that too. It returns when to look again. The caller holds
// mu.
func (a *answers) cutOldest(namespace string) time.Duration {
	greatest := a.budget.Greatest()
	for _, one := range a.kept {
		if one.cut || one.namespace != namespace && one.namespace != greatest {
			continue
		}
		if left := patient - time.Since(one.began); left > 0 {
			return left
		}
		one.cut = true
		_ = one.connection.SetWriteDeadline(time.Unix(1, 0)) // its write fails, and it is over
		return patient
	}
	return patient
}

// give ends an answer, which may have taken nothing.
func (a *answers) give(one *answer) {
	if one.bytes == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budget.Give(one.namespace, one.bytes)
	one.bytes = 0
	a.kept = slices.DeleteFunc(a.kept, func(other *answer) bool { return other == one })
	close(a.fewer)
	a.fewer = make(chan struct{})
}
