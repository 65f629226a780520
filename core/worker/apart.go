package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// settings are the names of the environment variables that mean something else to the packages of a function than they would in a zygote.
func settings(fn *core.Function) []string {
	return slices.Concat(tree.Own(fn), fn.Sets)
}

// part finds out which of the modules that a function imports no zygote may. One that cannot be imported by itself is left to the code,
// which may be ready for that. With wait, so are for now those that were not probed.
func (w *Worker) part(fn *core.Function, wait bool) {
	packages := w.installed(fn)
	apart := map[string]string{}
	fn.Imports = slices.DeleteFunc(fn.Imports, func(module string) bool {
		why, alone := reason(fn, module, packages, wait)
		if why != "" {
			apart[module] = why
		}
		return alone
	})
	for _, module := range fn.Loaded {
		if why, _ := reason(fn, module, packages, false); why != "" {
			apart[module] = why
		}
	}
	fn.Apart = nil
	if len(apart) > 0 {
		fn.Apart = apart
	}
	w.learnCosts(fn, packages)
}

// reason tells why no zygote may import a module for a function, if none may, and whether it is the code's alone, for it cannot be imported by itself.
func reason(fn *core.Function, module string, packages []core.Installed, wait bool) (why string, alone bool) {
	p, own := owner(module, packages)
	switch {
	case p == nil:
		return "", false
	case probe.Stale(*p, packages):
		if wait {
			return p.Name + " " + unprobed, false
		}
		return "", false
	case p.Probe.Errors[own] != "":
		return p.Probe.Errors[own], true
	case p.Probe.Unforkable != "":
		return p.Name + " " + p.Probe.Unforkable, false
	}
	if why := reading(p, packages, settings(fn)); why != "" {
		return why, false
	}
	if module == own {
		return "", false
	}
	why, tried := fn.Tried[module]
	if !tried && wait {
		why = module + " " + unprobed
	}
	return why, false
}

// reading tells why a package must not have been imported by a zygote of who sets variables of these names: it reads one, or what it requires does.
func reading(p *core.Installed, packages []core.Installed, names []string) string {
	seen := map[string]bool{}
	for next := []*core.Installed{p}; len(next) > 0; next = next[1:] {
		q := next[0]
		if seen[q.String()] {
			continue
		}
		seen[q.String()] = true
		if q.Probe != nil {
			if why := probe.Reads(q.Probe.Reads, names); why != "" && q == p {
				return p.Name + " " + why
			} else if why != "" {
				return p.Name + " imports " + q.Name + ", which " + why
			}
		}
		next = append(next, required(q, packages)...)
	}
	return ""
}

// required are those of a function's packages that one of them requires. It was locked for another function perhaps, with other versions: then those of
// the same name count.
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

// try finds out what no probe of a package tells of what a function imports: whether a zygote could import modules that are deeper in a package, and
// those that the code imports perhaps.
func (w *Worker) try(ctx context.Context, d core.Driver, fn *core.Function, runtime core.Runtime) error {
	packages := w.installed(fn)
	var first, more []string
	for _, module := range fn.Imports {
		p, own := owner(module, packages)
		why, _ := reason(fn, module, packages, false)
		_, tried := fn.Tried[module]
		switch {
		case p == nil || why != "" || probe.Stale(*p, packages):
		case module == own || tried:
			first = append(first, module)
		default:
			more = append(more, module)
		}
	}
	for _, module := range fn.Perhaps {
		p, _ := owner(module, packages)
		why, _ := reason(fn, module, packages, false)
		_, tried := fn.Tried[module]
		if p != nil && why == "" && !tried && !probe.Stale(*p, packages) && !slices.Contains(fn.Imports, module) {
			more = append(more, module)
		}
	}
	if len(more) == 0 {
		return nil
	}
	good, bad, err := probe.Try(ctx, w.machine(d, runtime), packages, first, more, settings(fn))
	if err != nil {
		return fmt.Errorf("not all that it imports could be tried: %w", err)
	}
	_, err = w.store.Amend(fn.Name, fn.Version, func(f *core.Function) {
		f.Tried, f.Loaded = maps.Clone(f.Tried), slices.Clone(f.Loaded)
		if f.Tried == nil {
			f.Tried = map[string]string{}
		}
		maps.Copy(f.Tried, bad)
		for _, module := range good {
			f.Tried[module] = ""
			if !slices.Contains(f.Imports, module) && !slices.Contains(f.Loaded, module) {
				f.Loaded = append(f.Loaded, module)
			}
		}
	})
	return err
}

// inherit gives the new version of a function what was learned of the one before, as far as it holds for it as well.
func inherit(fn, before *core.Function) {
	for _, module := range before.Loaded {
		if !slices.Contains(fn.Imports, module) && !slices.Contains(fn.Perhaps, module) && len(fn.Perhaps) < maxLoaded {
			fn.Perhaps = append(fn.Perhaps, module)
		}
	}
	if fn.Runtime != before.Runtime || !slices.Equal(fn.Packages, before.Packages) || !slices.Equal(settings(fn), settings(before)) {
		return // it is tried again
	}
	fn.Tried = before.Tried
	fn.Loaded = slices.DeleteFunc(slices.Clone(before.Loaded), func(m string) bool { return slices.Contains(fn.Imports, m) })
}
