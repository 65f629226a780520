package plan

import (
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Processes of the tree import modules, and a function imports some of those that its packages have. So a
// plan for the tree is made of stand-ins: each module is a package that requires the one which has it. Only
// these cost something. A zygote of such a plan has packages and modules that its functions have in common,
// as the tree demands it.

// standsFor is the beginning of the name of a stand-in. No package has a name like it.
const standsFor = "import "

// moduleOf returns the module that a package stands for, "" for a package.
func moduleOf(p core.Package) string {
	module, _ := strings.CutPrefix(p.Name, standsFor)
	if module == p.Name {
		return ""
	}
	return module
}

// owner returns the package that has a module. A module of no package is the language's own.
func (n Needs) owner(module string, all core.Set) (owner core.Package, found bool) {
	own := ""
	for _, p := range all {
		for _, m := range n[p].Modules {
			if len(m) > len(own) && Within(module, m) {
				owner, own = p, m
			}
		}
	}
	if own != "" {
		return owner, true
	}
	_, name, ways := strings.Cut(module, ":") // ways to import it; a package has it by one of them
	if !ways {
		return owner, false
	}
	return n.owner(name, all)
}

// standIn is what stands for a module of a shape, and what it requires. A module of no known package may need
// any of the packages.
func standIn(s Shape, module string, needs Needs) (one core.Package, requires []string) {
	one = core.Package{Name: standsFor + module, Version: string(s.Runtime)}
	if owner, found := needs.owner(module, s.Set); found {
		one.Digest = owner.Name
		return one, []string{owner.Name}
	}
	one.Digest = s.Set.Key()
	for _, p := range s.Set {
		requires = append(requires, p.Name)
	}
	return one, requires
}

// standIns returns the packages of a shape, with what stands for its modules.
func standIns(s Shape, needs Needs) core.Set {
	set := slices.Clone(s.Set)
	for _, m := range s.Modules {
		one, _ := standIn(s, m, needs)
		set = append(set, one)
	}
	return core.NewSet(set...)
}

// modular returns the demand for shapes as one whose sets have stand-ins, and the facts about these.
func modular(demand []Arrivals, facts Facts, breathe func()) ([]Arrivals, Facts) {
	is := Facts{Needs: Needs{}, Asks: Asks{}}
	made := make([]Arrivals, len(demand))
	there := map[Asker]bool{}
	for i, d := range demand {
		set := slices.Clone(d.Set)
		for _, p := range d.Set {
			there[Asker{d.Runtime, p}] = true
			is.Needs[p] = Need{Requires: facts.Needs[p].Requires}
		}
		for _, m := range d.Modules {
			one, requires := standIn(d.Shape, m, facts.Needs)
			is.Needs[one] = Need{Requires: requires, Took: facts.Costs.of(d.Runtime, m), Bytes: facts.Weights[Module{d.Runtime, m}]}
			set = append(set, one)
		}
		made[i] = d
		made[i].Set = core.NewSet(set...)
		breathe()
	}
	var packages []core.Package
	for a := range there {
		packages = append(packages, a.Package)
	}
	all := core.NewSet(packages...)
	for a := range there {
		others, asks := facts.Asks[a]
		if asks && others == nil { // which would stand for all modules, too
			others = all
		}
		if asks {
			is.Asks[a] = others
		}
	}
	return made, is
}
