package supply

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// knowledge is what is known of packages from probes and trials, and what follows from it for each function:
// which of its modules zygotes import, and which are left to its instances.
type knowledge struct {
	log   *slog.Logger
	store *store.Store
	fleet Fleet
	live  Live

	asking   *asking    // the names that packages ask for
	watching sync.Mutex // one trial at a time of functions that are deployed already
}

// unprobed is why modules are left to instances until their packages have been probed, which begins when the
// deploy has ended.
const unprobed = "is being probed"

// prober names what makes probes of a runtime now, empty when its driver is not there.
func (k *knowledge) prober(id core.RuntimeID) string {
	if k.fleet == nil {
		return ""
	}
	for _, d := range k.fleet.Snapshot() {
		for _, r := range d.Runtimes {
			if r.ID == id {
				own := core.BuildOf()
				return fmt.Sprintf("pipsqueak %s %s, %s driver %s, %s %s", own.Version, own.Revision, d.Language, d.Version, id, r.Version)
			}
		}
	}
	return ""
}

// installed returns the store's index entries of the packages of a function.
func (k *knowledge) installed(fn *core.Function) []core.Installed {
	if len(fn.Packages) == 0 {
		return nil
	}
	return k.of(fn, k.store.InstalledOf(fn.Runtime, fn.Packages))
}

// of returns those of the installed packages that a function has.
func (k *knowledge) of(fn *core.Function, installed []core.Installed) []core.Installed {
	own := slices.DeleteFunc(slices.Clone(installed), func(p core.Installed) bool {
		_, has := slices.BinarySearchFunc(fn.Packages, p.Package, core.Package.Compare)
		return !has || p.Runtime != fn.Runtime
	})
	if by := k.prober(fn.Runtime); by != "" {
		for i := range own {
			own[i] = probe.Known(own[i], by)
		}
	}
	return own
}

// reconsider has what was found out about a function's imports by another probe than there is now found out
// again, as far as it failed. It returns whether there is anything.
func (k *knowledge) reconsider(fn *core.Function, packages []core.Installed) (changed bool) {
	by := k.prober(fn.Runtime)
	if by == "" || !again(fn, packages, by) {
		return false
	}
	_, err := k.store.Amend(fn.Name, fn.Version, func(f *core.Function) { again(f, packages, by) })
	if err != nil {
		k.log.Warn("probe", "fn", fn.Name, "err", err)
	}
	return true
}

// again forgets trials that failed by another probe than by, and lets the modules that were left to the code
// for such a failure, or for that of a package, wait like those that were never probed.
func again(fn *core.Function, packages []core.Installed, by string) (changed bool) {
	failed := func(_ string, trial core.Trial) bool { return trial.Why != "" && trial.By != by }
	fn.Imports, fn.Apart = slices.Clone(fn.Imports), maps.Clone(fn.Apart)
	for _, module := range slices.Sorted(maps.Keys(fn.Apart)) {
		p, _ := owner(module, packages)
		if !failed(module, fn.Tried[module]) && (p == nil || !probe.Stale(*p, packages)) {
			continue
		}
		changed = true
		fn.Apart[module] = module + " " + unprobed
		if !slices.Contains(fn.Imports, module) && !slices.Contains(fn.Perhaps, module) {
			fn.Imports = append(fn.Imports, module)
		}
	}
	tried := maps.Clone(fn.Tried)
	maps.DeleteFunc(tried, failed)
	changed = changed || len(tried) < len(fn.Tried)
	fn.Tried = tried
	return changed
}

// hasImports reports whether there is anything to find out about the imports of a function.
func hasImports(fn *core.Function) bool {
	return len(fn.Packages) > 0 || len(fn.Imports) > 0 || len(fn.Perhaps) > 0
}

// waits reports whether modules of the function are left to instances for want of a probe.
func waits(fn *core.Function) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(fn.Apart)), func(why string) bool { return strings.HasSuffix(why, unprobed) })
}

// preloadSettled has the zygote made that a function is forked from when all is settled, before it is:
// meanwhile its starts are what they were.
func (k *knowledge) preloadSettled(ctx context.Context, fn core.Function) {
	fn.Imports = slices.Clone(fn.Imports)
	k.part(&fn, false)
	k.live.Preload(ctx, &fn)
}

// settle finds out again which modules of a deployed function no zygote may import. With wait, what was not
// probed goes on waiting.
func (k *knowledge) settle(name string, version int, wait bool) {
	settled, ok := k.store.Get(name)
	if !ok || settled.Version != version || !hasImports(&settled) {
		return
	}
	settled.Imports = slices.Clone(settled.Imports)
	k.part(&settled, wait)
	corrected, err := k.store.Amend(name, version, func(f *core.Function) {
		f.Imports, f.Apart, f.Aside, f.Loaded, f.Weights = settled.Imports, settled.Apart, settled.Aside, settled.Loaded, settled.Weights
		f.Offers = settled.Offers
	})
	if err == nil {
		k.live.Correct(&corrected)
	} else if !core.IsKind(err, core.KindConflict) {
		k.log.Warn("probe", "fn", name, "err", err)
	}
}

// owner finds the package that a module is of: the one with the longest module that it is or begins with, and
// that module. When there is none, the way in which the module is imported, before a colon, does not count: a
// package reports one of them.
func owner(module string, packages []core.Installed) (found *core.Installed, own string) {
	for i := range packages {
		for _, m := range packages[i].Receipt.Modules {
			if len(m) > len(own) && plan.Within(module, m) {
				found, own = &packages[i], m
			}
		}
	}
	if _, name, ways := strings.Cut(module, ":"); found == nil && ways {
		return owner(name, packages)
	}
	return found, own
}

// learnCosts tells the tree what importing a function's modules takes, as their packages' probes have it.
func (k *knowledge) learnCosts(fn *core.Function, packages []core.Installed) {
	costs := map[string]time.Duration{}
	for _, module := range slices.Concat(fn.Imports, fn.Loaded) {
		if p, _ := owner(module, packages); p != nil && p.Probe != nil && len(p.Probe.Errors) == 0 {
			costs[module] = p.Probe.Took
		}
		if trial, tried := fn.Tried[module]; tried {
			costs[module] += trial.Took
		}
	}
	k.live.Learn(fn.Runtime, costs, fn.Weights)
}
