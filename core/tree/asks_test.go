package tree

import (
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Each function gets a zygote of its own then. No instance is forked from the other's zygote.
func TestAsksZygotes(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		tr.LearnAsks(plan.Asks{{Runtime: "lang1", Package: pkgs("a")[0]}: pkgs("b")})
		without, with := fn("without", "a"), fn("with", "a", "b")
		for _, f := range []*core.Function{without, with} {
			for range 4 {
				mustStart(t, tr, f)
				rest(time.Second)
			}
		}
		if want := []string{"[a]", "[a b]"}; !slices.Equal(w.imports, want) {
			t.Errorf("zygotes imported %v, want %v", w.imports, want)
		}
	})
}
