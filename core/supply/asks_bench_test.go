package supply

import (
	"fmt"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// synthetic are packages as a store has them: each asks for thirty names, of its own, of others and of none.
// In a namespace all names begin alike.
func synthetic(count, version int, namespace string) []core.Installed {
	packages := make([]core.Installed, count)
	for i := range packages {
		name := fmt.Sprintf("%spackage%d", namespace, i)
		probe := &core.Probe{Version: version}
		for j := range 30 {
			probe.Asks = append(probe.Asks, fmt.Sprintf("%spackage%d.part", namespace, i*7+j*(i%3)))
		}
		packages[i] = core.Installed{Package: core.Package{Name: name, Version: "1", Digest: fmt.Sprintf("sha256:%064d", i)}, Runtime: "lang1", Probe: probe, Receipt: core.Receipt{Modules: []string{name}}}
	}
	return packages
}

// BenchmarkAsking is what a deploy of a function with a hundred packages costs, ten of which are new, beside
// all that are known.
func BenchmarkAsking(b *testing.B) {
	for _, namespace := range []string{"", "space."} {
		for _, count := range []int{100, 1000, 5000} {
			packages := synthetic(count+10, 4, namespace)
			b.Run(fmt.Sprintf("%s%d", namespace, count), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					k := newAsking()
					k.learn(packages[:count])
					b.StartTimer()
					k.learn(packages[count-90:])
				}
			})
		}
	}
}
