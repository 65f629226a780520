package sched

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// instance is a node with the connection to it.
type instance struct {
	node  *tree.Node
	conn  net.Conn
	since time.Time // it is idle; guarded by the pool's lock

	mu    sync.Mutex // guards the deadline of conn against an interrupt that comes late
	round uint64     // counts deadlines
}

// begin sets a deadline, and makes void the interrupts of earlier ones.
func (i *instance) begin(deadline time.Time) (round uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.round++
	_ = i.conn.SetDeadline(deadline) // fails only on a closed connection, and so will what follows
	return i.round
}

// interrupt ends reading and writing before their deadline.
func (i *instance) interrupt(round uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.round == round {
		_ = i.conn.SetDeadline(time.Unix(1, 0))
	}
}

// serve runs one event on a held instance, and gives the instance back or kills it. It returns when it was done. The goroutine
// of the request does the reading itself; only when the caller goes away another one reads on.
func (p *pool) serve(ctx context.Context, i *instance, invocation core.Invocation, began time.Time) ([]byte, time.Time, error) {
	deadline := began.Add(p.fn.Limits.Timeout)
	round := i.begin(deadline)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { i.interrupt(round) })()
	}
	x := endpoint.New(i.conn)
	sending := x.Send(invocation.ID, invocation.Event, deadline)
	if sending != nil {
		x.Free()
		return nil, time.Now(), p.unsent(ctx, i, sending)
	}
	kind, body, err := x.Receive()
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil && time.Now().Before(deadline) {
		i.begin(deadline)
		go p.readOn(x, i)
		return nil, time.Now(), canceled(p.fn)
	}
	body, err = p.conclude(x, i, kind, body, err)
	return body, time.Now(), err
}

// readOn hears the end of an event whose caller has gone away.
func (p *pool) readOn(x *endpoint.Exchange, i *instance) {
	kind, body, err := x.Receive()
	if _, err := p.conclude(x, i, kind, body, err); err != nil {
		p.s.log.Debug("invoke", "fn", p.fn.Name, "node", i.node.ID(), "err", err)
	}
}

// unsent deals with an event that the instance did not get whole: the instance cannot be used any more.
func (p *pool) unsent(ctx context.Context, i *instance, err error) error {
	i.node.Kill()
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case ctx.Err() != nil:
		return canceled(p.fn)
	}
	return p.late()
}

// conclude turns what was read into the event's outcome, and gives the instance back when it can serve another event.
func (p *pool) conclude(x *endpoint.Exchange, i *instance, kind byte, body []byte, err error) ([]byte, error) {
	x.Free()
	if err == nil {
		body, err = endpoint.Answer(kind, body)
		if !endpoint.IsBroken(err) {
			if p.fn.Limits.Reuse {
				p.give(grant{instance: i})
			} else {
				i.node.Kill()
			}
			return body, err
		}
	}
	switch {
	case endpoint.IsBroken(err), endpoint.IsUnsent(err):
		i.node.Kill()
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		i.node.Kill()
		return nil, p.late()
	}
	return nil, i.node.Ended()
}

func (p *pool) late() *core.Error {
	return core.Errorf(core.KindTimeout, core.FaultHandler, "the handler of %s took longer than its timeout of %v and was killed; raise timeout_ms or do less", p.fn.Name, p.fn.Limits.Timeout)
}
