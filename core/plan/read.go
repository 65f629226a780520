package plan

import "github.com/pipsqueak-faas/pipsqueak/core"

// Read returns the demand of a worker as Plan wants it, with a count for each function in the same order. A
// function that is used less than once counts once, so that none is left out.
func Read(d core.Demand) (demand []Arrivals, facts Facts) {
	facts = Facts{Asks: Asks{}, Needs: Needs{}}
	for _, f := range d.Functions {
		demand = append(demand, Arrivals{Shape{Runtime: f.Runtime, Namespace: f.Namespace, Set: f.Packages}, max(f.Use, 1)})
	}
	for _, p := range d.Packages {
		facts.Needs[p.Package] = Need{Requires: p.Requires, Took: p.Took, Bytes: p.Bytes}
		switch asker := (Asker{p.Runtime, p.Package}); {
		case p.AsksAll:
			facts.Asks[asker] = nil
		case len(p.Asks) > 0:
			facts.Asks[asker] = p.Asks
		}
	}
	return demand, facts
}

// Typical is what a process costs on the machine that Pipsqueak was written on.
func Typical() Machine { return Machine{ForkPerByte: 0.017e6 / (1 << 20), NodeBytes: 2 << 20} }
