package worker

import (
	"cmp"
	"fmt"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Readiness implements core.Health. A language of which this machine has no runtime is not among its parts.
func (w *Worker) Readiness() core.Readiness {
	parts := map[string]string{"disk": w.disk(), "memory": ""}
	if !w.tree.Room() {
		parts["memory"] = fmt.Sprintf("the memory budget of %d MiB is full and nothing is idle", w.budget>>20)
	}
	for _, d := range w.fleet.Snapshot() {
		if d.PID == 0 {
			parts[d.Language] = cmp.Or(d.Error, "its driver does not run yet")
			continue
		}
		for _, rt := range d.Runtimes {
			why := ""
			if err := w.tree.Shown(rt.ID); err != nil {
				why = err.Error()
			}
			parts[d.Language] = cmp.Or(parts[d.Language], why)
		}
	}
	return core.NewReadiness(parts)
}

// disk says why the data directory cannot take what a deploy or an event leaves there, "" when it can.
func (w *Worker) disk() string {
	size, free, err := w.store.Disk()
	if err == nil {
		err = w.store.Writable()
	}
	switch {
	case err != nil:
		return err.Error()
	case plan.DiskFull(free, size):
		return fmt.Sprintf("the disk of the data directory has %d MiB of %d MiB free", free>>20, size>>20)
	}
	return ""
}
