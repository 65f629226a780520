package supply

import (
	"maps"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What several modules need counts with the first, and what was never probed as much as its files have.
func TestWeigh(t *testing.T) {
	one := func(name string, size int64, probe *core.Probe, requires ...string) core.Installed {
		return core.Installed{Package: core.Package{Name: name, Version: "1"}, Size: size, Probe: probe,
			Locked: core.Locked{Requires: requires}, Receipt: core.Receipt{Modules: []string{name}}}
	}
	packages := []core.Installed{
		one("array", 7, &core.Probe{Private: 100}),
		one("table", 7, &core.Probe{Private: 20, Memory: 120}, "array==1", "table==1"),
		one("plot", 7, &core.Probe{Private: 3, Memory: 103}, "array==1"),
		one("apart", 7, &core.Probe{Private: 5, Unforkable: "starts a thread"}),
		one("fresh", 1000, nil, "plain==1"),
		one("plain", 7, &core.Probe{}),
		one("unused", 9, &core.Probe{Private: 9}),
	}
	fn := &core.Function{Imports: []string{"table", "plot.lines", "fresh", "plain", "json"}, Loaded: []string{"array"}, Apart: map[string]string{"apart": "it starts a thread"}}
	if got, want := weigh(fn, packages), map[string]int64{"table": 120, "plot.lines": 3, "fresh": 1000, "apart": 5}; !maps.Equal(got, want) {
		t.Errorf("%v and not %v", got, want)
	}
}
