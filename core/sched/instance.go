package sched

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// instance is a node with the connection to it.
type instance struct {
	node *tree.Node
	conn *endpoint.Conn
	mux  *endpoint.Mux // has conn, if the instance may have several events at once; else nil

	// Guarded by the pool's mutex.
	since   time.Time // since when it is idle
	busy    int       // events that it has, if it may have several
	late    int       // of those, the ones whose deadline has passed
	retired bool      // it takes no event any more, and ends after those that it has

	mu    sync.Mutex // protects the deadline of conn from a late interrupt
	round uint64     // counts deadlines
	sent  bool       // the instance has the event
}

// begin sets a deadline. Interrupts of earlier deadlines have no effect any more.
func (i *instance) begin(deadline time.Time) (round uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.round++
	i.sent = false
	_ = i.conn.SetDeadline(deadline) // a closed connection fails again at the next read or write
	return i.round
}

// interrupt ends the sending of the event, or the reading of its answer, before the deadline of that round.
// Half an answer to a call of the handler would be the end of the instance, so what is written to it later
// goes on.
func (i *instance) interrupt(round uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.round != round:
	case i.sent:
		_ = i.conn.SetReadDeadline(time.Unix(1, 0))
	default:
		_ = i.conn.SetDeadline(time.Unix(1, 0))
	}
}

// send sends the event.
func (i *instance) send(x *endpoint.Exchange, invocation core.Invocation, deadline time.Time) error {
	err := x.Send(invocation, deadline)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sent = true
	return err
}

// run is one event on an instance that is held for it.
type run struct {
	p          *pool
	i          *instance
	x          *endpoint.Exchange
	event      *endpoint.Event // in the place of x, of an instance that has several
	invocation core.Invocation
	known      core.Result // of the outcome, before the handler runs; Phases.Total is the time until then
	began      time.Time
	deadline   time.Time
	calls      *calls // nil before the first, and before the first part of a response
	passed     int64  // bytes of the response, in parts
	begun      bool   // the response, in parts
	refused    error  // why no part of it is passed on any more
}

