// Package drivertest helps tests. Core is tested against its drivers: Fake keeps the contract of core.Driver
// without a single process, Faulty breaks it on command. Drivers are tested in a House, which has them make
// processes in sandboxes of this machine, without the wire: for what the conformance kit
// (core/driver/conform) cannot know of a language.
package drivertest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Method names a method of core.Driver or of its optional parts.
type Method string

// The methods.
const (
	Describe Method = "Describe"
	Preload  Method = "Preload"
	Fork     Method = "Fork"
	Import   Method = "Import"
	Resolve  Method = "Resolve"
	Install  Method = "Install"
	Build    Method = "Build"
	Compile  Method = "Compile"
	Scan     Method = "Scan"
)

// Call is one call that a Fake got, as it came.
type Call struct {
	Method  Method
	ID      core.NodeID    // of Preload, Fork, Import
	Parent  core.NodeID    // of Fork
	Runtime core.RuntimeID // of Preload and all methods after Import
	Door    core.Door      // of all but Describe and Import
	Load    core.Load      // of Import
}

// Behaviour is what a Fake does in a call before, or instead of, its work. The parts happen in the order of
// the fields.
type Behaviour struct {
	Times int           // for so many calls; 0 for all
	Delay time.Duration // or until the call's context ends
	Hang  bool          // until the call's context ends or the driver dies
	Die   bool          // the driver dies in the call
	Err   error         // the call fails with it
}

// Module is what importing a module does to a process.
type Module struct {
	Took    time.Duration // of the import
	Threads int           // that it starts and leaves
	Err     error         // with which the import fails
	Reads   []string      // environment variables, when it is imported
	Asks    []string      // as in core.Report
	Random  Random        // what its generators give
}

// Random is how the generators of a module behave.
type Random int

// How they do: there is none; each process has its own; all forks of a root zygote have the same; all
// processes have the same.
const (
	NoRandom Random = iota
	NewRandom
	SharedRandom
	FixedRandom
)

// Node is one process that a Fake pretends to have made.
type Node struct {
	ID      core.NodeID
	Parent  core.NodeID
	Runtime core.RuntimeID
	Modules []string // imported by it or its ancestors, in order
	Threads int
}

// Fake is an honest driver without processes: it implements core.Driver and all optional parts of it, keeps
// every clause of the contract that can be kept without the kernel (it does not knock at gates), and refuses
// what core must not ask. It has the methods of a driver.Client too. It is safe for concurrent use; the
// exported fields are set before it is used.
type Fake struct {
	// Modules is what imports do; a module that is not in it imports at once.
	Modules map[string]Module
	// Resolution is what Resolve answers, Suspicions are what Scan finds.
	Resolution core.Resolution
	Suspicions []core.Suspicion

	description core.Description
	pid         int
	done        chan struct{}

	mu         sync.Mutex
	nodes      map[core.NodeID]*Node
	calls      []Call
	behaviours map[Method][]Behaviour
	closed     bool
}

var _ core.Driver = (*Fake)(nil)

// New returns a living Fake that describes itself so.
func New(description core.Description) *Fake {
	return &Fake{
		description: description, pid: 1000, done: make(chan struct{}),
		nodes: map[core.NodeID]*Node{}, behaviours: map[Method][]Behaviour{},
	}
}

// Described returns a description of a driver of the language with the runtimes, that can install.
func Described(language string, runtimes ...core.RuntimeID) core.Description {
	d := core.Description{Language: language, Version: "1", Capabilities: []string{core.CapabilityInstall}}
	for _, id := range runtimes {
		d.Runtimes = append(d.Runtimes, core.Runtime{
			ID: id, Version: "1.0", Path: "/usr/bin/" + string(id), Extensions: []string{".x"},
			Handlers: []core.HandlerFile{{File: "handler.x", Handler: "handler.handler"}},
		})
	}
	return d
}

// Arrange makes the next calls of a method behave so. What was arranged before for the method happens first.
func (f *Fake) Arrange(method Method, b Behaviour) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behaviours[method] = append(f.behaviours[method], b)
}

// Calls returns all calls so far.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Nodes returns the processes that are alive, sorted by ID.
func (f *Fake) Nodes() []Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	nodes := make([]Node, 0, len(f.nodes))
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		nodes = append(nodes, *f.nodes[id])
	}
	return nodes
}

// End ends a process, as core does by killing its sandbox, and with it everything that was forked from it.
func (f *Fake) End(id core.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(id)
}

func (f *Fake) end(id core.NodeID) {
	delete(f.nodes, id)
	for child, n := range f.nodes {
		if n.Parent == id {
			f.end(child)
		}
	}
}

// Die ends the driver, as kill -9 does: calls under way and all later ones fail with KindUnavailable.
func (f *Fake) Die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
	default:
		close(f.done)
	}
}

// Close ends the driver in order.
func (f *Fake) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.Die()
}

// Closed reports whether Close was called.
func (f *Fake) Closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Done is closed when the driver has ended.
func (f *Fake) Done() <-chan struct{} { return f.done }

// Err returns why the driver ended, and nil while it lives.
func (f *Fake) Err() error {
	select {
	case <-f.done:
		return core.Errorf(core.KindUnavailable, core.FaultDriver,
			"the driver %s died: signal: killed", f.description.Language).Again()
	default:
		return nil
	}
}

// Description returns what Describe answers.
func (f *Fake) Description() core.Description { return f.description }

// Protocol returns the version of the protocol that it pretends to speak.
func (f *Fake) Protocol() int { return 3 }

// Parts returns those of its parts that its capabilities claim.
func (f *Fake) Parts() core.Parts { return core.PartsOf(f, f.description.Capabilities) }

// PID returns the pretended pid of the driver.
func (f *Fake) PID() int { return f.pid }

// begin notes a call and does what was arranged for it.
func (f *Fake) begin(ctx context.Context, call Call) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	var b Behaviour
	if arranged := f.behaviours[call.Method]; len(arranged) > 0 {
		b = arranged[0]
		if b.Times > 0 {
			if arranged[0].Times--; arranged[0].Times == 0 {
				f.behaviours[call.Method] = arranged[1:]
			}
		}
	}
	f.mu.Unlock()

	if err := f.wait(ctx, b.Delay); err != nil {
		return err
	}
	if b.Hang {
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-f.done:
		}
	}
	if b.Die {
		f.Die()
	}
	if err := f.Err(); err != nil {
		return err
	}
	return b.Err
}

// wait lets time pass, unless the context or the driver ends first.
func (f *Fake) wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	case <-f.done:
		return f.Err()
	}
}

func contextError(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return core.Errorf(core.KindTimeout, core.FaultDriver, "the fake driver was slower than the deadline: %w", ctx.Err())
	}
	return core.Errorf(core.KindCanceled, core.FaultCaller, "the call to the fake driver was canceled: %w", ctx.Err())
}
