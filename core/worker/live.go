package worker

import (
	"context"
	"runtime"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// fleetDrivers is the fleet as the tree wants it.
type fleetDrivers struct{ *driver.Fleet }

func (f fleetDrivers) Driver(ctx context.Context, id core.RuntimeID) (tree.LiveDriver, error) {
	d, runtime, generation, err := f.Fleet.Driver(ctx, id)
	if err != nil {
		return tree.LiveDriver{}, err
	}
	return tree.LiveDriver{Driver: d, Runtime: runtime, Generation: generation, Protocol: d.Protocol(),
		Concurrent: d.Description().Can(core.CapabilityConcurrency), Gone: d.Description().Can(core.CapabilityGone), Forks: d.Description().Can(core.CapabilityFork)}, nil
}

// supplyFleet is the fleet as supply wants it. It has no drivers before the fleet is open.
type supplyFleet struct{ *Worker }

func (f supplyFleet) Driver(ctx context.Context, id core.RuntimeID) (supply.Driver, core.Runtime, error) {
	d, runtime, _, err := f.fleet.Driver(ctx, id)
	return d, runtime, err
}

func (f supplyFleet) Snapshot() []core.DriverInfo { return f.fleet.Snapshot() }

// live is what lives on the worker, as supply asks for it: the tree, the scheduler, the sandboxes, and what
// is kept of events.
type live struct{ *Worker }

func (l live) Preload(ctx context.Context, fn *core.Function) { l.tree.Preload(ctx, fn) }
func (l live) Unready(fn *core.Function) string               { return l.tree.Unready(fn) }
func (l live) Apart(fn *core.Function) map[string]string      { return l.tree.Apart(fn) }
func (l live) Uses(digest string) bool                        { return l.sandboxes.uses(digest) }
func (l live) Expel(digest string)                            { l.tree.Expel(digest) }
func (l live) Correct(fn *core.Function)                      { l.sched.Correct(fn) }
func (l live) Drain(function string, keep ...int)             { l.sched.Drain(function, keep...) }

func (l live) Learn(rt core.RuntimeID, took map[string]time.Duration, bytes map[string]int64) {
	l.tree.Learn(rt, took)
	l.tree.Weigh(rt, bytes)
}

func (l live) LearnPackages(asks plan.Asks, needs plan.Needs) {
	l.tree.LearnAsks(asks)
	l.tree.LearnNeeds(needs)
}

func (l live) Try(ctx context.Context, fn *core.Function, alone bool) (supply.Trial, error) {
	trial, err := l.tree.Try(ctx, fn, alone)
	return supply.Trial(trial), l.secrets.hide(fn, err)
}

func (l live) Hide(fn *core.Function, text string) string {
	if r := l.secrets.hider(fn.Name); r != nil {
		return r.Replace(text)
	}
	return text
}

func (l live) Switched(before []core.Function) (ended []<-chan struct{}) {
	for _, zygote := range l.tree.Drop(before, l.store.List()) {
		ended = append(ended, zygote.Done())
	}
	l.uses.saveSoon()
	return ended
}

func (l live) Removed(function string, last int) {
	l.sched.Drain(function)
	l.logs.remove(function, last)
	l.counts.forget(function)
	l.secrets.forget(function)
}

func (l live) Note(fn *core.Function, text string) {
	if log := l.logs.of(fn.Name, fn.Version); log != nil {
		log.add(core.LogLine{Time: time.Now().UTC(), Function: fn.Name, Stream: "worker", Text: core.Clip(text, maxLine)})
	}
}

// Mount makes sure that a storage can be shown.
func (l live) Mount(storage string) error { return l.sandboxes.host.Mount(storage) }

// Free returns how many bytes of a storage no file takes.
func (l live) Free(storage string) (int64, error) { return l.sandboxes.host.Free(storage) }

// Unmount takes away the mount of a storage. One that cannot be goes with the worker.
func (l live) Unmount(storage string) {
	if err := l.sandboxes.host.Unmount(storage); err != nil {
		l.log.Warn("storage", "file", storage, "err", err)
	}
}

// Busy reports whether as many instances as there are processors have an event.
func (l live) Busy() bool {
	busy := 0
	for _, n := range l.tree.Snapshot() {
		if n.Role == core.RoleInstance && n.State == "busy" {
			busy++
		}
	}
	return busy >= runtime.NumCPU()
}
