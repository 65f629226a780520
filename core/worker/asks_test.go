package worker

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
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
	all := asksOf(append(packages, other))
	for name, want := range map[string][]string{"scikit-learn": nil, "forest": {"scikit-learn"}, "meta": {"scikit-learn"}, "storage": {"sql"}, "sql": {"storage"}, "@a/b": nil, "scoped": {"@a/b"}, "plain": nil} {
		var got []string
		for _, q := range all[core.Package{Name: name, Version: "1"}] {
			got = append(got, q.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s asks for %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"any", "new"} {
		if others, asks := all[core.Package{Name: name, Version: "1"}]; !asks || others != nil {
			t.Errorf("%s asks for %v, %v", name, others, asks)
		}
	}
	sets := &core.Function{Env: map[string]string{"MODE": "x"}}
	packages[0].Probe.Reads = []string{"MODE"}
	if why := reading(sets, &packages[1], packages); why != "forest imports scikit-learn, which reads MODE when it is imported, which is set for this function" {
		t.Errorf("a package that asks for one that is apart: %q", why)
	}
}
