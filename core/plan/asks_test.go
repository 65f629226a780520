package plan

import "testing"

// A zygote is not forked into a function with a package for which it has looked in vain.
func TestAsks(t *testing.T) {
	p := func(name string) Asker { return Asker{shapeOf("", "").Runtime, pkgs(name)[0]} }
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
		if may := test.asks.MayBecome(shapeOf(test.s, test.s), shapeOf(test.o, test.o)); may != test.may {
			t.Errorf("%v: %q becomes %q: %v", test.asks, test.s, test.o, may)
		}
	}
}
