// Package tree keeps the tree of live processes: it finds the nearest zygote for a function and forks it,
// makes the zygotes that requests miss, and evicts what is worth least when memory is short.
//
// Package plan decides, from data alone; this package carries out what it decides, by calls to drivers and
// sandboxes. A parent outlives its children: a node is a child from before its fork until after its end, and
// that alone is what holds a zygote.
//
// Mutex order: Tree.mu before Node.mu, and no two nodes' at once. The mutex of the turns is taken alone. None
// is held across a call to a driver or a sandbox. The state of a node needs no mutex: it changes by
// compare-and-swap, see transition.
package tree

import (
	"context"
	"net"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Drivers finds the live driver of a runtime.
type Drivers interface {
	// Driver returns at once when the driver is alive, and may wait for its restart. Its errors are
	// *core.Error.
	Driver(ctx context.Context, rt core.RuntimeID) (LiveDriver, error)
}

// LiveDriver is a driver that was alive a moment ago.
type LiveDriver struct {
	Driver     core.Driver
	Runtime    core.Runtime
	Generation int  // of the driver; no two drivers have the same, and no two lives of one driver
	Protocol   int  // the version that it speaks
	Concurrent bool // its instances can have several events at once (CapabilityConcurrency)
	Gone       bool // its instances may be told that a caller has gone (CapabilityGone)
	Forks      bool // its zygotes fork instances at core's own request (CapabilityFork)
}

// Sandboxes makes sandboxes.
type Sandboxes interface {
	// Create makes the sandbox of one node. The caller kills it. Errors are *core.Error, and leave nothing
	// behind.
	Create(ctx context.Context, config core.SandboxConfig) (Sandbox, error)
}

// Sandbox is the place that one process lives in. The tree creates it, hands its Door to a driver, and asks
// Entered which process has come. It watches Done, and calls Kill in the end. All methods may be called from
// many goroutines at once.
type Sandbox interface {
	Entrance
	Life
	Voice
}

// Entrance is how a process comes into a sandbox and is reached there.
type Entrance interface {
	// Door names the sandbox to a driver.
	Door() core.Door
	// Fork has the zygote SandboxConfig.Parent fork the process of an instance, without the driver, and
	// returns when it is inside. Its error is Entered's.
	Fork(ctx context.Context) error
	// Entered returns the attested pid of the process that came through the gate, and how long entering took.
	// It may be called after the driver has answered, and waits a moment. It returns an error when no process
	// has come.
	Entered() (pid int, enter time.Duration, err error)
	// Endpoint returns the stream socket to an instance, nil for a zygote. The sandbox closes it.
	Endpoint() net.Conn
}

// Voice is the output of a process. Each byte of it belongs to an event.
type Voice interface {
	// Begin says that output from now on belongs to the event with that request id.
	Begin(request string)
	// Over says that this event has been answered. A line without an end is complete then.
	Over()
	// Heard waits until the output so far is in the log, some milliseconds at the most.
	Heard()
}

// Life is the rest of a process's life. Its methods work when the driver is dead.
type Life interface {
	// Done is closed when the process of the sandbox has ended, by itself or by Kill.
	Done() <-chan struct{}
	// Exit says how the process ended. It is valid after Done.
	Exit() core.Exit
	// Unfit says why an instance must not have another event, "" when it may. It takes some microseconds.
	Unfit() (why string)
	// Written returns the pages of its zygote's memory that an instance has written to, nil when nobody
	// knows. It takes about a millisecond.
	Written() core.Pages
	// Allow lets the processes of a zygote's sandbox use so much memory, if that is more than before.
	Allow(bytes int64)
	// Usage measures the memory of the process, which takes milliseconds.
	Usage() (core.Usage, error)
	// Kill ends every process in the sandbox and frees it. It returns at once; Done is closed later. It may
	// be called many times.
	Kill()
}
