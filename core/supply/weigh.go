package supply

import (
	"maps"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// weigh returns the memory that importing each of a function's modules takes: of their packages, and of those that these require, each counted with the
// first module that needs it. It is what a probe has seen, and as much as the files have while there was none.
func weigh(fn *core.Function, packages []core.Installed) map[string]int64 {
	weights, counted := map[string]int64{}, map[*core.Installed]bool{}
	var count func(p *core.Installed) int64
	count = func(p *core.Installed) (bytes int64) {
		if counted[p] {
			return 0
		}
		counted[p] = true
		for _, q := range required(p, packages) {
			bytes += count(q)
		}
		if p.Probe == nil {
			return bytes + p.Size
		}
		return bytes + p.Probe.Private
	}
	for _, module := range slices.Concat(fn.Imports, fn.Loaded, slices.Sorted(maps.Keys(fn.Apart))) {
		if p, _ := owner(module, packages); p != nil {
			if bytes := count(p); bytes > 0 {
				weights[module] = bytes
			}
		}
	}
	return weights
}
