package tree

import (
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A zygote is not forked into a function that has a package which it has looked for in vain.
func TestAsks(t *testing.T) {
	p := func(name string) Asker { return Asker{shapeOf("", "").runtime, pkgs(name)[0]} }
	for _, test := range []struct {
		asks Asks
		s, o string
		may  bool
	}{
		{nil, "a", "a b", true},
		{Asks{p("a"): pkgs("b")}, "a", "a b", false},
		{Asks{p("a"): pkgs("b")}, "a", "a c", true},
		{Asks{p("a"): pkgs("b")}, "a b", "a b c", true},
		{Asks{p("a"): pkgs("b")}, "", "a b", true},
		{Asks{p("b"): pkgs("a")}, "a", "a b", true},
		{Asks{p("a"): nil}, "a", "a c", false},
		{Asks{p("a"): nil}, "a c", "a c", true},
		{Asks{p("a"): pkgs("b")}, "a x", "a b", false},
	} {
		if may := test.asks.mayBecome(shapeOf(test.s, test.s), shapeOf(test.o, test.o)); may != test.may {
			t.Errorf("%v: %q becomes %q: %v", test.asks, test.s, test.o, may)
		}
	}
}

// Each function gets a zygote of its own then, and no instance comes from the other's.
func TestAsksZygotes(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		tr.LearnAsks(Asks{{shapeOf("", "").runtime, pkgs("a")[0]}: pkgs("b")})
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
