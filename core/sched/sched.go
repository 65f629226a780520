// Package sched decides for each invocation: reuse an idle instance, fork a new one, wait, or refuse. Then it
// carries the event to the instance and the result back.
//
// Mutex order: Scheduler.mu, then pool.mu, then slots.mu. A pool leases and releases nodes under its mutex,
// so the tree's mutexes come after it. The scheduler asks under its mutex whether a version is deployed. The
// mutexes of an instance, of lanes and of calls are taken alone. None is held across a call to a driver, a
// sandbox or an instance, except that of calls: it lets one answer at a time be written, and whoever reads
// from the instance must not take it.
package sched

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// Config configures a scheduler.
type Config struct {
	MaxInstances int // alive at once on this worker
	// Invoke runs an event that one function sends to another.
	Invoke func(context.Context, core.Invocation) (core.Result, error)
	// Deployed says whether that version of a function is the deployed one. It does not block. When a version
	// is replaced, Deployed says so before Drain is called.
	Deployed func(name string, version int) bool
	// Unheard is called with an event that failed on an instance after its caller had gone away. It is never
	// nil.
	Unheard func(fn *core.Function, invocation core.Invocation, node core.NodeID, err error)
	// Retired is called when an instance was ended after that event, because of something that its handler
	// has left behind. It is never nil.
	Retired func(fn *core.Function, invocation core.Invocation, node core.NodeID, why string)
	// Printed is called with what a handler has printed in an event, if its instance may have several at
	// once: Node, Request and Stream of the line are set. It returns how many bytes it has dealt with, all if
	// the text is complete; the rest comes again, with more. It is never nil.
	Printed func(fn *core.Function, line core.LogLine, text []byte, complete bool) (kept int)
	// Quotas returns the quotas of a namespace. It does not block. Nil for no quotas.
	Quotas func(namespace string) core.Quotas
	Log    *slog.Logger // never nil
}

// ErrReplaced is the error for a version of a function that is no longer deployed. The event has not run.
var ErrReplaced = errors.New("another version was deployed, or the function was removed")

// Scheduler runs events on instances. All methods may be called from many goroutines at once.
type Scheduler struct {
	tree   *tree.Tree
	config Config
	log    *slog.Logger
	slots  *slots
	lanes  int             // of each namespace
	held   *core.Budget    // bytes of calls and their results, from when they are read until they are written
	ctx    context.Context // of starts, which outlive their request; it ends with Close
	cancel context.CancelFunc

	mu     sync.RWMutex // guards the following
	closed bool
	pools  map[poolKey]*pool
}

type poolKey struct {
	function string
	version  int
}

// New returns a scheduler that takes its instances from the tree.
func New(config Config, t *tree.Tree) *Scheduler {
	s := &Scheduler{tree: t, config: config, log: config.Log, held: core.EventBudget(), slots: newSlots(config), pools: map[poolKey]*pool{}, lanes: plan.Lanes(runtime.NumCPU())}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Invoke runs one event of the function. It ignores invocation.Function, and does not keep the event. Start,
// Node and Phases of the result are set as far as the invocation got, also with an error; the caller sets
// Language. When the context ends first, the handler still runs to its end or deadline, and nobody gets the
// result. The error is a *core.Error or ErrReplaced.
func (s *Scheduler) Invoke(ctx context.Context, fn *core.Function, invocation core.Invocation) (core.Result, error) {
	began := time.Now()
	p, err := s.pool(fn)
	if err != nil {
		return core.Result{}, err
	}
	if ctx.Err() != nil {
		return core.Result{}, canceled(fn)
	}
	result, done, err := p.invoke(ctx, invocation, began)
	for fresh := 0; endpoint.IsUnsent(err); {
		// The instance has not run the event. An idle instance may end, or become useless, at any time.
		if result.Start != core.StartWarm {
			if fresh++; fresh == plan.FreshTries {
				break
			}
		}
		result, done, err = p.invoke(ctx, invocation, time.Now())
	}
	result.Phases.Total = done.Sub(began)
	if endpoint.IsUnsent(err) {
		return result, core.Errorf(core.KindUnavailable, core.FaultWorker,
			"%d instances of %s ended before they had read the event; try again", plan.FreshTries, fn.Name).Again()
	}
	if err != nil {
		return result, core.AsError(err)
	}
	return result, nil
}

// invoke runs the event on one instance. The error is unsent if another instance may run the event.
func (p *pool) invoke(ctx context.Context, invocation core.Invocation, began time.Time) (core.Result, time.Time, error) {
	several := p.s.tree.Note(p.space.name)
	g := p.take(ctx, invocation.ID, began)
	result := core.Result{Start: g.start, Phases: g.phases}
	if g.err != nil {
		return result, time.Now(), g.err
	}
	if g.waited > 0 {
		began = began.Add(g.waited)
	}
	result.Node = g.instance.node.ID()
	if several {
		leave, err := p.space.lanes.enter(ctx, p.s.lanes)
		if err != nil {
			p.give(g)
			return result, time.Now(), canceled(p.fn)
		}
		defer leave()
		waited := time.Since(began)
		began = began.Add(waited)
		g.waited += waited
		result.Phases.Queue += waited
	}
	known := result
	known.Phases.Total = g.waited
	body, done, err := p.serve(ctx, g.instance, invocation, known, began)
	p.took(done.Sub(began))
	if err != nil && !endpoint.IsUnsent(err) {
		g.instance.node.Heard()
	}
	result.Body, result.Phases.Handler = body, done.Sub(began)
	return result, done, err
}

// Refused returns why an event of the function would be refused now, nil if it would not: as many wait as
// may.
func (s *Scheduler) Refused(fn *core.Function) error {
	s.mu.RLock()
	p := s.pools[poolKey{fn.Name, fn.Version}]
	s.mu.RUnlock()
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting)-p.coming() < plan.MaxWaiting {
		return nil
	}
	return p.crowded()
}

