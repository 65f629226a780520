package drivertest

import (
	"context"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Describe implements core.Driver.
func (f *Fake) Describe(ctx context.Context) (core.Description, error) {
	if err := f.begin(ctx, Call{Method: Describe}); err != nil {
		return core.Description{}, err
	}
	return f.description, nil
}

// Preload implements core.Driver.
func (f *Fake) Preload(ctx context.Context, id core.NodeID, runtime core.RuntimeID, door core.Door) error {
	if err := f.begin(ctx, Call{Method: Preload, ID: id, Runtime: runtime, Door: door}); err != nil {
		return err
	}
	if err := f.runtime(runtime); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(&Node{Runtime: runtime, Threads: 1}, id, door)
}

// Fork implements core.Driver.
func (f *Fake) Fork(ctx context.Context, id, parent core.NodeID, door core.Door) error {
	if err := f.begin(ctx, Call{Method: Fork, ID: id, Parent: parent, Door: door}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	zygote := f.nodes[parent]
	switch {
	case zygote == nil:
		return gone(parent)
	case zygote.Threads > 1:
		return refuse("fork %s: it has %d threads", parent, zygote.Threads)
	}
	return f.add(&Node{Parent: parent, Runtime: zygote.Runtime, Modules: slices.Clone(zygote.Modules), Threads: 1}, id, door)
}

// add makes a process. f.mu is held.
func (f *Fake) add(n *Node, id core.NodeID, door core.Door) error {
	switch {
	case id == "" || door.ID != id || door.Gate == "":
		return refuse("the node %q cannot live behind the door %+v", id, door)
	case f.nodes[id] != nil:
		return core.Errorf(core.KindConflict, core.FaultWorker, "the node %s is there already", id)
	}
	n.ID = id
	f.nodes[id] = n
	return nil
}

// Import implements core.Driver. A call that fails ends the process, as core does.
func (f *Fake) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	report, err := f.doImport(ctx, id, load)
	if err != nil {
		f.End(id)
		return core.Report{}, err
	}
	return report, nil
}

func (f *Fake) doImport(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	if err := f.begin(ctx, Call{Method: Import, ID: id, Load: load}); err != nil {
		return core.Report{}, err
	}
	var report core.Report
	threads := 0
	for _, name := range load.Modules {
		m := f.Modules[name]
		if err := f.wait(ctx, m.Took); err != nil {
			return core.Report{}, err
		}
		if m.Err != nil {
			return core.Report{}, m.Err
		}
		if report.Modules == nil {
			report.Modules = map[string]time.Duration{}
		}
		report.Modules[name] = m.Took
		report.Took += m.Took
		threads += m.Threads
		if load.Watch {
			report.Reads = append(report.Reads, m.Reads...)
			report.Asks = append(report.Asks, m.Asks...)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[id]
	if n == nil {
		return core.Report{}, gone(id)
	}
	n.Modules = append(n.Modules, load.Modules...)
	n.Threads += threads
	report.Threads = n.Threads
	for _, name := range load.Draw {
		if drawn := f.draw(n, f.Modules[name].Random); drawn != "" {
			if report.Drawn == nil {
				report.Drawn = map[string]string{}
			}
			report.Drawn[name] = drawn
		}
	}
	return report, nil
}

// draw returns what a process gets from such generators. f.mu is held.
func (f *Fake) draw(n *Node, random Random) string {
	switch random {
	case NewRandom:
		return "fixed 42\nnew " + string(n.ID)
	case SharedRandom:
		id := n.ID
		for n.Parent != "" {
			n = f.nodes[n.Parent]
		}
		return "new " + string(id) + "\nshared " + string(n.ID)
	case FixedRandom:
		return "fixed 42"
	}
	return ""
}

// Resolve implements core.Installer.
func (f *Fake) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	if err := f.step(ctx, Call{Method: Resolve, Runtime: request.Runtime, Door: request.Door}); err != nil {
		return core.Resolution{}, err
	}
	return f.Resolution, nil
}

// Install implements core.Installer: one progress and one receipt for each package.
func (f *Fake) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	if err := f.step(ctx, Call{Method: Install, Runtime: request.Runtime, Door: request.Door}); err != nil {
		return nil, err
	}
	var receipts []core.Receipt
	for i, p := range request.Packages {
		if progress != nil {
			progress(core.Progress{
				Verb: "install", Item: p.String(), Done: int64(i + 1), Total: int64(len(request.Packages)), Detail: "unpacked",
			})
		}
		receipts = append(receipts, core.Receipt{Name: p.Name, Version: p.Version})
	}
	return receipts, nil
}

// Build implements core.Builder.
func (f *Fake) Build(ctx context.Context, request core.BuildRequest, _ func(core.Progress)) (core.Built, error) {
	return core.Built{}, f.step(ctx, Call{Method: Build, Runtime: request.Runtime, Door: request.Door})
}

// Compile implements core.Compiler: there is nothing that it could compile.
func (f *Fake) Compile(ctx context.Context, request core.CompileRequest) error {
	return f.step(ctx, Call{Method: Compile, Runtime: request.Runtime, Door: request.Door})
}

// Scan implements core.Scanner.
func (f *Fake) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	err := f.step(ctx, Call{Method: Scan, Runtime: request.Runtime, Door: request.Door})
	return core.Scanned{Packages: request.Packages, Suspicions: f.Suspicions}, err
}

// step is what is the same in every step for a runtime.
func (f *Fake) step(ctx context.Context, call Call) error {
	if err := f.begin(ctx, call); err != nil {
		return err
	}
	return f.runtime(call.Runtime)
}

func (f *Fake) runtime(id core.RuntimeID) error {
	for _, r := range f.description.Runtimes {
		if r.ID == id {
			return nil
		}
	}
	return core.Errorf(core.KindUnsupported, core.FaultCaller, "the fake driver has no runtime %q", id)
}

// gone is the answer about a process that core still knows and the driver has seen end.
func gone(id core.NodeID) error {
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the process of %s has ended", id).Again()
}

// refuse is the answer to what core must never ask.
func refuse(format string, args ...any) error {
	return core.Errorf(core.KindInvalid, core.FaultWorker, format, args...)
}
