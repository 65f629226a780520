package worker

import (
	"context"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

// demand shows what a plan is made from. It implements core.Planner.
type demand struct {
	*overview
	supply *supply.Supply
}

// Demand implements core.Planner.
func (w demand) Demand(context.Context) (core.Demand, error) {
	now := time.Now()
	d := core.Demand{Worker: w.id, Time: now, Budget: w.budget, Functions: []core.FunctionDemand{}, Packages: []core.PackageCost{}}
	uses := w.tree.Uses(func(name string) bool { _, deployed := w.store.Get(name); return deployed })
	asks, needs := w.supply.Learned()
	there := map[core.Package]bool{}
	var all []plan.Asker
	for _, fn := range w.store.List() {
		shape := plan.ShapeOf(&fn)
		one := core.FunctionDemand{Name: fn.Name, Runtime: fn.Runtime, Namespace: shape.Namespace, Packages: append(core.Set{}, shape.Set...)}
		one.Use = plan.Use(uses[fn.Name]).At(now)
		d.Functions = append(d.Functions, one)
		for _, p := range shape.Set {
			if asker := (plan.Asker{Runtime: fn.Runtime, Package: p}); !there[p] {
				there[p] = true
				all = append(all, asker)
			}
		}
	}
	for _, asker := range all {
		need := needs[asker.Package]
		one := core.PackageCost{Package: asker.Package, Runtime: asker.Runtime, Took: need.Took, Bytes: need.Bytes, Requires: need.Requires}
		others, asking := asks[asker]
		one.AsksAll = asking && others == nil
		one.Asks = slices.DeleteFunc(slices.Clone(others), func(p core.Package) bool { return !there[p] })
		d.Packages = append(d.Packages, one)
	}
	return d, nil
}
