package worker

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sched"
)

// Invoke implements core.Service.
func (w *Worker) Invoke(ctx context.Context, invocation core.Invocation) (core.Result, error) {
	for {
		fn, ok := w.store.Get(invocation.Function)
		if !ok {
			return core.Result{}, notFound(invocation.Function)
		}
		if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); err != nil {
			return core.Result{Language: language(fn.Runtime)}, err
		}
		result, err := w.sched.Invoke(ctx, &fn, invocation)
		if errors.Is(err, sched.ErrReplaced) || err != nil && result.Node == "" && !w.store.Deployed(fn.Name, fn.Version) {
			continue // the store has another version by now, or none, and no code of this one: no instance has had the event
		}
		result.Language = language(fn.Runtime)
		return result, err
	}
}

// Functions implements core.Service.
func (w *Worker) Functions(context.Context) ([]core.Function, error) {
	all := w.store.List()
	for i := range all {
		all[i].Vulnerable = w.advisories.worst(all[i])
		all[i].Apart = w.tree.Apart(&all[i])
	}
	return all, nil
}

// Remove implements core.Service.
func (w *Worker) Remove(_ context.Context, name string) error {
	done, err := w.claim(name)
	if err != nil {
		return err
	}
	defer done()
	if err := w.store.Delete(name); core.IsKind(err, core.KindNotFound) {
		return notFound(name)
	} else if err != nil {
		return err
	}
	w.sched.Drain(name, 0)
	w.logs.remove(name, w.store.Removed(name))
	w.learning.forget(name)
	w.advisories.forget(name)
	w.collect()
	return nil
}

// Snapshot implements core.Service.
func (w *Worker) Snapshot(context.Context) (core.Snapshot, error) {
	return core.Snapshot{Time: time.Now(), Nodes: w.tree.Snapshot(), Memory: w.tree.Memory(), Budget: w.budget, Drivers: w.fleet.Snapshot()}, nil
}

// Logs implements core.Logs.
func (w *Worker) Logs(ctx context.Context, name string, follow bool) (io.ReadCloser, error) {
	fn, ok := w.store.Get(name)
	if !ok {
		return nil, notFound(name)
	}
	return w.logs.read(ctx, name, fn.Version, follow)
}

func notFound(name string) error {
	return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q; pipsqueak list shows those that are deployed", name)
}

// language returns a runtime's language: its name up to the version.
func language(id core.RuntimeID) string {
	return strings.TrimRight(string(id), "0123456789.")
}
