package worker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/sched"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// namespaces counts the events of each namespace against its quota, and what was refused by any of its
// quotas. It implements core.Namespaces.
type namespaces struct {
	log   *slog.Logger
	store *store.Store
	sched *sched.Scheduler // set before the first event

	mu  sync.Mutex // guards the following
	all map[string]*namespace
}

type namespace struct {
	rate    plan.Rate
	refused map[string]uint64 // by quota
}

// of returns one namespace. The caller holds mu.
func (n *namespaces) of(name string) *namespace {
	one := n.all[name]
	if one == nil {
		one = &namespace{refused: map[string]uint64{}}
		n.all[name] = one
	}
	return one
}

// within returns why an event of a namespace with those quotas may not begin now. With take it begins.
func (n *namespaces) within(spec core.NamespaceSpec, take bool) error {
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

// begin returns why an event of a function may not begin now, as within does, and counts that.
func (n *namespaces) begin(function string, take bool) error {
	spec, err := n.store.Namespace(core.Namespace(function))
	if err != nil {
		return err
	}
	err = n.within(spec, take)
	if err != nil {
		n.failed(err)
	}
	return err
}

// quotas returns the quotas of a namespace.
func (n *namespaces) quotas(name string) core.Quotas {
	spec, _ := n.store.Namespace(name) // one that was removed has none
	return spec.Quotas
}

// Namespaces implements core.Namespaces.
func (n *namespaces) Namespaces(context.Context) ([]core.NamespaceInfo, error) {
	functions := map[string][]core.Function{}
	for _, f := range n.store.List() {
		name := core.Namespace(f.Name)
		functions[name] = append(functions[name], f)
	}
	var all []core.NamespaceInfo
	for _, spec := range n.store.Namespaces() {
		used := n.sched.Used(spec.Name)
		used.Functions, used.Disk = len(functions[spec.Name]), n.store.DiskOf(spec.Name, functions[spec.Name])
		all = append(all, core.NamespaceInfo{NamespaceSpec: spec, Used: used, Refused: n.refused(spec.Name)})
	}
	return all, nil
}

func (n *namespaces) refused(name string) map[string]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.of(name).refused)
}

// CreateNamespace implements core.Namespaces.
func (n *namespaces) CreateNamespace(_ context.Context, spec core.NamespaceSpec) error {
	return n.set(spec, true)
}

// SetNamespace implements core.Namespaces.
func (n *namespaces) SetNamespace(_ context.Context, spec core.NamespaceSpec) error {
	return n.set(spec, false)
}

func (n *namespaces) set(spec core.NamespaceSpec, isNew bool) error {
	if err := core.ValidNamespaceSpec(spec); err != nil {
		return err
	}
	if err := n.store.SetNamespace(spec, isNew); err != nil {
		return err
	}
	n.log.Info("namespace", "name", spec.Name, "isolated", spec.Isolated, "quotas", spec.Quotas)
	n.sched.Feed()
	return nil
}

// RemoveNamespace implements core.Namespaces.
func (n *namespaces) RemoveNamespace(_ context.Context, name string) error {
	if err := n.store.RemoveNamespace(name); err != nil {
		return err
	}
	n.log.Info("namespace", "name", name, "removed", true)
	return nil
}
