package sched

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// pool is the instances of one version of a function and the requests that wait for one.
//
// A start is not tied to the request that caused it. The instance that becomes free first, forked or
// released, goes to the request that has waited longest. When a start begins, there are never more starts
// than waiting requests. If instances may have several events at once, several.go has what differs.
type pool struct {
	s      *Scheduler
	fn     *core.Function
	space  *space                        // its namespace
	latest atomic.Pointer[core.Function] // fn, with the imports that were learnt since
	usual  atomic.Int64                  // nanoseconds that an event has an instance: a moving average

	mu       sync.Mutex // guards the following
	drained  bool       // no instance becomes idle any more
	idle     []*instance
	roomy    []*instance // that have events and room for more; empty if instances have one event at a time
	waiting  []*waiter   // the longest waiting first
	alive    int         // instances, including those being started
	starting int
	full     *core.Error // the error of the last start, if memory was full
	timer    *time.Timer // for the instance that has been idle longest
	armed    bool
}

// waiter is a request that waits for an instance.
type waiter struct {
	request string // id of its event
	began   time.Time
	c       chan grant // gets exactly one grant, unless the waiter leaves
}

// grant is an instance, which the taker holds, or the reason why there is none.
type grant struct {
	instance *instance
	start    core.Start
	phases   core.Phases
	waited   time.Duration
	err      error
}

// take gets an instance: an idle one, or the one that becomes free first.
func (p *pool) take(ctx context.Context, request string, now time.Time) grant {
	p.mu.Lock()
	if n := len(p.roomy); n > 0 {
		i := p.roomy[n-1]
		p.add(i)
		p.mu.Unlock()
		return grant{instance: i, start: core.StartWarm}
	}
	for n := len(p.idle); n > 0; n = len(p.idle) {
		i := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		if i.node.Lease() {
			if i.mux != nil {
				p.add(i)
			}
			p.mu.Unlock()
			return grant{instance: i, start: core.StartWarm}
		}
	}
	w := &waiter{request: request, began: now, c: make(chan grant, 1)}
	p.waiting = append(p.waiting, w)
	starved := p.fill()
	if len(p.waiting)-p.coming() > plan.MaxWaiting {
		p.waiting = p.waiting[:len(p.waiting)-1]
		err := p.crowded()
		p.mu.Unlock()
		return grant{err: err}
	}
	p.mu.Unlock()
	if starved {
		p.s.tree.EvictIdle(p.s.slots.mayEnd(p)) // of a function that needs it less
	}
	g := p.wait(ctx, w)
	g.settle(time.Since(now))
	return g
}

// crowded returns the error for a request beside which as many wait as may. The caller holds mu.
func (p *pool) crowded() *core.Error { return p.refusal("and as many requests wait as may", 0) }

// settle makes the phases add up to the time that the request waited. A start that took longer than that
// began for another request; its phases then count as waiting.
func (g *grant) settle(waited time.Duration) {
	ph := &g.phases
	sum := ph.Queue + ph.Sandbox + ph.Preload + ph.Fork + ph.Enter + ph.Import
	if sum > waited {
		*ph, sum = core.Phases{}, 0
	}
	ph.Queue += waited - sum
	g.waited = waited
}

// wait waits until the request gets its grant, or gives up.
func (p *pool) wait(ctx context.Context, w *waiter) grant {
	timer := time.NewTimer(plan.MaxWait)
	defer timer.Stop()
	for {
		select {
		case g := <-w.c:
			return g
		case <-ctx.Done():
			p.mu.Lock()
			left := p.leave(w)
			p.mu.Unlock()
			if !left {
				if g := <-w.c; g.err == nil {
					p.give(g)
				}
			}
			return grant{err: canceled(p.fn)}
		case <-timer.C:
			p.mu.Lock()
			if at := slices.Index(p.waiting, w); at < p.coming() { // granted, or being started
				p.mu.Unlock()
				timer.Reset(plan.MaxWait)
				continue
			}
			p.leave(w)
			err := p.refusal("and none became free in "+plan.MaxWait.String(), plan.MaxWait)
			p.mu.Unlock()
			return grant{err: err}
		}
	}
}

// leave takes a waiter out of the queue. It returns false when the waiter has its grant already. The caller
// holds mu.
func (p *pool) leave(w *waiter) bool {
	at := slices.Index(p.waiting, w)
	if at >= 0 {
		p.waiting = slices.Delete(p.waiting, at, at+1)
	}
	return at >= 0
}

// next takes the request that has waited longest out of the queue. It returns nil when none waits. The caller
// holds mu.
func (p *pool) next() *waiter {
	if len(p.waiting) == 0 {
		return nil
	}
	w := p.waiting[0]
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	return w
}

// fill starts an instance for each waiting request, within the limits. It returns whether the worker's limit
// was reached. The caller holds mu.
func (p *pool) fill() (starved bool) {
	for p.coming() < len(p.waiting) && p.alive < p.fn.Limits.MaxInstances {
		if !p.s.slots.take(p) {
			return true
		}
		go p.start(p.waiting[p.coming()].request)
		p.starting++
		p.alive++
	}
	return false
}

func (p *pool) retry() {
	p.mu.Lock()
	p.fill()
	p.mu.Unlock()
}

