package supply

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sbom"
)

// Bill implements core.Bills.
func (s *Supply) Bill(_ context.Context, name string, format core.BillFormat) ([]byte, error) {
	fn, ok := s.store.Get(name)
	if !ok {
		return nil, s.NotFound(name)
	}
	runtime := core.Runtime{ID: fn.Runtime}
	for _, r := range s.runtimes() {
		if r.ID == fn.Runtime {
			runtime = r
		}
	}
	packages := make([]core.Installed, len(fn.Packages))
	for i, p := range fn.Packages {
		found, ok := s.store.Find(fn.Runtime, p)
		if !ok {
			found = core.Installed{Package: p}
		}
		packages[i] = found
	}
	return sbom.Encode(fn, runtime, packages, format)
}
