package worker

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// overview shows the worker: its processes, and whether it is ready. It implements core.Tree and core.Health,
// and has no state of its own.
type overview struct {
	id     string // of the worker
	budget int64
	store  *store.Store
	tree   *tree.Tree
	fleet  *driver.Fleet
}

// Snapshot implements core.Tree.
func (o *overview) Snapshot(context.Context) (core.Snapshot, error) {
	nodes := o.tree.Snapshot()
	for i := range nodes {
		nodes[i].Worker = o.id
		// An instance knows of its function what was known when it was made; since then its packages may have
		// been probed.
		if fn, is := o.store.Get(nodes[i].Function); is {
			nodes[i].Apart = o.tree.Apart(&fn)
		}
	}
	return core.Snapshot{Worker: o.id, Time: time.Now(), Nodes: nodes, Memory: o.tree.Memory(), Budget: o.budget, Drivers: o.fleet.Snapshot()}, nil
}

// Readiness implements core.Health. A language of which this machine has no runtime is not among its parts.
func (o *overview) Readiness() core.Readiness {
	parts := map[string]string{"disk": o.disk(), "memory": ""}
	if !o.tree.Room() {
		parts["memory"] = fmt.Sprintf("the memory budget of %d MiB is full and nothing is idle", o.budget>>20)
	}
	for _, d := range o.fleet.Snapshot() {
		if d.PID == 0 {
			parts[d.Language] = cmp.Or(d.Error, "its driver does not run yet")
			continue
		}
		for _, rt := range d.Runtimes {
			why := ""
			if err := o.tree.Shown(rt.ID); err != nil {
				why = err.Error()
			}
			parts[d.Language] = cmp.Or(parts[d.Language], why)
		}
	}
	return core.NewReadiness(parts)
}

// disk says why the data directory cannot take what a deploy or an event leaves there, "" when it can.
func (o *overview) disk() string {
	size, free, err := o.store.Disk()
	if err == nil {
		err = o.store.Writable()
	}
	switch {
	case err != nil:
		return err.Error()
	case plan.DiskFull(free, size):
		return fmt.Sprintf("the disk of the data directory has %d MiB of %d MiB free", free>>20, size>>20)
	}
	return ""
}