// serve runs one event on a held instance, and gives the instance back or kills it. It returns the time at
// which the event ended. The goroutine of the request reads the answer itself. Only when the caller goes
// away, another goroutine reads on.
func (p *pool) serve(ctx context.Context, i *instance, invocation core.Invocation, known core.Result, began time.Time) ([]byte, time.Time, error) {
	if i.mux != nil {
		return p.serveBeside(ctx, i, invocation, known, began)
	}
	r := run{p: p, i: i, x: endpoint.New(i.conn), invocation: invocation, known: known, began: began, deadline: p.deadline(began, invocation)}
	round := i.begin(r.deadline)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { i.interrupt(round) })()
	}
	r.x.Asks = invocation.Room != nil
	i.node.Begin(invocation.ID)
	if err := i.send(r.x, invocation, r.deadline); err != nil {
		r.x.Free()
		return nil, time.Now(), r.unsent(ctx, err)
	}
	kind, body, err := r.receive(ctx)
	if errors.Is(err, endpoint.ErrLarge) {
		kind, body, err = r.receiveLarge(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil && time.Now().Before(r.deadline) {
		r.refused = canceled(p.fn)
	}
	if r.refused != nil {
		i.begin(r.deadline) // no interrupt any more
		r.leave(ctx)
		return nil, time.Now(), r.refused
	}
	body, err = r.conclude(kind, body, err)
	return body, time.Now(), err
}

// receive reads the answer, starts the calls that come before it, and passes on the parts of the response. It
// returns errRefused when one cannot be passed on; called again, it reads on, and refuses all that follow.
func (r *run) receive(ctx context.Context) (kind byte, body []byte, err error) {
	for {
		if r.event != nil {
			kind, body, err = r.event.Receive(ctx, r.deadline)
		} else {
			kind, body, err = r.x.Receive()
		}
		switch {
		case err != nil:
			return 0, nil, err
		case endpoint.IsCall(kind):
			err = r.call(body)
		case endpoint.IsPart(kind):
			err = r.part(body)
		default:
			return kind, body, nil
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// receiveLarge waits until there is room for the answer, and reads it. The handler has returned, so its time
// is not what passes meanwhile.
func (r *run) receiveLarge(ctx context.Context) (kind byte, body []byte, err error) {
	if r.invocation.Room.Take(ctx, r.x.Size()) != nil {
		r.refused = canceled(r.p.fn)
	}
	if soon := time.Now().Add(plan.LargeAnswer); soon.After(r.deadline) {
		r.deadline = soon
	}
	if r.refused != nil {
		return 0, nil, errRefused
	}
	r.i.begin(r.deadline)
	return r.receive(ctx)
}

// leave reads on without the caller. If that has gone, and is not only refused, the instance is told.
func (r *run) leave(ctx context.Context) {
	if ctx.Err() != nil && r.i.conn.Gone {
		send := func() error { return r.event.SendGone(r.deadline) }
		if r.event == nil {
			token := r.x.Leave()
			send = func() error { return endpoint.SendGone(r.i.conn, token) }
		}
		go r.opened().send(send) // who reads from the instance does not wait for it
	}
	go r.readOn()
}

// readOn reads the answer to an event whose caller has gone away, and reports it if the event failed.
func (r *run) readOn() {
	conclude := r.conclude
	if r.event != nil {
		conclude = r.concludeBeside
	} else {
		r.x.Asks = false
	}
	kind, body, err := r.receive(context.Background())
	if _, err := conclude(kind, body, err); err != nil {
		r.i.node.Heard()
		r.p.s.config.Unheard(r.p.fn, r.invocation, r.i.node.ID(), err)
	}
}

// unsent ends an instance that did not get the whole event, and returns the error of that event.
func (r *run) unsent(ctx context.Context, err error) error {
	r.i.node.Kill()
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		r.p.s.log.Debug("invoke", "fn", r.p.fn.Name, "node", r.i.node.ID(), "err", err)
		return err
	case ctx.Err() != nil:
		return canceled(r.p.fn)
	}
	return r.late()
}

// conclude turns the frame that was read into the event's outcome. It gives the instance back if it can serve
// another event, and else kills it.
func (r *run) conclude(kind byte, body []byte, err error) ([]byte, error) {
	r.x.Free()
	r.i.node.Over()
	if err == nil {
		body, err = endpoint.Answer(kind, body)
		if !endpoint.IsBroken(err) {
			if r.calls.end() && r.p.fn.Limits.Reuse && !core.IsKind(err, core.KindExit) && r.fit() {
				r.p.give(grant{instance: r.i})
			} else {
				r.i.node.Kill()
			}
			return body, err
		}
	}
	var told *core.Error
	switch {
	case endpoint.IsBroken(err), endpoint.IsUnsent(err), errors.As(err, &told):
		r.i.node.Kill()
	case errors.Is(err, os.ErrDeadlineExceeded):
		r.i.node.Kill()
		err = r.late()
	default:
		err = r.i.node.Ended()
	}
	r.calls.end() // only after the instance has ended, because an answer may wait for the instance
	return nil, err
}

// fit reports whether the instance can have another event. Its handler may have left something behind that
// makes it unfit.
func (r *run) fit() bool {
	why := r.i.node.Unfit()
	if why != "" {
		r.p.s.config.Retired(r.p.fn, r.invocation, r.i.node.ID(), why)
	}
	return why == ""
}

func (r *run) late() *core.Error {
	if r.deadline.Equal(r.invocation.Deadline) {
		return core.Errorf(core.KindTimeout, core.FaultHandler, "the handler of %s did not answer before the deadline of the event that invoked it, and %s", r.p.fn.Name, r.fate())
	}
	return core.Errorf(core.KindTimeout, core.FaultHandler, "the handler of %s took longer than its timeout of %v and %s; raise timeout_ms or do less", r.p.fn.Name, r.p.fn.Limits.Timeout, r.fate())
}

// fate is what happens to a handler that is late.
func (r *run) fate() string {
	if r.i.mux != nil {
		return "will be killed when the other events of its instance are over"
	}
	return "was killed"
}
