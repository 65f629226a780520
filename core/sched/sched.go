// Package sched decides for each invocation: reuse an idle instance, fork a new one, wait, or refuse. Then it carries the event
// to the instance and the result back.
//
// Lock order: Scheduler.mu, then pool.mu, then slots.mu. A pool holds its lock while it leases and releases a node, so the
// tree's locks come after a pool's; and the scheduler holds its own while it asks whether a version is deployed. The locks of
// an instance and of calls are taken alone. None is held across a call to a driver, a sandbox or an instance, except that of
// calls: it lets one answer at a time be written, and whoever reads from the instance must not take it.
package sched

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// Config is what a scheduler is told.
type Config struct {
	MaxInstances int // alive at once on this worker
	// Invoke runs the events that functions send to each other: by name, as core.Service does.
	Invoke func(context.Context, core.Invocation) (core.Result, error)
	// Deployed tells whether that version of a function is the one that is deployed, without blocking. When one is not any more, Drain is
	// called after Deployed says so.
	Deployed func(name string, version int) bool
	// Unheard is told of an event that has failed on an instance after its caller had gone away; never nil.
	Unheard func(fn *core.Function, invocation core.Invocation, node core.NodeID, err error)
	// Retired is told of an instance that was ended after that event, and why, for what its handler has left
	// behind; never nil.
	Retired func(fn *core.Function, invocation core.Invocation, node core.NodeID, why string)
	Log     *slog.Logger // never nil
}

// ErrReplaced is the error for a version of a function that is not deployed any more: nothing of the event has happened.
var ErrReplaced = errors.New("another version was deployed, or the function was removed")

// Scheduler runs events on instances. All methods may be called from many goroutines at once.
type Scheduler struct {
	tree   *tree.Tree
	config Config
	log    *slog.Logger
	slots  *slots
	ctx    context.Context // of starts, which outlive the request that wanted them; ends with Close
	cancel context.CancelFunc

	mu     sync.RWMutex // guards the following
	closed bool
	pools  map[poolKey]*pool
}

// attempts are those to give an event to an instance that was started for it.
const attempts = 2

type poolKey struct {
	function string
	version  int
}

// New returns a scheduler that takes its instances from the tree.
func New(config Config, t *tree.Tree) *Scheduler {
	s := &Scheduler{tree: t, config: config, log: config.Log, slots: &slots{limit: config.MaxInstances, users: map[*pool]int{}}, pools: map[poolKey]*pool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Invoke runs one event of the function; invocation.Function is not looked at, and the event is not kept. Start, Node and
// Phases of the result are set as far as the invocation got, also with an error; Language is left to the caller. When the context
// ends first, the handler still runs to its end or deadline, unheard. The error is a *core.Error or ErrReplaced.
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
		// The instance has run nothing of the event. An idle one may end at any time, or be of no use any more.
		if result.Start != core.StartWarm {
			if fresh++; fresh == attempts {
				break
			}
		}
		result, done, err = p.invoke(ctx, invocation, time.Now())
	}
	result.Phases.Total = done.Sub(began)
	if endpoint.IsUnsent(err) {
		return result, core.Errorf(core.KindUnavailable, core.FaultWorker,
			"%d instances of %s ended before they had read the event; try again", attempts, fn.Name).Again()
	}
	if err != nil {
		return result, core.AsError(err)
	}
	return result, nil
}

// invoke runs the event on one instance. The error is unsent when the event may go to another one.
func (p *pool) invoke(ctx context.Context, invocation core.Invocation, began time.Time) (core.Result, time.Time, error) {
	g := p.take(ctx, invocation.ID, began)
	result := core.Result{Start: g.start, Phases: g.phases}
	if g.err != nil {
		return result, time.Now(), g.err
	}
	if g.waited > 0 {
		began = began.Add(g.waited)
	}
	result.Node = g.instance.node.ID()
	body, done, err := p.serve(ctx, g.instance, invocation, began)
	p.took(done.Sub(began))
	if err != nil && !endpoint.IsUnsent(err) {
		g.instance.node.Heard()
	}
	result.Body, result.Phases.Handler = body, done.Sub(began)
	return result, done, err
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
		// Asked under the lock that Drain takes: a pool that is made now is drained when its version is replaced.
		if !s.config.Deployed(fn.Name, fn.Version) {
			return nil, ErrReplaced
		}
		p = &pool{s: s, fn: fn}
		p.latest.Store(fn)
		s.pools[key] = p
	}
	return p, nil
}

// Correct starts the later instances of a function, of that version, with what has been learnt of its imports, also when an event is just
// bringing along what was known before.
func (s *Scheduler) Correct(fn *core.Function) {
	if p, err := s.pool(fn); err == nil { // else there are no later ones
		p.latest.Store(fn)
	}
}

// Drain ends the instances of a function, except those of the versions to keep: idle ones now, busy ones after their event.
// Requests that wait already are still served.
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

// Stop refuses new events and those that wait; the running ones go on.
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

// Close is Stop, and waits until all instances have ended. It returns false when the context ends first; the tree ends what is left.
func (s *Scheduler) Close(ctx context.Context) bool {
	s.Stop()
	select {
	case <-s.slots.empty():
		return true
	case <-ctx.Done():
		return false
	}
}

// slots counts the instances of the worker against its limit.
type slots struct {
	limit  int
	hungry atomic.Int32 // len(starved), to be read without the lock

	mu      sync.Mutex // guards the following; taken after a pool's, never before
	used    int
	users   map[*pool]int // instances of each
	starved []*pool       // that would start an instance if they could, the longest waiting first
	drained chan struct{}
}

// take takes a slot for p, or remembers that p wants one.
func (s *slots) take(p *pool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used < s.limit {
		s.used++
		s.users[p]++
		return true
	}
	for _, q := range s.starved {
		if q == p {
			return false
		}
	}
	s.starved = append(s.starved, p)
	s.hungry.Store(int32(len(s.starved)))
	return false
}

// tooMany says whether a function with so many instances stands in the way of others that want one.
func (s *slots) tooMany(alive int) bool {
	if s.hungry.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.starved) > 0 && alive > s.limit/(len(s.users)+1)
}

// put gives p's slot back and lets those who wanted one try again. The caller holds no pool's lock.
func (s *slots) put(p *pool) {
	s.mu.Lock()
	s.used--
	if s.users[p]--; s.users[p] == 0 {
		delete(s.users, p)
	}
	if s.used == 0 && s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
	s.mu.Unlock()
	for p := s.next(); p != nil; p = s.next() {
		p.retry()
	}
}

func (s *slots) next() *pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= s.limit || len(s.starved) == 0 {
		return nil
	}
	p := s.starved[0]
	s.starved = s.starved[1:]
	s.hungry.Store(int32(len(s.starved)))
	return p
}

// empty returns a channel that is closed when no slot is in use.
func (s *slots) empty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	if s.used == 0 {
		close(c)
	} else {
		s.drained = c
	}
	return c
}

func canceled(fn *core.Function) *core.Error {
	return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away before %s had answered", fn.Name)
}
