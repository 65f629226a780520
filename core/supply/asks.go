package supply

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// A package may import another one if it is there, without requiring it, and remembers that it was not. Here
// is which of them do.

// asking knows which packages ask for which, of those that functions have had. What a package costs goes by
// how much it asks for and how many ask for it, however many others there are.
type asking struct {
	mu     sync.Mutex
	known  map[plan.Asker]known
	offers map[name][]core.Package // the packages in which each name is found
	asked  map[name][]core.Package // the packages that ask for each name
	asks   plan.Asks
	needs  plan.Needs
}

// known has the names that a package is known to ask for.
type known struct {
	probed bool
	names  []string // sorted
	locked []string // what it requires
	bytes  int64    // of memory that its import takes
	took   time.Duration
}

// name is one that a package asks for, or how it begins, or one below it.
type name struct {
	runtime core.RuntimeID
	text    string
	below   bool
}

func newAsking() *asking {
	return &asking{known: map[plan.Asker]known{}, offers: map[name][]core.Package{}, asked: map[name][]core.Package{}, asks: plan.Asks{}, needs: plan.Needs{}}
}

// learnAsks tells the tree what is known of packages now, and what they have and require, before a zygote
// imports them, and before a function has one that is asked for.
func (k *knowledge) learnAsks(packages []core.Installed) {
	k.asking.mu.Lock()
	defer k.asking.mu.Unlock()
	if k.asking.learn(packages) > 0 {
		k.live.LearnPackages(k.asking.asks, k.asking.needs)
	}
}

// Learned returns what is known of packages: which look for which others, what they require, and what
// importing them costs. What it returns is not to be changed.
func (s *Supply) Learned() (plan.Asks, plan.Needs) {
	s.asking.mu.Lock()
	defer s.asking.mu.Unlock()
	return s.asking.asks, s.asking.needs
}

// learn takes in what is known of packages, and returns of how many that is something new. It leaves earlier
// values of asks and needs as they were.
func (k *asking) learn(packages []core.Installed) (changed int) {
	for i := range packages {
		p := &packages[i]
		names, probed := probe.Asks(*p)
		asker := plan.Asker{Runtime: p.Runtime, Package: p.Package}
		before, there := k.known[asker]
		if there && before.probed == probed && slices.Equal(before.names, names) && slices.Equal(before.locked, p.Locked.Requires) &&
			before.bytes == memoryOf(p) && before.took == tookOf(p) {
			continue
		}
		if changed++; changed == 1 {
			k.asks, k.needs = maps.Clone(k.asks), maps.Clone(k.needs)
		}
		k.known[asker] = known{probed, names, p.Locked.Requires, memoryOf(p), tookOf(p)}
		k.needs[p.Package] = need(p)
		if !there {
			k.offer(p)
		}
		k.ask(asker, before.names)
	}
	return changed
}

// need has the modules, requirements and costs of a package.
func need(p *core.Installed) plan.Need {
	need := plan.Need{Modules: p.Receipt.Modules, Took: tookOf(p), Bytes: memoryOf(p)}
	for _, required := range p.Locked.Requires { // in the versions of the function that brought it
		name, _, _ := strings.Cut(required, "==")
		need.Requires = append(need.Requires, name)
	}
	return need
}

// offer notes by which names a package is found, and that those who ask for one of them ask for it.
func (k *asking) offer(p *core.Installed) {
	for n := range offered(p) {
		k.offers[n] = append(k.offers[n], p.Package)
		for _, q := range k.asked[n] {
			k.pair(plan.Asker{Runtime: p.Runtime, Package: q}, p.Package)
		}
	}
}

// ask notes what a package asks for, besides what it was known to. One of which that is not known may ask for
// all.
func (k *asking) ask(asker plan.Asker, before []string) {
	now := k.known[asker]
	if !now.probed || slices.Contains(now.names, core.AnyPackage) {
		k.asks[asker] = nil
		return
	}
	if others, asks := k.asks[asker]; asks && others == nil {
		delete(k.asks, asker)
	}
	old, added := askedFor(asker.Runtime, before), askedFor(asker.Runtime, now.names)
	for n := range added {
		if old[n] {
			continue
		}
		k.asked[n] = append(k.asked[n], asker.Package)
		for _, q := range k.offers[n] {
			k.pair(asker, q)
		}
	}
}

func (k *asking) pair(asker plan.Asker, q core.Package) {
	others, asks := k.asks[asker]
	if q.Name == asker.Package.Name || asks && others == nil || slices.Contains(others, q) {
		return
	}
	k.asks[asker] = core.NewSet(append(slices.Clone(others), q)...)
}

// askedFor are the names by one of which a package has to be found to be asked for: it is what is asked for,
// or has it as a part, or is a part of it.
func askedFor(runtime core.RuntimeID, texts []string) map[name]bool {
	names := map[name]bool{}
	for _, text := range texts {
		if core.IsPlace(text) {
			continue
		}
		names[name{runtime, text, true}] = true
		for beginning := range beginnings(text) {
			names[name{runtime, beginning, false}] = true
		}
	}
	return names
}

// offered are the names by one of which a package has to be asked for.
func offered(p *core.Installed) map[name]bool {
	names := map[name]bool{}
	for _, text := range found(p) {
		names[name{p.Runtime, text, false}] = true
		for beginning := range beginnings(text) {
			names[name{p.Runtime, beginning, true}] = true
		}
	}
	return names
}

// found are the names by which a package is found, without the way in which they are imported.
func found(p *core.Installed) (names []string) {
	for _, m := range slices.Concat(p.Receipt.Modules, p.Receipt.Offers) {
		if _, rest, ways := strings.Cut(m, ":"); ways {
			m = rest
		}
		names = append(names, m)
	}
	return append(names, p.Name)
}

// beginnings are the names that a name is within, itself the last.
func beginnings(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range text {
			if i > 0 && plan.Within(text, text[:i]) && !yield(text[:i]) {
				return
			}
		}
		yield(text)
	}
}

// looks tells for which others of a function's packages each of them asks.
func looks(packages []core.Installed) map[*core.Installed][]*core.Installed {
	offers, asked := map[name][]*core.Installed{}, map[*core.Installed][]*core.Installed{}
	for i := range packages {
		for n := range offered(&packages[i]) {
			offers[n] = append(offers[n], &packages[i])
		}
	}
	for i := range packages {
		p := &packages[i]
		names, known := probe.Asks(*p)
		any := !known || slices.Contains(names, core.AnyPackage)
		others := map[*core.Installed]bool{p: true}
		add := func(q *core.Installed) {
			if !others[q] {
				others[q] = true
				asked[p] = append(asked[p], q)
			}
		}
		for j := range packages {
			if any {
				add(&packages[j])
			}
		}
		for n := range askedFor(p.Runtime, names) {
			for _, q := range offers[n] {
				add(q)
			}
		}
	}
	return asked
}

// noteAsks keeps what trials have found out about the packages of a function, in the store and in packages,
// before a zygote does the same.
func (k *knowledge) noteAsks(runtime core.RuntimeID, packages []core.Installed, trials map[string]core.Trial) error {
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
	err := k.store.SetProbes(runtime, changed)
	k.learnAsks(packages)
	return err
}
