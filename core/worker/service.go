package worker

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sched"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

// Service returns the worker as the parts of a service. All of them are there.
func (w *Worker) Service() core.Service {
	s := w.supply
	return core.Service{Catalog: s, Applications: s, Locker: s, Bills: s, Packages: s.Packages(), Vulnerabilities: s, Invoker: w, Tree: w, Logs: w, Counter: w, Stopper: w, Health: w, Namespaces: w, Settings: s, Secrets: &w.secrets, Router: w, Storages: s}
}

// storageOf returns the file of a function's storage.
func (w *Worker) storageOf(fn *core.Function) string { return w.store.StoragePath(fn.StorageName()) }

// Admit implements core.Invoker.
func (w *Worker) Admit(function, id string) error {
	fn, ok := w.store.Get(function)
	if !ok {
		return w.supply.NotFound(function)
	}
	if err := w.begin(function, false); err != nil {
		return err
	}
	if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); err != nil {
		return err
	}
	err := w.sched.Refused(&fn)
	if err != nil {
		w.namespaces.failed(err)
		w.counts.observe(fn.Name, core.Result{}, err)
		w.failed(&fn, core.Invocation{ID: id}, "", err)
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
			err = w.begin(fn.Name, true)
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
			w.failed(&fn, invocation, result.Node, err)
		}
		if w.events && invocation.Depth > 0 {
			w.event(&fn, invocation, result, err)
		}
		return result, err
	}
}

// Snapshot implements core.Tree.
func (w *Worker) Snapshot(context.Context) (core.Snapshot, error) {
	nodes := w.tree.Snapshot()
	for i := range nodes {
		nodes[i].Worker = w.id
		// An instance knows of its function what was known when it was made; since then its packages may have been probed.
		if fn, is := w.store.Get(nodes[i].Function); is {
			nodes[i].Apart = w.tree.Apart(&fn)
		}
	}
	return core.Snapshot{Worker: w.id, Time: time.Now(), Nodes: nodes, Memory: w.tree.Memory(), Budget: w.budget, Drivers: w.fleet.Snapshot()}, nil
}

// Logs implements core.Logs.
func (w *Worker) Logs(ctx context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
	if functions := w.supply.FunctionsOf(name); len(functions) > 0 {
		if query.Functions != nil {
			functions = slices.DeleteFunc(functions, func(one string) bool { return !slices.Contains(query.Functions, one) })
		}
		return w.mergedLogs(ctx, functions, query)
	}
	fn, ok := w.store.Get(name)
	if !ok {
		return nil, w.supply.NotFound(name)
	}
	return w.logs.read(ctx, name, fn.Version, query)
}

// language returns a runtime's language: its name up to the version.
func language(id core.RuntimeID) string {
	return strings.TrimRight(string(id), "0123456789.")
}

// Supply returns what supplies the worker's functions with packages: it scans archives too.
func (w *Worker) Supply() *supply.Supply { return w.supply }
