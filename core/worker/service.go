package worker

import (
	"context"
	"errors"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sched"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

// Service returns the worker as the parts of a service. All of them are there.
func (w *Worker) Service() core.Service {
	s := w.supply
	return core.Service{Catalog: s, Applications: s, Locker: s, Bills: s, Packages: s.Packages(), Vulnerabilities: s, Invoker: w, Stopper: w,
		Tree: w.overview, Health: w.overview, Logs: logReading{w.logs, w.store, s}, Counter: w.counts, Namespaces: w.namespaces, Settings: s, Secrets: w.secrets,
		Router: routing{w.store}, Storages: s, Planner: demand{w.overview, s}}
}

// storageOf returns the file of a function's storage.
func (w *Worker) storageOf(fn *core.Function) string { return w.store.StoragePath(fn.StorageName()) }

// Admit implements core.Invoker.
func (w *Worker) Admit(function, id string) error {
	fn, ok := w.store.Get(function)
	if !ok {
		return w.supply.NotFound(function)
	}
	if err := w.namespaces.begin(function, false); err != nil {
		return err
	}
	if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); err != nil {
		return err
	}
	err := w.sched.Refused(&fn)
	if err != nil {
		w.namespaces.failed(err)
		w.counts.observe(fn.Name, core.Result{}, err)
		w.reports.failed(&fn, core.Invocation{ID: id}, "", err)
	}
	return err
}

// Public implements core.Invoker.
func (w *Worker) Public(function string) bool {
	fn, ok := w.store.Get(function)
	return ok && fn.Public
}

// Invoke implements core.Invoker.
func (w *Worker) Invoke(ctx context.Context, invocation core.Invocation) (core.Result, error) {
	for begun := false; ; {
		fn, ok := w.store.Get(invocation.Function)
		if !ok {
			return core.Result{}, w.supply.NotFound(invocation.Function)
		}
		if asked := invocation.Version; asked != 0 && asked != fn.Version {
			return core.Result{}, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no version %d of the function %q: version %d is deployed", asked, fn.Name, fn.Version)
		}
		var result core.Result
		err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages)
		if err == nil && !begun {
			err = w.namespaces.begin(fn.Name, true)
			begun = err == nil
		}
		if err == nil {
			result, err = w.sched.Invoke(ctx, &fn, invocation)
			err = w.secrets.hide(&fn, err)
			w.namespaces.failed(err)
		}
		if errors.Is(err, sched.ErrReplaced) || err != nil && result.Node == "" && !w.store.Deployed(fn.Name, fn.Version) {
			continue // the store has another version by now, or none, and no code of this one: no instance has had the event
		}
		result.Language, result.Version = language(fn.Runtime), fn.Version
		w.counts.observe(fn.Name, result, err)
		if err != nil {
			w.reports.failed(&fn, invocation, result.Node, err)
		}
		if w.events && invocation.Depth > 0 {
			w.reports.event(&fn, invocation, result, err)
		}
		return result, err
	}
}

// language returns a runtime's language: its name up to the version.
func language(id core.RuntimeID) string {
	return strings.TrimRight(string(id), "0123456789.")
}

// Supply returns what supplies the worker's functions with packages: it scans archives too.
func (w *Worker) Supply() *supply.Supply { return w.supply }
