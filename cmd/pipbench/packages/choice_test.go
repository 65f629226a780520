package packages

import (
	"slices"
	"testing"
)

// choosable is a catalog in which b and c want different versions of a, and d wants what c wants.
func choosable() *Catalog {
	of := func(name string, numbers []string, requires ...Requirement) Package {
		p := Package{Name: name, Requires: requires}
		for _, n := range numbers {
			p.Versions = append(p.Versions, Version{Number: n})
		}
		return p
	}
	return &Catalog{Packages: []Package{
		of("a", []string{"1.0.0", "1.1.0", "2.0.0"}),
		of("b", []string{"1.0.0"}, Requirement{"a", Compatible, "1.0.0"}),
		of("c", []string{"1.0.0"}, Requirement{"a", AtLeast, "2.0.0"}),
		of("d", []string{"1.0.0"}, Requirement{"c", Any, ""}),
		of("e", []string{"1.0.0"}, Requirement{"a", Exact, "1.1.0"}),
	}}
}

func TestChoice(t *testing.T) {
	c := choosable().Choose()
	ofA := func() (all []string) {
		for _, v := range c.Versions(0) {
			all = append(all, v.Number)
		}
		return all
	}
	if !c.Add(1, false) || !slices.Equal(ofA(), []string{"1.0.0", "1.1.0"}) {
		t.Fatalf("b allows %v of a", ofA())
	}
	if c.Add(2, false) || c.Add(3, false) || !slices.Equal(c.Installed(), []int{0, 1}) {
		t.Errorf("what excludes each other was chosen, or left something: %v", c.Installed())
	}
	if !c.Add(4, false) || !slices.Equal(ofA(), []string{"1.1.0"}) || !c.Add(0, false) || !slices.Equal(ofA(), []string{"1.1.0"}) {
		t.Errorf("b and e allow %v of a", ofA())
	}
	c = c.Again()
	if c.Add(1, true) || !c.Add(3, true) || !slices.Equal(c.Installed(), []int{0, 2, 3}) || !slices.Equal(ofA(), []string{"2.0.0"}) {
		t.Errorf("of the newest versions %v were chosen, with %v of a", c.Installed(), ofA())
	}
	if c.Versions(1) != nil {
		t.Error("b has versions, and was not chosen")
	}
}
