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

// Node is one process of the tree in its sandbox. Who gets an instance from Start holds it; who holds it is its only user.
type Node struct {
	tree    *Tree
	id      core.NodeID
	role    core.Role
	shape   plan.Shape
	fn      *core.Function // of an instance
	parent  *Node          // nil for a root zygote
	depth   int
	driver  int // generation of the driver that made it
	rebuilt int // how many zygotes of this shape there were before
	born    time.Time
	done    chan struct{}
	state   atomic.Uint32
	felled  atomic.Bool // the worker ended it, or its parent did: not its own doing

	mu      sync.Mutex     // guards the following; held for moments only
	sandbox Sandbox        // nil until it is made; see place
	conn    *endpoint.Conn // to an instance
	use     plan.Use
	events  int
	freed   func() // nil, or to be called at the end of the first hold; it does not block

	// Guarded by Tree.mu.
	children map[*Node]struct{}
	forks    int
	pid      int
	charged  int64 // bytes it counts for in Tree.bytes
	usage    core.Usage
	saves    time.Duration // that one use of it saves
	sampleAt time.Time
}

// ID returns the name of the node.
func (n *Node) ID() core.NodeID { return n.id }

// Endpoint returns the connection to an instance. It belongs to the sandbox and is closed with it; only who holds the
// instance may use it.
func (n *Node) Endpoint() *endpoint.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conn
}

// Begin says that what an instance prints from now on belongs to the event with that request id. Only who holds it may.
func (n *Node) Begin(request string) { n.place().Begin(request) }

// Over says that this event has been answered. Only who holds the instance may.
func (n *Node) Over() { n.place().Over() }

// Heard waits until what an instance has printed so far is in its function's log, for some milliseconds at the most.
func (n *Node) Heard() { n.place().Heard() }

// Unfit tells why the instance is not to have another event, empty when it may. Only who holds it may ask.
func (n *Node) Unfit() (why string) { return n.place().Unfit() }

// Done is closed when the process has ended and is no part of the tree any more.
func (n *Node) Done() <-chan struct{} { return n.done }

// Lease takes hold of an idle instance. It returns false when another one has it or when it is about to end.
func (n *Node) Lease() bool {
	_, ok := n.apply(lease)
	return ok
}

// Release ends a hold after an event that ended at now, and makes the instance idle. It returns false when the instance is not
// to be used again; the caller then kills it. It calls no sandbox and may be called with a lock held.
func (n *Node) Release(now time.Time) bool {
	n.mu.Lock()
	n.use = n.use.Add(now)
	n.events++
	freed := n.freed
	n.freed = nil
	n.mu.Unlock()
	to, ok := n.apply(release)
	if freed != nil {
		freed()
	}
	if ok && to == idle && n.tree.strained.Load() {
		go n.tree.relieve()
	}
	return ok && to == idle
}

// Kill ends the node at once, with everything that was forked from it.
func (n *Node) Kill() {
	n.apply(kill)
	n.mu.Lock()
	sandbox, freed := n.sandbox, n.freed
	n.freed = nil
	n.mu.Unlock()
	if sandbox != nil {
		sandbox.Kill()
	}
	if freed != nil {
		freed()
	}
}

// Evict ends an instance that nobody holds. It returns false when somebody does or when it is ending already.
func (n *Node) Evict() bool {
	_, ok := n.apply(evict)
	if ok {
		n.Kill()
	}
	return ok
}

// place returns the sandbox of a node, nil until it is made.
func (n *Node) place() Sandbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sandbox
}

func (n *Node) in() state { return state(n.state.Load()) }

func (n *Node) is(s state) bool { return n.in() == s }

// apply has an event happen to the node. It returns the state after it, and false when the event does not apply.
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

// attach gives the node its sandbox, for a process of a driver that speaks that version of the protocol. It returns false when the node was
// killed before it had one.
func (n *Node) attach(s Sandbox, protocol int) bool {
	var conn *endpoint.Conn
	if socket := s.Endpoint(); socket != nil {
		conn = endpoint.Open(socket, protocol)
	}
	n.mu.Lock()
	n.sandbox, n.conn = s, conn
	n.mu.Unlock()
	return !n.is(dying)
}

// Ended says why an instance ended, as the error of the event that was in it. The process must have ended or be about to:
// it is killed when it is still there after a moment.
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
			n.felled.Store(true)
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
	case n.felled.Load() && n.tree.ctx.Err() != nil:
		return core.Stopping()
	case n.felled.Load():
		return core.Errorf(core.KindUnavailable, core.FaultWorker,
			"the zygote that the instance of %s was forked from ended, and the instance with it; try again", n.fn.Name).Again()
	}
	how := "in a way that the kernel did not tell (Linux 6.15 and later do)"
	if exit.Known {
		how = fmt.Sprintf("with code %d", exit.Code)
		if exit.Signal != 0 {
			how = fmt.Sprintf("with signal %d (%v)", exit.Signal, syscall.Signal(exit.Signal))
		}
	}
	if n.tree.config.Deployed(n.fn.Name, n.fn.Version) { // what a trial has printed is told with its end
		how += core.SeeLogs
	}
	return core.Errorf(core.KindExit, core.FaultHandler, "the handler's process of %s ended %s", n.fn.Name, how)
}
