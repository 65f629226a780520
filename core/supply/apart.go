package supply

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// worthLoading is how long a module of the language's own, which any code may import, has to take for a
// zygote to import it ahead.
const worthLoading = 2 * time.Millisecond

// part finds out which of the modules that a function imports no zygote may. One that cannot be imported by
// itself is left to the code, which may be ready for that. With wait, so are for now those that were not
// probed.
func (k *knowledge) part(fn *core.Function, wait bool) {
	packages := k.installed(fn)
	k.learnAsks(packages)
	k.offerCode(fn)
	apart := map[string]string{}
	for module, why := range fn.Apart { // of what was left to the code before
		if !slices.Contains(fn.Imports, module) && !strings.HasSuffix(why, unprobed) {
			apart[module] = why
		}
	}
	aside := unshared(fn, packages)
	fn.Imports = slices.DeleteFunc(fn.Imports, func(module string) bool {
		why, alone := reason(fn, module, packages, aside, wait)
		if why != "" {
			apart[module] = why
		}
		return alone
	})
	fn.Aside = nil
	for i := range packages {
		if aside[packages[i].Package] != "" {
			fn.Aside = append(fn.Aside, packages[i].Package)
		}
	}
	fn.Loaded = slices.DeleteFunc(slices.Clone(fn.Loaded), func(m string) bool { why, _ := reason(fn, m, packages, aside, false); return why != "" })
	fn.Apart = nil
	if len(apart) > 0 {
		fn.Apart = apart
	}
	fn.Weights = weigh(fn, packages)
	k.learnCosts(fn, packages)
}

// reason reports why no zygote may import a module for a function, if none may, and whether it is the code's
// alone, for it cannot be imported by itself. Aside are the packages that are unshared.
func reason(fn *core.Function, module string, packages []core.Installed, aside map[core.Package]string, wait bool) (why string, alone bool) {
	p, own := owner(module, packages)
	trial, tried := trialOf(fn, module)
	switch {
	case fn.IsLate(module):
		return module + " " + isLate, false
	case p != nil && probe.Stale(*p, packages):
		if wait {
			return p.Name + " " + unprobed, false
		}
		return "", false
	case p != nil && module == own && p.Probe.Errors[own] != "": // what is deeper may be meant to be imported without it
		return p.Probe.Errors[own], true
	case p != nil && p.Probe.Unforkable != "":
		return p.Name + " " + p.Probe.Unforkable, false
	case p != nil && aside[p.Package] != "":
		return aside[p.Package], false
	case p != nil && module == own:
		return "", false
	case !tried && wait:
		return module + " " + unprobed, false
	case tried && p == nil && trial.Why == "" && slices.Contains(trial.Reads, core.AllVariables):
		return "looks at all environment variables when it is imported", false
	case tried && p == nil && trial.Why == "" && slices.ContainsFunc(trial.Asks, core.IsPlace):
		return "looks at the working directory, or at its process, when it is imported", false
	case tried && p == nil && trial.Why == "":
		return variables(fn, unowned(fn, packages)), false
	}
	return trial.Why, trial.Why != ""
}

