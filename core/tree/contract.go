// Package tree keeps the tree of live processes: it finds the nearest zygote for a function and forks it, makes the zygotes
// that requests miss, and evicts what is worth least when memory is short.
//
// Package plan decides, from data alone; this package carries out what it decides, by calls to drivers and sandboxes. A parent
// outlives its children: a node is a child from before its fork until after its end, and that alone is what holds a zygote.
//
// Lock order: Tree.mu before Node.mu, and no two nodes' at once. The lock of the turns is taken alone. None is held across a
// call to a driver or a sandbox. The state of a node needs no lock: it changes by compare-and-swap, see transition.
package tree

import (
	"context"
	"net"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Drivers finds the live driver of a runtime.
type Drivers interface {
	// Driver returns at once when the driver lives, and may wait for its restart. Its errors are *core.Error.
	Driver(ctx context.Context, rt core.RuntimeID) (Live, error)
}

// Live is a driver that was alive a moment ago.
type Live struct {
	Driver     core.Driver
	Runtime    core.Runtime
	Generation int // of the driver: no two drivers, and no two lives of one driver, have the same
	Protocol   int // version that it speaks
}

// Sandboxes makes sandboxes.
type Sandboxes interface {
	// Create makes the sandbox of one node. Its errors are *core.Error and leave nothing behind. The caller kills it.
	Create(ctx context.Context, config core.SandboxConfig) (Sandbox, error)
}

// Sandbox is the place that one process lives in. All methods may be called from many goroutines at once.
type Sandbox interface {
	Door
	Life
	Voice
}

// Door is how a process comes into a sandbox and is reached there.
type Door interface {
	// Ref is what a driver is told of the sandbox.
	Ref() core.Sandbox
	// Entered returns the attested pid of the process that came through the gate and how long entering took, or an error
	// when nobody has come.
	Entered() (pid int, enter time.Duration, err error)
	// Endpoint is the stream socket to an instance, nil for a zygote. It is closed with the sandbox.
	Endpoint() net.Conn
}

// Voice is what a process prints: each byte of it belongs to an event.
type Voice interface {
	// Begin says that what is written from now on belongs to the event with that request id.
	Begin(request string)
	// Over says that this event has been answered: a line that has no end is complete.
	Over()
	// Heard waits until what has been written so far is in the log, for some milliseconds at the most.
	Heard()
}

// Life is the rest of a process's life: it works when the driver is dead.
type Life interface {
	// Done is closed when the process of the sandbox has ended, by itself or by Kill.
	Done() <-chan struct{}
	// Exit says, after Done, how it ended.
	Exit() core.Exit
	// Unfit says why an instance is not to have another event, empty when it may. It takes some microseconds.
	Unfit() (why string)
	// Usage measures its memory, which takes milliseconds.
	Usage() (core.Usage, error)
	// Kill ends everything in the sandbox and frees it. It returns at once, Done follows. It may be called many times.
	Kill()
}
