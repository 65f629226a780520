package supply

import (
	"maps"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// memoryOf returns the memory that importing a package takes, without what it requires: what a probe has
// seen, and as much as the files have while there was none.
func memoryOf(p *core.Installed) int64 {
	if p.Probe == nil {
		return p.Size
	}
	return p.Probe.Private
}

// tookOf returns the time that importing a package takes when all that it requires has been imported, 0
// before a probe has seen it.
func tookOf(p *core.Installed) time.Duration {
	if p.Probe == nil {
		return 0
	}
	return p.Probe.Own
}

// weigh returns the memory that importing each of a function's modules takes: of their packages, and of those
// that these require, each counted with the first module that needs it, and what the module takes itself if
// it was tried.
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
		return bytes + memoryOf(p)
	}
	for _, module := range slices.Concat(fn.Imports, fn.Loaded, slices.Sorted(maps.Keys(fn.Apart))) {
		trial, _ := trialOf(fn, module)
		bytes := trial.Memory
		if p, _ := owner(module, packages); p != nil {
			bytes += count(p)
		}
		if bytes > 0 {
			weights[module] = bytes
		}
	}
	return weights
}
