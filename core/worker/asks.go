package worker

import (
	"slices"
	"strings"
	"unicode"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// A package may import another one if it is there, without requiring it, and remembers that it was not. Here is which of them do.

// learnAsks tells the tree which of the installed packages ask for which, and what they have and require.
func (w *Worker) learnAsks() {
	w.asking.Lock()
	defer w.asking.Unlock()
	installed := w.store.Installed()
	w.tree.LearnAsks(asksOf(installed))
	w.tree.LearnNeeds(needsOf(installed))
}

// needsOf returns what the packages have and require.
func needsOf(installed []core.Installed) tree.Needs {
	all := tree.Needs{}
	for _, p := range installed {
		need := tree.Need{Modules: p.Receipt.Modules}
		for _, required := range p.Locked.Requires { // in the versions of the function that brought it
			name, _, _ := strings.Cut(required, "==")
			need.Requires = append(need.Requires, name)
		}
		all[p.Package] = need
	}
	return all
}

// asksOf finds out which of the packages ask for which. One of which that is not known may ask for all.
func asksOf(installed []core.Installed) tree.Asks {
	type start struct {
		runtime core.RuntimeID
		name    string
	}
	index := map[start][]*core.Installed{}
	for i := range installed {
		p := &installed[i]
		for _, name := range append(slices.Clone(p.Receipt.Modules), p.Name) {
			if key := (start{p.Runtime, first(name)}); !slices.Contains(index[key], p) {
				index[key] = append(index[key], p)
			}
		}
	}
	all := tree.Asks{}
	for i := range installed {
		p := &installed[i]
		names, known := probe.Asks(*p)
		if !known || slices.Contains(names, core.AnyPackage) {
			all[p.Package] = nil
			continue
		}
		var others core.Set
		for _, name := range names {
			for _, q := range index[start{p.Runtime, first(name)}] {
				if q.Name != p.Name && provides(q, name) {
					others = append(others, q.Package)
				}
			}
		}
		if len(others) > 0 {
			all[p.Package] = core.NewSet(others...)
		}
	}
	return all
}

// first is how the name of a module begins, without the way in which it is imported.
func first(name string) string {
	if _, rest, ways := strings.Cut(name, ":"); ways {
		name = rest
	}
	end := strings.IndexFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '@'
	})
	if at := strings.LastIndexByte(name, '@'); at > 0 && (end < 0 || at < end) { // a version follows
		end = at
	}
	if end >= 0 {
		name = name[:end]
	}
	return name
}

// provides tells whether a name that a package asks for is that of another one, or is of its modules, or may be where they are.
func provides(q *core.Installed, name string) bool {
	return q.Name == name || slices.ContainsFunc(q.Receipt.Modules, func(m string) bool {
		if _, rest, ways := strings.Cut(m, ":"); ways {
			m = rest
		}
		return tree.Within(name, m) || tree.Within(m, name)
	})
}

// asked are those of a function's packages that one of them asks for.
func asked(p *core.Installed, packages []core.Installed) (found []*core.Installed) {
	names, known := probe.Asks(*p)
	any := !known || slices.Contains(names, core.AnyPackage)
	for i := range packages {
		q := &packages[i]
		if q != p && (any || slices.ContainsFunc(names, func(name string) bool { return provides(q, name) })) {
			found = append(found, q)
		}
	}
	return found
}

// noteAsks keeps what trials have found out about the packages of a function, in the store and in packages, before a zygote does the same.
func (w *Worker) noteAsks(runtime core.RuntimeID, packages []core.Installed, trials map[string]core.Trial) error {
	changed := map[core.Package]core.Probe{}
	for module, trial := range trials {
		p, _ := owner(module, packages)
		if p == nil {
			continue
		}
		names, known := probe.Asks(*p)
		if all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(names, trial.Asks)))); known && len(all) > len(names) {
			more := *p.Probe
			more.Asks = all
			p.Probe = &more
			changed[p.Package] = more
		}
	}
	if len(changed) == 0 {
		return nil
	}
	err := w.store.SetProbes(runtime, changed)
	w.learnAsks()
	return err
}
