package worker

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// namespaces counts the events of each namespace against its quota, and what was refused by any of its quotas.
type namespaces struct {
	mu  sync.Mutex
	all map[string]*namespace
}

type namespace struct {
	rate    plan.Rate
	refused map[string]uint64 // by quota
}

// of returns one namespace. The caller holds mu.
func (n *namespaces) of(name string) *namespace {
	if n.all == nil {
		n.all = map[string]*namespace{}
	}
	one := n.all[name]
	if one == nil {
		one = &namespace{refused: map[string]uint64{}}
		n.all[name] = one
	}
	return one
}

// begin returns why an event of a namespace with those quotas may not begin now. With take it begins.
func (n *namespaces) begin(spec core.NamespaceSpec, take bool) error {
	most := spec.Quotas.Events
	if most == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	one := n.of(spec.Name)
	rate, wait := one.rate.At(most, time.Now())
	if wait > 0 {
		return core.QuotaError(spec.Name, core.QuotaEvents, core.Count(most, "event", "events")+" a second").After(wait)
	}
	if take {
		one.rate = rate.Taken()
	}
	return nil
}

// failed counts an error if it is that of a quota.
func (n *namespaces) failed(err error) {
	var e core.Exceeded
	if !errors.As(err, &e) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of(e.Namespace).refused[e.Quota]++
}

// begin returns why an event of a function may not begin now, as namespaces.begin does, and counts that.
func (w *Worker) begin(function string, take bool) error {
	spec, err := w.store.Namespace(core.Namespace(function))
	if err != nil {
		return err
	}
	err = w.namespaces.begin(spec, take)
	if err != nil {
		w.namespaces.failed(err)
	}
	return err
}

// Quotas returns the quotas of a namespace.
func (w *Worker) quotas(name string) core.Quotas {
	spec, _ := w.store.Namespace(name) // one that was removed has none
	return spec.Quotas
}

// Namespaces implements core.Namespaces.
func (w *Worker) Namespaces(context.Context) ([]core.NamespaceInfo, error) {
	functions := map[string][]core.Function{}
	for _, f := range w.store.List() {
		name := core.Namespace(f.Name)
		functions[name] = append(functions[name], f)
	}
	var all []core.NamespaceInfo
	for _, spec := range w.store.Namespaces() {
		used := w.sched.Used(spec.Name)
		used.Functions, used.Disk = len(functions[spec.Name]), w.store.DiskOf(spec.Name, functions[spec.Name])
		all = append(all, core.NamespaceInfo{NamespaceSpec: spec, Used: used, Refused: w.namespaces.refused(spec.Name)})
	}
	return all, nil
}

func (n *namespaces) refused(name string) map[string]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.of(name).refused)
}

// CreateNamespace implements core.Namespaces.
func (w *Worker) CreateNamespace(_ context.Context, spec core.NamespaceSpec) error {
	return w.setNamespace(spec, true)
}

// SetNamespace implements core.Namespaces.
func (w *Worker) SetNamespace(_ context.Context, spec core.NamespaceSpec) error {
	return w.setNamespace(spec, false)
}

func (w *Worker) setNamespace(spec core.NamespaceSpec, isNew bool) error {
	if err := core.ValidNamespaceSpec(spec); err != nil {
		return err
	}
	if err := w.store.SetNamespace(spec, isNew); err != nil {
		return err
	}
	w.log.Info("namespace", "name", spec.Name, "isolated", spec.Isolated, "quotas", spec.Quotas)
	w.sched.Feed()
	return nil
}

// RemoveNamespace implements core.Namespaces.
func (w *Worker) RemoveNamespace(_ context.Context, name string) error {
	if err := w.store.RemoveNamespace(name); err != nil {
		return err
	}
	w.log.Info("namespace", "name", name, "removed", true)
	return nil
}