// start starts an instance for the event with that request id, gives it to a waiting request, and waits for
// its end.
func (p *pool) start(request string) {
	node, start, phases, err := p.s.tree.Start(p.s.ctx, p.latest.Load(), request)
	if err != nil {
		p.failed(core.AsError(err))
		return
	}
	i := &instance{node: node, conn: node.Endpoint()}
	p.mu.Lock()
	p.starting--
	p.full = nil
	p.mu.Unlock()
	if p.fn.Limits.Shared() {
		p.open(grant{instance: i, start: start, phases: phases})
	} else {
		p.give(grant{instance: i, start: start, phases: phases})
	}
	<-node.Done()
	p.mu.Lock()
	p.idle = without(p.idle, i)
	p.alive--
	p.fill()
	p.mu.Unlock()
	p.s.slots.put(p)
}

// without takes an instance out of a list.
func without(list []*instance, i *instance) []*instance {
	if at := slices.Index(list, i); at >= 0 {
		return slices.Delete(list, at, at+1)
	}
	return list
}

// failed reports the failure of a start to the request that has waited longest, or to as many as the instance
// would have had: it would have failed for any of them. If memory is full, the request waits on while an
// instance of the function is alive and may become free.
func (p *pool) failed(err *core.Error) {
	if p.s.ctx.Err() != nil {
		err = core.Stopping()
	}
	p.mu.Lock()
	p.starting--
	p.alive--
	if err.Kind == core.KindExhausted && p.alive > p.starting {
		p.full = err
		p.mu.Unlock()
		p.s.slots.put(p)
		return
	}
	if err.Kind == core.KindExhausted && err.Retryable {
		err = err.After(p.patience(0))
	}
	told := false
	for range p.room() {
		if w := p.next(); w != nil {
			w.c <- grant{err: err}
			told = true
		}
	}
	p.fill()
	p.mu.Unlock()
	p.s.slots.put(p)
	if !told {
		p.s.log.Warn("fork", "fn", p.fn.Name, "err", err)
	}
}

// give hands a held instance to the request that has waited longest, as warm unless the grant says otherwise.
// With no request waiting, the instance becomes idle. While the worker may have no more instances and another
// function wants one, the instance ends instead of becoming idle, and also if its function has more than its
// share.
func (p *pool) give(g grant) {
	if g.instance.mux != nil {
		p.over(g.instance, false)
		return
	}
	if g.start == "" {
		g.start = core.StartWarm
	}
	now := time.Now()
	p.mu.Lock()
	if len(p.waiting) > 0 && g.start == core.StartWarm && p.s.slots.gives(p, p.alive) {
		p.mu.Unlock()
		g.instance.node.Kill() // another function gets an instance in its place
		return
	}
	if w := p.next(); w != nil {
		p.mu.Unlock()
		w.c <- g
		return
	}
	kept := g.instance.node.Release(now) && !p.drained && !p.space.hungry.Load()
	if kept {
		g.instance.since = now
		p.idle = append(p.idle, g.instance)
		p.arm(now)
	}
	p.mu.Unlock()
	if !kept {
		g.instance.node.Kill()
	}
}

// arm sets the timer for the instance that has been idle longest, unless it is set. The caller holds mu.
func (p *pool) arm(now time.Time) {
	if p.armed || len(p.idle) == 0 {
		return
	}
	p.armed = true
	after := p.idle[0].since.Add(p.fn.Limits.IdleTimeout).Sub(now)
	if p.timer == nil {
		p.timer = time.AfterFunc(after, p.expire)
	} else {
		p.timer.Reset(after)
	}
}

// expire ends instances that have been idle for too long. The bottom of the stack has been idle longest.
func (p *pool) expire() {
	now := time.Now()
	p.mu.Lock()
	p.armed = false
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.fn.Limits.IdleTimeout {
		n++
	}
	ends := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.arm(now)
	p.mu.Unlock()
	for _, i := range ends {
		i.node.Evict()
	}
}

// drain lets no instance become idle any more. The tree evicts those that are idle.
func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (p *pool) refuseAll(err *core.Error) {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, w := range waiting {
		w.c <- grant{err: err}
	}
}

// refusal returns the error for a request that has waited that long: it names the limit that was reached. The
// caller holds mu.
func (p *pool) refusal(why string, waited time.Duration) *core.Error {
	err := core.Errorf(core.KindExhausted, core.FaultCaller, "all %d instances that max_instances of %s allows are busy, %s; try again later, or deploy it with more",
		p.fn.Limits.MaxInstances, p.fn.Name, why)
	switch {
	case p.full != nil:
		err = p.full
	case p.alive < p.fn.Limits.MaxInstances:
		if err = p.s.slots.bound(p); err != nil {
			break
		}
		err = core.Errorf(core.KindExhausted, core.FaultCaller, "all %d instances that this worker may have are in use, so %s cannot have one more, %s; try again later",
			p.s.slots.limit, p.fn.Name, why)
	}
	return err.After(p.patience(waited))
}

// patience returns how long one more request would probably wait: until the instances of the function have
// served the requests that wait now. If the function has no instance, or none has answered yet, that is the
// time that a request has waited in vain. The caller holds mu.
func (p *pool) patience(waited time.Duration) time.Duration {
	usual := time.Duration(p.usual.Load())
	if p.alive == 0 || usual == 0 {
		return waited
	}
	return usual * time.Duration(len(p.waiting)/(p.alive*p.room())+1)
}

// took notes how long an event had its instance.
func (p *pool) took(d time.Duration) {
	usual := plan.Usual(time.Duration(p.usual.Load()), d)
	p.usual.Store(int64(usual)) // a concurrent update may get lost
}
