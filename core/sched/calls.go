package sched

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// One event may have maxCalls calls under way. Further calls are refused, and the refusals count as
// unanswered until they are written. Only an instance that reads no answers exceeds maxUnanswered.
const (
	maxCalls      = 64
	maxUnanswered = 1024
)

// maxName is the length, in bytes, to which an error clips the name of a function that a handler invoked.
const maxName = 100

// calls are the calls that one event makes to other functions.
type calls struct {
	ctx    context.Context // of the invocations; it ends with the event
	cancel context.CancelFunc

	open atomic.Int32

	mu   sync.Mutex // held while an answer is written; whoever reads from the instance must not take it
	over bool       // the event has been answered
	err  error      // an answer could not be written; the connection is useless then
}

// call has the owner of the scheduler invoke a function for the handler, and later answers the handler.
func (r *run) call(body []byte) error {
	call, err := endpoint.ReadCall(body)
	if err != nil {
		return err
	}
	if r.calls == nil {
		r.calls = new(calls)
		r.calls.ctx, r.calls.cancel = context.WithDeadline(context.Background(), r.deadline)
	}
	c := r.calls
	open := c.open.Add(1)
	if open > maxUnanswered {
		return core.Errorf(core.KindExit, core.FaultHandler, "the handler of %s invoked %d functions and took no answers: it was ended", r.p.fn.Name, open)
	}
	go func() {
		defer c.open.Add(-1)
		result, err := r.invoke(call, open)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.over && c.err == nil {
			c.err = endpoint.SendAnswer(r.i.conn, call.Number, result, err)
		}
	}()
	return nil
}

func (r *run) invoke(call endpoint.Call, open int32) ([]byte, error) {
	depth := r.invocation.Depth + 1
	switch {
	case open > maxCalls:
		return nil, core.Errorf(core.KindExhausted, core.FaultHandler,
			"%s has %d calls to other functions under way: no more at once", r.p.fn.Name, maxCalls).Again()
	case depth > core.MaxDepth:
		return nil, core.Errorf(core.KindLoop, core.FaultHandler, "%s cannot invoke %s: functions have invoked each other %d deep already; is this a loop?", r.p.fn.Name, call.Function, depth-1)
	case len(call.Event) > core.MaxEvent:
		return nil, core.Errorf(core.KindTooLarge, core.FaultHandler, "the event for %s has %d bytes, over the %d that an event may have", call.Function, len(call.Event), core.MaxEvent)
	}
	if err := value.Check(call.Event); err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultHandler, "the event for %s %w", call.Function, err)
	}
	result, err := r.p.s.config.Invoke(r.calls.ctx, core.Invocation{
		Function: call.Function, ID: r.invocation.ID, Event: call.Event, Depth: depth, Deadline: r.deadline,
	})
	if err != nil {
		failed := *core.AsError(err)
		failed.Message = fmt.Sprintf("invoking %s: %s", core.Clip(call.Function, maxName), failed.Message)
		return nil, &failed
	}
	return result.Body, nil
}

// end ends the calls of an event that is over. It gives up calls that are under way, and waits for an answer
// that is being written. It reports whether the connection can still be used.
func (c *calls) end() bool {
	if c == nil {
		return true
	}
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.err == nil
}

// deadline returns the deadline of an event: that of its own timeout or that of the event above, whichever is
// earlier.
func (p *pool) deadline(began time.Time, invocation core.Invocation) time.Time {
	deadline := began.Add(p.fn.Limits.Timeout)
	if above := invocation.Deadline; !above.IsZero() && above.Before(deadline) {
		return above
	}
	return deadline
}
