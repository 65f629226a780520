package sched

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// calls are the calls that one event makes to other functions.
type calls struct {
	ctx      context.Context // of the invocations; it ends with the event
	cancel   context.CancelFunc
	deadline time.Time

	open atomic.Int32

	mu   sync.Mutex // held while a frame is written; whoever reads from the instance must not take it
	over bool       // the event has been answered
	err  error      // a frame could not be written; the connection is useless then
}

// call has the owner of the scheduler invoke a function for the handler, and later answers the handler.
func (r *run) call(body []byte) error {
	call, err := endpoint.ReadCall(body)
	if err != nil {
		return err
	}
	c := r.opened()
	open := c.open.Add(1)
	if open > plan.MaxUnanswered {
		return core.Errorf(core.KindExit, core.FaultHandler, "the handler of %s invoked %d functions and took no answers: it was ended", r.p.fn.Name, open)
	}
	held := r.hold(call.Event)
	if !held {
		call.Event = nil
	}
	go func() {
		defer c.open.Add(-1)
		result, err := r.result(&call, open, held)
		defer r.drop(result)
		c.answer(r.i, call.Number, result, err)
	}()
	return nil
}

// opened returns the calls of the event, which there are from now on.
func (r *run) opened() *calls {
	if r.calls == nil {
		r.calls = &calls{deadline: r.deadline}
		r.calls.ctx, r.calls.cancel = context.WithDeadline(context.Background(), r.deadline)
	}
	return r.calls
}

// answer answers a call, or a part of the response, unless the event is over.
func (c *calls) answer(i *instance, number uint64, result []byte, err error) {
	c.send(func() error {
		if i.mux != nil {
			return i.mux.SendAnswer(number, result, err, c.deadline)
		}
		return endpoint.SendAnswer(i.conn, number, result, err)
	})
}

// send sends a frame that is about the event, unless the event is over.
func (c *calls) send(frame func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over && c.err == nil {
		c.err = frame()
	}
}

// result runs a call, of which the event is held or was dropped for want of room. The result is held.
func (r *run) result(call *endpoint.Call, open int32, held bool) ([]byte, error) {
	if !held {
		return nil, r.full("the call of " + core.Clip(call.Function, 100)).Again()
	}
	result, err := r.invoke(*call, open)
	r.drop(call.Event)
	call.Event = nil
	if err == nil && !r.hold(result) {
		return nil, r.full("the result of " + core.Clip(call.Function, 100) + ", which has run,")
	}
	return result, err
}

// hold takes as many bytes of the budget as an event or a result of a call has.
func (r *run) hold(bytes []byte) bool {
	return r.p.s.held.Take(core.Namespace(r.p.fn.Name), int64(len(bytes)))
}

// drop gives back what hold took.
func (r *run) drop(bytes []byte) {
	r.p.s.held.Give(core.Namespace(r.p.fn.Name), int64(len(bytes)))
}

func (r *run) full(what string) *core.Error {
	return core.Errorf(core.KindExhausted, core.FaultHandler,
		"there is no room for %s: the worker holds %d MiB of calls and results that instances have not read, %d MiB of one namespace; take results before you call again",
		what, r.p.s.held.Total()>>20, r.p.s.held.Share()>>20)
}

func (r *run) invoke(call endpoint.Call, open int32) ([]byte, error) {
	depth := r.invocation.Depth + 1
	own := core.Namespace(r.p.fn.Name)
	function := core.FullName(call.Function, own)
	switch {
	case core.Namespace(function) != own && core.ValidName(function) == nil: // nobody has another name
		return nil, core.Errorf(core.KindInvalid, core.FaultHandler, "%s cannot invoke %s: a function invokes functions of its own namespace alone", r.p.fn.Name, core.Clip(function, 150))
	case open > plan.MaxCalls:
		return nil, core.Errorf(core.KindExhausted, core.FaultHandler,
			"%s has %d calls to other functions under way: no more at once", r.p.fn.Name, plan.MaxCalls).Again()
	case depth > core.MaxDepth:
		return nil, core.Errorf(core.KindLoop, core.FaultHandler, "%s cannot invoke %s: functions have invoked each other %d deep already; is this a loop?", r.p.fn.Name, call.Function, depth-1)
	case len(call.Event) > core.MaxEvent:
		return nil, core.Errorf(core.KindTooLarge, core.FaultHandler, "the event for %s has %d bytes, over the %d that an event may have", call.Function, len(call.Event), core.MaxEvent)
	}
	if err := value.Check(call.Event); err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultHandler, "the event for %s %w", call.Function, err)
	}
	result, err := r.p.s.config.Invoke(r.calls.ctx, core.Invocation{
		Function: function, ID: r.invocation.ID, Event: call.Event, Depth: depth, Deadline: r.deadline,
	})
	if err != nil {
		failed := *core.AsError(err)
		failed.Message = fmt.Sprintf("invoking %s: %s", core.Clip(call.Function, 100), failed.Message) // the handler chose the name
		return nil, &failed
	}
	return result.Body, nil
}

// end ends the calls of an event that is over. It waits for an answer that is being written, has no further
// one written, and gives up calls that are under way. It reports whether the connection can still be used.
func (c *calls) end() bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	c.over = true
	usable := c.err == nil
	c.mu.Unlock()
	c.cancel() // last: it has calls return, whose answers nobody awaits
	return usable
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
