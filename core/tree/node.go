package tree

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Node is one process of the tree, in its sandbox. The caller of Start holds the instance that it gets. The
// holder of an instance is its only user.
type Node struct {
	tree     *Tree
	id       core.NodeID
	role     core.Role
	shape    plan.Shape
	fn       *core.Function // of an instance
	parent   *Node          // nil for a root zygote
	depth    int
	driver   int // generation of the driver that made it
	rebuilt  int // zygotes of this shape that were made before
	born     time.Time
	done     chan struct{}
	state    atomic.Uint32
	underWay atomic.Int32 // events, of an instance that may have several
	killed   atomic.Bool  // by the worker, or with its parent: it did not end by itself

	mu      sync.Mutex     // guards the following; held for moments only
	sandbox Sandbox        // nil until it is made; read it through place
	conn    *endpoint.Conn // nil for a zygote
	use     plan.Use
	events  int
	freed   func() // called at the end of the first hold, and then nil; it does not block

	// Guarded by Tree.mu.
	children map[*Node]struct{}
	forks    int
	pid      int
	charged  int64 // bytes, as counted in Tree.bytes
	usage    core.Usage
	limit    int64         // of a zygote's memory, in bytes, without what its children take
	saves    time.Duration // by each use of it
	spare    bool          // a zygote that the goal does without
	sampleAt time.Time
}

// ID returns the name of the node.
func (n *Node) ID() core.NodeID { return n.id }

// Endpoint returns the connection to an instance. The sandbox owns it and closes it. Only the holder of the
// instance may use it, or who has made a Mux of it.
func (n *Node) Endpoint() *endpoint.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conn
}

// Begin says that output of the instance belongs to the event with that request id from now on. Only the
// holder may call it.
func (n *Node) Begin(request string) { n.place().Begin(request) }

// Over says that this event has been answered. Only the holder may call it.
func (n *Node) Over() { n.place().Over() }

// Heard waits until the output of the instance so far is in its function's log. It waits some milliseconds at
// the most.
func (n *Node) Heard() { n.place().Heard() }

// Unfit says why the instance must not have another event, "" when it may. Only the holder may call it.
func (n *Node) Unfit() (why string) { return n.place().Unfit() }

// Done is closed when the process has ended and the node has left the tree.
func (n *Node) Done() <-chan struct{} { return n.done }

// Lease takes hold of an idle instance. It returns false when somebody else holds it, or when it is about to
// end.
func (n *Node) Lease() bool {
	_, ok := n.apply(lease)
	return ok
}

// Release ends a hold after an event that ended at now, and makes the instance idle. It returns false when
// nobody may use the instance again; the caller then kills it. It calls no sandbox, so the caller may hold a
// mutex.
func (n *Node) Release(now time.Time) bool {
	freed := n.count(now)
	to, ok := n.apply(release)
	if freed != nil {
		freed()
	}
	if ok && to == idle && n.tree.strained.Load() {
		go n.tree.relieve()
	}
	return ok && to == idle
}

// Served notes an event that ended at now, while the instance has others. It calls no sandbox.
func (n *Node) Served(now time.Time) {
	if freed := n.count(now); freed != nil {
		freed()
	}
}

// Has notes how many events the instance has now, if it may have several.
func (n *Node) Has(events int) { n.underWay.Store(int32(events)) }

// count counts an event, and returns what is to be called after the first one.
func (n *Node) count(now time.Time) (freed func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.use = n.use.Add(now)
	n.events++
	freed, n.freed = n.freed, nil
	return freed
}

// above returns the id of its parent, "" of a root zygote.
func (n *Node) above() core.NodeID {
	if n.parent == nil {
		return ""
	}
	return n.parent.id
}

// Kill ends the node at once, with everything that was forked from it.
func (n *Node) Kill() {
	n.apply(kill)
	n.mu.Lock()
	sandbox, freed := n.sandbox, n.freed
	n.freed = nil
	n.mu.Unlock()
	if freed != nil {
		n.tree.notePages(n)
	}
	if sandbox != nil {
		sandbox.Kill()
	}
	if freed != nil {
		freed()
	}
}

