package probe

import (
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// inOrder returns packages with all that they require, each after what it requires itself, also where they
// require each other in a circle.
func (r *run) inOrder(packages ...*core.Installed) (order []*core.Installed) {
	seen := map[*core.Installed]bool{}
	var visit func(p *core.Installed)
	visit = func(p *core.Installed) {
		if p == nil || seen[p] {
			return
		}
		seen[p] = true
		for _, name := range p.Locked.Requires {
			visit(r.byName[name])
		}
		order = append(order, p)
	}
	for _, p := range packages {
		visit(p)
	}
	return order
}

// requires returns the packages that a package requires, directly or not, each after those that it requires
// itself.
func (r *run) requires(p *core.Installed) []*core.Installed {
	order := r.inOrder(p)
	return order[:len(order)-1]
}

// importable are the modules of packages that are known to be good.
func importable(packages []*core.Installed) (modules []string) {
	for _, p := range packages {
		if p.Probe == nil || p.Probe.Unforkable != "" {
			continue
		}
		for _, m := range p.Receipt.Modules {
			if _, fails := p.Probe.Errors[m]; !fails {
				modules = append(modules, m)
			}
		}
	}
	return modules
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(m string) bool { return slices.Contains(b, m) })
}