// unowned are the variables that modules of the language's own read which the function imports, whichever of
// them does: they import each other.
func unowned(fn *core.Function, packages []core.Installed) (names []string) {
	for _, module := range slices.Sorted(maps.Keys(fn.Tried)) {
		if trial, tried := trialOf(fn, module); tried {
			if p, _ := owner(module, packages); p == nil {
				names = append(names, trial.Reads...)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == core.AllVariables })
}

// trialOf returns the trial of a module for a function, if there was one.
func trialOf(fn *core.Function, module string) (trial core.Trial, tried bool) {
	if trial, tried = fn.Tried[module]; tried && probe.Current(trial) {
		return trial, true
	}
	return core.Trial{}, false
}

// unshared reports which packages a zygote of a function must not have loaded, and why: they read a variable
// that is set for the function, or look for what only instances find or what no zygote may have, or what they
// require or ask for does.
func unshared(fn *core.Function, packages []core.Installed) map[core.Package]string {
	own, spoilt := late(fn, packages), false
	for i := range packages {
		p := &packages[i]
		asks, _ := probe.Asks(*p)
		if why := cmp.Or(variables(fn, reads(fn, p, packages)), misses(fn, asks), own[p]); why != "" {
			own[p] = why
		}
		spoilt = spoilt || p.Probe != nil && p.Probe.Unforkable != ""
	}
	if len(own) == 0 && !spoilt {
		return nil // mostly
	}
	asked, users := looks(packages), map[*core.Installed][]*core.Installed{}
	for i := range packages {
		p := &packages[i]
		names, known := probe.Asks(*p)
		byName := known && !slices.Contains(names, core.AnyPackage)
		for _, q := range asked[p] {
			users[q] = append(users[q], p)
			if byName && q.Probe != nil && q.Probe.Unforkable != "" && own[p] == "" {
				own[p] = "looks for " + q.Name + ", which " + q.Probe.Unforkable
			}
		}
		for _, q := range required(p, packages) {
			users[q] = append(users[q], p)
		}
	}
	reasons := map[core.Package]string{}
	for i := range packages {
		if p := &packages[i]; own[p] != "" {
			reasons[p.Package] = p.Name + " " + own[p]
		}
	}
	for i := range packages {
		root := &packages[i]
		if own[root] == "" {
			continue
		}
		for next := []*core.Installed{root}; len(next) > 0; next = next[1:] {
			for _, p := range users[next[0]] {
				if reasons[p.Package] == "" {
					reasons[p.Package] = p.Name + " imports " + root.Name + ", which " + own[root]
					next = append(next, p)
				}
			}
		}
	}
	return reasons
}

// isLate is why a module is apart that a function imports late.
const isLate = "is imported after the function's own code may have changed what it finds"

// late reports which packages no zygote of a function may have loaded because its code imports them late.
// There are none if a zygote imports only modules that are known to come first: what these load is first too.
func late(fn *core.Function, packages []core.Installed) map[*core.Installed]string {
	found, names := map[*core.Installed]string{}, slices.Concat(fn.Sets, fn.Changes)
	if slices.Contains(names, core.LateModule+core.AnyPackage) {
		return found
	}
	for _, name := range names {
		if module, is := strings.CutPrefix(name, core.LateModule); is {
			if p, _ := owner(module, packages); p != nil {
				found[p] = isLate
			}
		}
	}
	return found
}

// variables reports why a module that reads these when it is imported must not be in a zygote of a function,
// if so.
func variables(fn *core.Function, names []string) string {
	why := probe.Reads(names, fn.Settings())
	if why != "" && !fn.Watched && slices.Contains(fn.Changes, core.AllVariables) && why == probe.Reads(nil, []string{core.AllVariables}) &&
		!slices.Contains(fn.Sets, core.AllVariables) {
		return "is left to the function until its handler has been tried, which its deploy has not done"
	}
	return why
}

// reads are the variables that a package is known to read: by itself, and where the function looks deeper.
func reads(fn *core.Function, p *core.Installed, packages []core.Installed) (names []string) {
	if p.Probe != nil {
		names = slices.Clone(p.Probe.Reads)
	}
	for module, trial := range fn.Tried {
		if q, _ := owner(module, packages); q == p {
			names = append(names, trial.Reads...)
		}
	}
	sets := slices.ContainsFunc(slices.Concat(fn.Sets, fn.Changes), func(name string) bool { return !strings.HasPrefix(name, core.LateModule) })
	if !fn.HasVariables() && !sets { // who looks at everything finds what is the same for all functions, but for their names
		names = slices.DeleteFunc(names, func(name string) bool { return name == core.AllVariables })
	}
	return names
}

// required are those of a function's packages that one of them requires. It was locked for another function
// perhaps, with other versions: then those of the same name count.
func required(p *core.Installed, packages []core.Installed) (found []*core.Installed) {
	for _, name := range p.Locked.Requires {
		exact := slices.IndexFunc(packages, func(q core.Installed) bool { return q.String() == name })
		for i := range packages {
			if i == exact || exact < 0 && strings.HasPrefix(name, packages[i].Name+"==") {
				found = append(found, &packages[i])
			}
		}
	}
	return found
}

// modulesToTry returns those of a function's modules of which nobody knows yet whether a zygote could import
// them, and those that one imports first.
func modulesToTry(fn *core.Function, packages []core.Installed) (first, more []string) {
	aside := unshared(fn, packages)
	for _, module := range slices.Concat(fn.Imports, fn.Perhaps) {
		p, own := owner(module, packages)
		why, _ := reason(fn, module, packages, aside, false)
		_, tried := trialOf(fn, module)
		certain := slices.Contains(fn.Imports, module)
		switch {
		case why != "" || p != nil && probe.Stale(*p, packages) || slices.Contains(more, module) || slices.Contains(first, module):
		case certain && (tried || p != nil && module == own):
			first = append(first, module)
		case !tried && !slices.Contains(fn.Loaded, module) && len(more) < maxLoaded:
			more = append(more, module)
		}
	}
	return first, more
}

// take notes trials with the function, and what of the modules is worth to be imported ahead besides.
func take(fn *core.Function, modules []string, trials map[string]core.Trial, packages []core.Installed) {
	fn.Tried, fn.Loaded = maps.Clone(fn.Tried), slices.Clone(fn.Loaded)
	if fn.Tried == nil {
		fn.Tried = map[string]core.Trial{}
	}
	maps.Copy(fn.Tried, trials)
	aside := unshared(fn, packages)
	for _, module := range modules {
		p, _ := owner(module, packages)
		trial, tried := trialOf(fn, module) // now, or for a version before
		why, _ := reason(fn, module, packages, aside, false)
		if tried && why == "" && (p != nil || trial.Took >= worthLoading) && !slices.Contains(fn.Imports, module) && !slices.Contains(fn.Loaded, module) {
			fn.Loaded = append(fn.Loaded, module)
		}
	}
	fn.Weights = weigh(fn, packages)
}

// inherit gives the new version of a function what was learned of the one before, as far as it holds for it
// as well, besides what was learned of itself.
func inherit(fn, before *core.Function) {
	for _, module := range before.Loaded {
		if !slices.Contains(fn.Imports, module) && !slices.Contains(fn.Perhaps, module) && len(fn.Perhaps) < maxLoaded {
			fn.Perhaps = append(fn.Perhaps, module)
		}
	}
	if !alike(fn, before) {
		return // it is tried again
	}
	if len(before.Tried) > 0 {
		own := fn.Tried
		fn.Tried = maps.Clone(before.Tried)
		maps.Copy(fn.Tried, own)
	}
	fn.Loaded = slices.Clone(fn.Loaded)
	for _, module := range before.Loaded {
		if !slices.Contains(fn.Imports, module) && !slices.Contains(fn.Loaded, module) {
			fn.Loaded = append(fn.Loaded, module)
		}
	}
}

// alike reports whether what was tried for one version of a function holds for another one.
func alike(one, other *core.Function) bool {
	return one.Runtime == other.Runtime && slices.Equal(one.Packages, other.Packages) && slices.Equal(one.Sets, other.Sets) &&
		slices.Equal(one.OwnVariables(), other.OwnVariables())
}