// Evict ends a node that nobody holds. It returns false when somebody holds it, or when it is ending already.
func (n *Node) Evict() bool {
	_, ok := n.apply(evict)
	if ok {
		n.Kill()
	}
	return ok
}

// place returns the sandbox of the node, nil until it is made.
func (n *Node) place() Sandbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sandbox
}

func (n *Node) in() state { return state(n.state.Load()) }

func (n *Node) is(s state) bool { return n.in() == s }

// apply makes an event happen to the node. It returns the new state, or the old one and false when the event
// does not apply.
func (n *Node) apply(e event) (state, bool) {
	for {
		from := n.in()
		to, ok := transition(from, e)
		if !ok {
			if illegal(from, e) {
				n.tree.config.Log.Error("transition", "node", n.id, "event", e, "from", from, "to", e.target())
			}
			return from, false
		}
		if n.state.CompareAndSwap(uint32(from), uint32(to)) {
			return to, true
		}
	}
}

// attach gives the node, which that driver makes, its sandbox. It returns false when the node was killed
// before.
func (n *Node) attach(s Sandbox, live LiveDriver) bool {
	var conn *endpoint.Conn
	if socket := s.Endpoint(); socket != nil {
		conn = endpoint.Open(socket, live.Protocol)
		conn.Gone = live.Gone
	}
	n.mu.Lock()
	n.sandbox, n.conn = s, conn
	n.mu.Unlock()
	return !n.is(dying)
}

// Ended says why an instance ended, as the error of the event that it had. The process has ended or is about
// to. If it is still there after a moment, Ended kills it.
func (n *Node) Ended() *core.Error {
	select {
	case <-n.done:
	case <-time.After(plan.EndGrace):
		n.Kill()
		return core.Errorf(core.KindExit, core.FaultHandler,
			"the handler of %s closed the connection to the worker without an answer; it must leave foreign descriptors alone", n.fn.Name)
	}
	exit := n.place().Exit()
	if !exit.Known || exit.Signal == 9 && !exit.OutOfMemory && !exit.Starved {
		select {
		case <-n.parent.done:
			n.killed.Store(true)
		case <-time.After(plan.ParentGrace):
		}
	}
	switch {
	case exit.OutOfMemory:
		return core.Errorf(core.KindMemory, core.FaultHandler, "the handler of %s was killed at its memory limit of %d bytes (%d MiB); raise memory_mb or use less",
			n.fn.Name, n.fn.Limits.Memory, n.fn.Limits.Memory>>20)
	case exit.Starved:
		return core.Errorf(core.KindUnavailable, core.FaultWorker,
			"the instance of %s was killed below its own memory limit, because the worker's machine or service had no memory left; try again, or give the worker less with --memory", n.fn.Name).Again()
	case n.killed.Load() && n.tree.ctx.Err() != nil:
		return core.Stopping()
	case n.killed.Load():
		return core.Errorf(core.KindUnavailable, core.FaultWorker,
			"the zygote that the instance of %s was forked from ended, and the instance with it; try again", n.fn.Name).Again()
	}
	how := "in a way that the kernel did not report (Linux 6.15 and later do)"
	if exit.Known {
		how = fmt.Sprintf("with code %d", exit.Code)
		if exit.Signal != 0 {
			how = fmt.Sprintf("with signal %d (%v)", exit.Signal, syscall.Signal(exit.Signal))
		}
	}
	if exit.Crowded {
		how += ", after it wanted more processes and threads than it may have"
	}
	if n.tree.config.Deployed(n.fn.Name, n.fn.Version) { // the error of a trial has its output already
		how += core.SeeLogs
	}
	return core.Errorf(core.KindExit, core.FaultHandler, "the handler's process of %s ended %s", n.fn.Name, how)
}
