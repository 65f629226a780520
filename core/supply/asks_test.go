package supply

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

func TestAsksOf(t *testing.T) {
	of := func(name string, p *core.Probe, modules ...string) core.Installed {
		if p != nil {
			p.Version = probed(t)
		}
		return core.Installed{Package: core.Package{Name: name, Version: "1"}, Runtime: "lang1", Probe: p, Receipt: core.Receipt{Modules: modules}}
	}
	asks := func(names ...string) *core.Probe { return &core.Probe{Asks: names} }
	packages := []core.Installed{
		of("scikit-learn", asks("scikit-learn"), "sklearn"), of("forest", asks("sklearn.base", "forest", "nothing"), "forest"), of("meta", asks("scikit-learn"), "meta"),
		of("storage", asks("google.cloud.sql"), "google.cloud.storage"), of("sql", asks("google.cloud"), "google.cloud.sql"), of("any", asks(core.AnyPackage), "any"), of("new", nil, "new"),
		of("@a/b", asks(), "@a/b@1.0", "import:@a/b@1.0"), of("scoped", asks("@a/b"), "scoped"), of("plain", asks("sklearnx"), "plain"),
	}
	other := of("other", asks(), "sklearn")
	other.Runtime = "lang2"
	k := newAsking()
	k.learn(append(packages, other))
	for name, want := range map[string][]string{"scikit-learn": nil, "forest": {"scikit-learn"}, "meta": {"scikit-learn"}, "storage": {"sql"}, "sql": {"storage"}, "@a/b": nil, "scoped": {"@a/b"}, "plain": nil} {
		var got []string
		for _, q := range k.asks[plan.Asker{Runtime: "lang1", Package: core.Package{Name: name, Version: "1"}}] {
			got = append(got, q.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s asks for %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"any", "new"} {
		if others, asks := k.asks[plan.Asker{Runtime: "lang1", Package: core.Package{Name: name, Version: "1"}}]; !asks || others != nil {
			t.Errorf("%s asks for %v, %v", name, others, asks)
		}
	}
	sets := &core.Function{Env: map[string]string{"MODE": "x"}}
	packages[0].Probe.Reads = []string{"MODE"}
	if why := unshared(sets, packages)[packages[1].Package]; why != "forest imports scikit-learn, which reads MODE when it is imported, which is set for this function" {
		t.Errorf("a package that asks for one that is apart: %q", why)
	}
}

// What importing a package costs is its own part of its probe, and a later probe corrects it.
func TestCostsOfPackages(t *testing.T) {
	k, p := newAsking(), core.Installed{Package: core.Package{Name: "a", Version: "1"}, Runtime: "lang1", Size: 5}
	learn := func(probe *core.Probe, took time.Duration, bytes int64) {
		t.Helper()
		p.Probe = probe
		before := k.needs
		if changed := k.learn([]core.Installed{p}); changed != 1 || k.needs[p.Package].Took != took || k.needs[p.Package].Bytes != bytes {
			t.Errorf("%d changed, to %+v, want %v and %d bytes", changed, k.needs[p.Package], took, bytes)
		}
		if len(before) > 0 && before[p.Package].Took == took {
			t.Error("needs that somebody has have changed")
		}
	}
	learn(nil, 0, 5)
	learn(&core.Probe{Version: probed(t), Took: 9, Own: 2, Memory: 80, Private: 30}, 2, 30)
	learn(&core.Probe{Version: probed(t), Took: 9, Own: 3, Memory: 80, Private: 30}, 3, 30)
	if changed := k.learn([]core.Installed{p}); changed > 0 {
		t.Error("the same is new")
	}
}

// provides reports whether a name that a package asks for is that of another one, or is of its modules, or
// may be where they are.
func provides(q *core.Installed, name string) bool {
	return slices.ContainsFunc(found(q), func(m string) bool { return plan.Within(name, m) || plan.Within(m, name) })
}

// However packages come to be known, one asks for another exactly when a name that it asks for is one that
// the other provides.
func TestAskingOrder(t *testing.T) {
	names := []string{"a", "a.b", "a.b.c", "a/b", "b", "b.c", "@a/b", "@a/b/c", "a-b", "a_b", "c.rb", "c"}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() (some []string) {
		for range random.IntN(4) {
			some = append(some, names[random.IntN(len(names))])
		}
		slices.Sort(some)
		return slices.Compact(some)
	}
	for range 200 {
		var packages []core.Installed
		for i := range 6 {
			p := core.Installed{Package: core.Package{Name: string(rune('A' + i)), Version: "1"}, Runtime: "lang1", Receipt: core.Receipt{Modules: pick(), Offers: pick()}}
			packages = append(packages, p)
		}
		k := newAsking()
		for range 12 { // they are probed, and ask for more, one after the other
			p := &packages[random.IntN(len(packages))]
			names, known := probe.Asks(*p)
			if known || random.IntN(2) == 0 {
				all := slices.Concat(names, pick())
				slices.Sort(all)
				p.Probe = &core.Probe{Version: probed(t), Asks: slices.Compact(all)}
			}
			k.learn([]core.Installed{*p})
		}
		k.learn(packages)
		for i := range packages {
			p := &packages[i]
			others, asks := k.asks[plan.Asker{Runtime: "lang1", Package: p.Package}]
			if p.Probe == nil {
				if !asks || others != nil {
					t.Fatalf("%s was not probed and asks for %v", p, others)
				}
				continue
			}
			var want core.Set
			for j := range packages {
				if i != j && slices.ContainsFunc(p.Probe.Asks, func(name string) bool { return provides(&packages[j], name) }) {
					want = append(want, packages[j].Package)
				}
			}
			if !slices.Equal(others, want) {
				t.Fatalf("%s, which asks for %q, asks for %v, want %v of %+v", p, p.Probe.Asks, others, want, packages)
			}
		}
	}
}

// What it costs to learn of packages grows as their number does, also in a namespace that they share, and
// what is known costs nothing again.
func TestAskingWork(t *testing.T) {
	for _, namespace := range []string{"", "space."} {
		work := func(count int) float64 {
			packages := synthetic(count, probed(t), namespace)
			return testing.AllocsPerRun(1, func() { newAsking().learn(packages) })
		}
		if few, many := work(500), work(4000); many > 10*few {
			t.Errorf("in the namespace %q, 500 packages take %.0f allocations, and 4000 take %.0f", namespace, few, many)
		}
		packages := synthetic(4000, probed(t), namespace)
		k := newAsking()
		k.learn(packages)
		if again := testing.AllocsPerRun(1, func() { k.learn(packages[:100]) }); again > 0 {
			t.Errorf("what is known takes %.0f allocations", again)
		}
		if changed := k.learn(synthetic(4001, probed(t), namespace)); changed != 1 {
			t.Errorf("one more package changes %d", changed)
		}
	}
}

// What a package asks for may spoil a zygote that it would not spoil itself: so it, and what requires it, is
// left to instances.
func TestAskedSpoils(t *testing.T) {
	packages := synthetic(4, probed(t), "")
	for i := range packages {
		packages[i].Probe.Asks = nil
	}
	packages[0].Probe.Unforkable, packages[1].Probe.Asks, packages[2].Locked.Requires = "starts 1 thread at import", []string{"package0.part"}, []string{packages[1].String()}
	want := map[core.Package]string{packages[1].Package: "package1 looks for package0, which starts 1 thread at import",
		packages[2].Package: "package2 imports package1, which looks for package0, which starts 1 thread at import"}
	if got := unshared(&core.Function{}, packages); !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