func (s *Scheduler) pool(fn *core.Function) (*pool, error) {
	key := poolKey{fn.Name, fn.Version}
	s.mu.RLock()
	p, closed := s.pools[key], s.closed
	s.mu.RUnlock()
	if closed {
		return nil, core.Stopping()
	}
	if p != nil {
		return p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, core.Stopping()
	}
	if p = s.pools[key]; p == nil {
		// Asked under the mutex that Drain takes, so that a pool made now is drained when its version is
		// replaced.
		if !s.config.Deployed(fn.Name, fn.Version) {
			return nil, ErrReplaced
		}
		p = &pool{s: s, fn: fn, space: s.slots.space(core.Namespace(fn.Name))}
		p.latest.Store(fn)
		s.pools[key] = p
	}
	return p, nil
}

// Correct updates what is known of the imports of that version of a function. Later instances start with
// that, also for events that arrived before.
func (s *Scheduler) Correct(fn *core.Function) {
	if p, err := s.pool(fn); err == nil { // else there are no later instances
		p.latest.Store(fn)
	}
}

// Drain ends the instances of a function, except those of the versions to keep. Idle instances end now, busy
// ones after their event. Requests that wait already are still served.
func (s *Scheduler) Drain(function string, keep ...int) {
	s.mu.Lock()
	for key, p := range s.pools {
		if key.function == function && !slices.Contains(keep, key.version) {
			delete(s.pools, key)
			p.drain()
		}
	}
	s.mu.Unlock()
	s.tree.Evict(function, keep...)
}

// Stop refuses new events and waiting ones. Running events go on.
func (s *Scheduler) Stop() {
	s.mu.Lock()
	s.closed = true
	pools := s.pools
	s.pools = map[poolKey]*pool{}
	s.mu.Unlock()
	s.cancel()
	for key, p := range pools {
		p.drain()
		p.refuseAll(core.Stopping())
		s.tree.Evict(key.function)
	}
}

// Used returns how many instances a namespace has, and the limits of their memory.
func (s *Scheduler) Used(namespace string) core.Quotas { return s.slots.of(namespace) }

// Feed has requests that wait for a slot try again, because quotas may have changed.
func (s *Scheduler) Feed() { s.slots.feed() }

// Close stops the scheduler and waits until all instances have ended. It returns false when the context ends
// first. The tree then ends the rest.
func (s *Scheduler) Close(ctx context.Context) bool {
	s.Stop()
	select {
	case <-s.slots.empty():
		return true
	case <-ctx.Done():
		return false
	}
}

func canceled(fn *core.Function) *core.Error {
	return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away before %s had answered", fn.Name)
}
