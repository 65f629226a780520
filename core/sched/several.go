package sched

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// Instances that may have several events at once. An event goes to an instance that has others and room for
// it, before it goes to an idle one: so those that are too many become idle, and end. A start counts as room
// for as many waiting requests as an instance may have events.
//
// No event can be ended alone. One that is late leaves its instance retired: that takes no event any more,
// and ends when its other events are over.

// room returns how many events an instance may have at once.
func (p *pool) room() int { return max(p.fn.Limits.Concurrency, 1) }

// coming returns for how many requests instances are being started. The caller holds mu.
func (p *pool) coming() int { return p.starting * p.room() }

// open begins to use an instance that was just started: it gets requests that wait. It ends with the
// connection.
func (p *pool) open(g grant) {
	i := g.instance
	i.mux = endpoint.NewMux(i.conn, func(request, stream string, text []byte, complete bool) int {
		return p.s.config.Printed(p.fn, core.LogLine{Node: i.node.ID(), Request: request, Stream: stream}, text, complete)
	})
	p.mu.Lock()
	for i.busy < p.room() {
		w := p.next()
		if w == nil {
			break
		}
		i.busy++
		w.c <- g
	}
	ends := p.place(i)
	p.mu.Unlock()
	if ends {
		i.node.Kill()
	}
	<-i.mux.Done()
	p.retire(i)
	if endpoint.IsBroken(i.mux.Err()) {
		i.node.Kill()
	} else {
		_ = i.node.Ended() // which sees to it that it does
	}
}

// add gives the instance one event more. The caller holds mu.
func (p *pool) add(i *instance) {
	i.busy++
	p.place(i) // does not end it: it has an event
}

// place puts an instance where a request finds it, and returns whether the caller has to end it. The caller
// holds mu.
func (p *pool) place(i *instance) (ends bool) {
	i.node.Has(i.busy)
	switch at := slices.Index(p.roomy, i); {
	case i.retired:
		p.roomy = without(p.roomy, i)
		return i.busy == i.late
	case i.busy == 0:
		p.roomy = without(p.roomy, i)
		now := time.Now()
		if i.retired = !i.node.Release(now) || p.drained || p.space.hungry.Load(); i.retired {
			return true
		}
		i.since = now
		p.idle = append(p.idle, i)
		p.arm(now)
	case i.busy == p.room():
		p.roomy = without(p.roomy, i)
	case at < 0:
		p.roomy = append(p.roomy, i)
	}
	return false
}

// over takes an event from its instance, which may have been late. The request that has waited longest gets
// the room.
func (p *pool) over(i *instance, late bool) {
	p.mu.Lock()
	i.busy--
	if late {
		i.late--
	}
	if len(p.waiting) > 0 && p.s.slots.gives(p, p.alive) {
		i.retired = true // another function gets an instance in its place
	}
	if !i.retired {
		if w := p.next(); w != nil {
			i.busy++
			w.c <- grant{instance: i, start: core.StartWarm}
		}
	}
	if i.busy > 0 {
		i.node.Served(time.Now())
	}
	ends := p.place(i)
	p.mu.Unlock()
	if ends {
		i.node.Kill()
	}
}

// retire gives an instance no event any more.
func (p *pool) retire(i *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i.retired = true
	p.idle, p.roomy = without(p.idle, i), without(p.roomy, i)
}

// outlived notes that an event of an instance is late, and ends the instance unless it has others that are
// not.
func (p *pool) outlived(i *instance) {
	p.mu.Lock()
	i.late++
	i.retired = true
	ends := p.place(i)
	p.mu.Unlock()
	if ends {
		i.node.Kill()
	}
}

// isLast reports whether an instance has one event, and no request waits.
func (p *pool) isLast(i *instance) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return i.busy == 1 && len(p.waiting) == 0
}

// serveBeside is serve for an instance that may have other events.
func (p *pool) serveBeside(ctx context.Context, i *instance, invocation core.Invocation, known core.Result, began time.Time) ([]byte, time.Time, error) {
	r := run{p: p, i: i, invocation: invocation, known: known, began: began, deadline: p.deadline(began, invocation)}
	r.opened() // as long as there is one goroutine
	event, err := i.mux.Send(invocation, r.deadline, r.call)
	if err != nil {
		r.calls.end()
		p.retire(i)
		p.over(i, false)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = r.late()
		}
		return nil, time.Now(), err
	}
	r.event = event
	kind, body, err := r.receive(ctx)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil && time.Now().Before(r.deadline) {
		r.refused = canceled(p.fn)
	}
	if r.refused != nil {
		r.leave(ctx)
		return nil, time.Now(), r.refused
	}
	if err == nil && invocation.Room != nil && invocation.Room.Take(ctx, len(body)) != nil { // it is read, for others' answers are behind it
		r.refused = canceled(p.fn)
	}
	body, err = r.concludeBeside(kind, body, err)
	return body, time.Now(), cmp.Or(r.refused, err)
}

// concludeBeside is conclude for an instance that may have other events.
func (r *run) concludeBeside(kind byte, body []byte, err error) ([]byte, error) {
	if err == nil {
		if body, err = endpoint.Answer(kind, body); !endpoint.IsBroken(err) {
			if !r.calls.end() || r.p.isLast(r.i) && !r.fit() {
				r.p.retire(r.i)
			}
			r.p.over(r.i, false)
			return body, err
		}
	}
	var told *core.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = r.late()
		r.p.s.config.Retired(r.p.fn, r.invocation, r.i.node.ID(), "its handler did not answer in time")
		r.p.outlived(r.i)
		go r.outlast()
		return nil, err
	case endpoint.IsBroken(err), errors.As(err, &told):
		r.i.mux.End(core.AsError(err))
	case !endpoint.IsUnsent(err):
		err = r.i.node.Ended()
	}
	r.p.retire(r.i)
	r.calls.end()
	r.p.over(r.i, false)
	return nil, err
}

// outlast waits for the end of an event that is late, and refuses what its handler still wants.
func (r *run) outlast() {
	for {
		kind, body, err := r.event.Receive(context.Background(), time.Time{})
		if err != nil || !endpoint.IsPart(kind) {
			break
		}
		part, err := endpoint.ReadPart(body)
		if err != nil {
			r.i.mux.End(core.AsError(err))
			break
		}
		r.calls.answer(r.i, part.Number, nil, r.late())
	}
	r.calls.end()
	r.p.over(r.i, true)
}
