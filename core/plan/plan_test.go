package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var update = flag.Bool("update", false, "write the golden files again")

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// heaviest counts each miss.
func heaviest(d Demands) []Demand {
	all, _ := d.Heaviest(noon, func(string, *Demand) bool { return true })
	return all
}

func pkgs(names ...string) core.Set {
	var all []core.Package
	for _, n := range names {
		all = append(all, core.Package{Name: n, Version: "1"})
	}
	return core.NewSet(all...)
}

func shapeOf(packages, modules string) Shape {
	return Shape{Runtime: "lang1", Set: pkgs(strings.Fields(packages)...), Modules: strings.Fields(modules)}
}

func z(id core.NodeID, depth int, packages string) Zygote {
	return Zygote{Shape: shapeOf(packages, packages), ID: id, Depth: depth}
}

func TestNearest(t *testing.T) {
	c := Costs{{"lang1", "big"}: time.Second, {"lang1", "small"}: time.Millisecond, {"lang1", "small2"}: time.Millisecond}
	other := z("other", 1, "big")
	other.Runtime = "lang2"
	newer := z("newer", 2, "big")
	newer.Set[0].Version = "2"
	tests := []struct {
		name    string
		zygotes []Zygote
		want    string
		id      core.NodeID
	}{
		{"none", nil, "big", ""},
		{"the root serves all", []Zygote{z("root", 1, "")}, "big", "root"},
		{"what saves most", []Zygote{z("root", 1, ""), z("b", 2, "big"), z("s", 2, "small small2")}, "big small small2", "b"},
		{"never a package too much", []Zygote{z("root", 1, ""), z("bx", 2, "big x")}, "big", "root"},
		{"never another version", []Zygote{z("root", 1, ""), newer}, "big", "root"},
		{"never another runtime", []Zygote{other}, "big", ""},
		{"all that it can", []Zygote{z("b", 2, "big"), z("bs", 3, "big small")}, "big small", "bs"},
		{"among equals the smaller set", []Zygote{{Shape: shapeOf("small x", "small"), ID: "sx", Depth: 2}, z("s", 3, "small")}, "small x", "s"},
		{"then the one nearer to the root", []Zygote{z("deep", 4, "small"), z("flat", 2, "small")}, "small", "flat"},
		{"then the older one", []Zygote{z("z-10", 2, "small"), z("z-9", 2, "small")}, "small", "z-9"},
	}
	for _, test := range tests {
		if got, _ := Nearest(test.zygotes, shapeOf(test.want, test.want), Facts{Costs: c}); got.ID != test.id {
			t.Errorf("%s: %q, not %q", test.name, got.ID, test.id)
		}
	}
}

func TestVictim(t *testing.T) {
	l := func(id core.NodeID, weight float64, ago, saves time.Duration, mib int64) Leaf {
		return Leaf{ID: id, Use: Use{weight, noon.Add(-ago)}, Saves: saves, Bytes: mib << 20}
	}
	root := l("root", 0, time.Hour, 0, 8)
	root.Root = true
	tests := []struct {
		name   string
		leaves []Leaf
		id     core.NodeID
	}{
		{"none", nil, ""},
		{"the least used", []Leaf{l("a", 9, 0, time.Second, 8), l("b", 1, 0, time.Second, 8)}, "b"},
		{"the longest unused", []Leaf{l("a", 2, 0, time.Second, 8), l("b", 2, time.Minute, time.Second, 8)}, "b"},
		{"the cheapest to make again", []Leaf{l("a", 1, 0, 3*time.Millisecond, 8), l("b", 1, 0, time.Second, 8)}, "a"},
		{"the biggest", []Leaf{l("a", 1, 0, time.Second, 8), l("b", 1, 0, time.Second, 80)}, "b"},
		{"a root zygote last", []Leaf{root, l("a", 99, 0, time.Minute, 1)}, "a"},
		{"but at last", []Leaf{root}, "root"},
		{"half as much use after a half-life", []Leaf{l("a", 4, halfLife, time.Second, 8), l("b", 1.9, 0, time.Second, 8)}, "b"},
	}
	for _, test := range tests {
		if got, _, _ := Victim(test.leaves, noon); got.ID != test.id {
			t.Errorf("%s: %q, not %q", test.name, got.ID, test.id)
		}
	}
}

func TestCosts(t *testing.T) {
	c := Costs{}
	if got := c.of("lang1", "a"); got != assumedCost {
		t.Errorf("unmeasured: %v", got)
	}
	c.Learn("lang1", map[string]time.Duration{"a": time.Second, "b": 0})
	c.Learn("lang1", map[string]time.Duration{"a": time.Millisecond})
	if a, b := c.of("lang1", "a"), c.of("lang1", "b"); a != time.Second || b != time.Microsecond {
		t.Errorf("%v %v", a, b)
	}
}

func TestBlock(t *testing.T) {
	b := Block{Shape: shapeOf("a b", "a")}
	for packages, want := range map[string]bool{"a b": true, "a b c": true, "a": false, "b c": false} {
		if got := b.forbids(shapeOf(packages, packages), noon); got != want {
			t.Errorf("for good, %s: %v", packages, got)
		}
	}
	b = Block{Shape: shapeOf("a", "a")}.again("ImportError", noon)
	for at, want := range map[time.Duration]bool{0: true, FirstBackoff - 1: true, FirstBackoff: false} {
		if got := b.forbids(shapeOf("a", "a"), noon.Add(at)); got != want {
			t.Errorf("after %v: %v", at, got)
		}
	}
	for range 50 {
		b = b.again("ImportError", noon)
	}
	if got := b.until.Sub(noon); got != lastBackoff {
		t.Errorf("after many failures it waits %v", got)
	}
}

// A zygote that failed, and later proved unforkable, is not tried again.
func TestForbidden(t *testing.T) {
	s, blocks := shapeOf("a", "a"), Blocks{}
	blocks.Postpone(s, "ImportError", noon)
	later := noon.Add(FirstBackoff)
	if len(blocks.Forbidding(s, later)) > 0 {
		t.Error("it is not tried again after the first failure")
	}
	blocks.Forbid(s, "importing a leaves 2 threads running")
	blocks.Forget(later.Add(2 * lastBackoff))
	if got := blocks.Forbidding(s, later); len(got) != 1 || !got[0].ForGood() || got[0].Reason != "importing a leaves 2 threads running" {
		t.Errorf("then it is blocked by %v", got)
	}
}

// TestPlans starts from a root zygote, makes zygotes until none is wanted, and compares the tree.
func TestPlans(t *testing.T) {
	measured := Costs{{"lang1", "numpy"}: 80 * time.Millisecond, {"lang1", "pandas"}: 300 * time.Millisecond, {"lang1", "yaml"}: 5 * time.Millisecond,
		{"lang1", "requests"}: 60 * time.Millisecond, {"lang1", "matplotlib"}: 200 * time.Millisecond, {"lang1", "grpc"}: 90 * time.Millisecond}
	tests := []struct {
		name    string
		demands []string // packages = modules, × requests missed
		blocks  []Block
	}{
		{"once_is_nothing", []string{"pandas 1"}, nil},
		{"twice_makes_it", []string{"pandas 2"}, nil},
		{"shared_part_is_the_parent", []string{"numpy pandas yaml 2", "numpy pandas requests 2"}, nil},
		{"shared_by_two_that_came_once", []string{"numpy pandas yaml 1", "numpy pandas requests 1"}, nil},
		{"cheap_is_not_shared", []string{"yaml pandas 2", "yaml numpy 2"}, nil},
		{"a_subset_is_the_parent", []string{"numpy 3", "numpy pandas 3", "numpy pandas matplotlib 3"}, nil},
		{"what_is_used_most_first", []string{"requests 2", "pandas 2", "matplotlib 9"}, nil},
		{"unforkable_takes_supersets_along", []string{"grpc 5", "grpc pandas 5", "pandas 5"}, []Block{{Shape: shapeOf("grpc", "grpc"), Reason: "threads"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var demands []Demand
			for _, line := range test.demands {
				at := strings.LastIndex(line, " ")
				var missed int
				fmt.Sscan(line[at:], &missed)
				demands = append(demands, Demand{Shape: shapeOf(line[:at], line[:at]), Missed: missed, Use: Use{float64(missed), noon}})
			}
			zygotes := []Zygote{z("root", 1, "")}
			var plan strings.Builder
			for range 20 {
				want, found := Wanted(demands, zygotes, test.blocks, Facts{Costs: measured}, noon)
				if !found {
					break
				}
				parent, _ := Nearest(zygotes, want.Shape, Facts{Costs: measured})
				made := Zygote{Shape: want.Shape, ID: core.NodeID(strings.Join(want.Modules, "+")), Depth: parent.Depth + 1}
				zygotes = append(zygotes, made)
				fmt.Fprintf(&plan, "%s%s under %s, worth %.2f s\n", strings.Repeat("  ", parent.Depth), made.ID, parent.ID, want.Benefit)
			}
			golden := filepath.Join("testdata", test.name+".golden")
			if *update {
				os.MkdirAll(filepath.Dir(golden), 0o755)
				os.WriteFile(golden, []byte(plan.String()), 0o644)
			}
			want, err := os.ReadFile(golden)
			if err != nil || plan.String() != string(want) {
				t.Errorf("%v\n got:\n%s\nwant:\n%s", err, plan.String(), want)
			}
		})
	}
}

// TestSharedIsImportable: two functions share no module whose package, or a requirement of it, they have at
// different versions.
func TestSharedIsImportable(t *testing.T) {
	measured := Costs{{"lang1", "pandas"}: 300 * time.Millisecond, {"lang1", "numpy"}: 80 * time.Millisecond, {"lang1", "json"}: 50 * time.Millisecond}
	at := func(versions, modules string) Demand {
		s := shapeOf(versions, modules)
		for i, p := range s.Set {
			s.Set[i].Name, s.Set[i].Version, _ = strings.Cut(p.Name, "=")
		}
		return Demand{Shape: s, Missed: 1, Use: Use{1, noon}}
	}
	for name, test := range map[string]struct {
		a, b, modules string
		want          string // the modules of what is shared
	}{
		"the same":                      {"numpy=1 pandas=1 x=1", "numpy=1 pandas=1 y=1", "pandas numpy json", "pandas numpy json"},
		"another version":               {"numpy=1 pandas=1", "numpy=1 pandas=2", "pandas numpy json", "numpy json"},
		"a part of another version":     {"numpy=1 pandas=1", "numpy=1 pandas=2", "pandas.io numpy", "numpy"},
		"another version of a need":     {"numpy=1 pandas=1 z=1", "numpy=2 pandas=1 z=1", "pandas numpy json", "json"},
		"another version of its need":   {"numpy=1 pandas=1 c=1 z=1", "numpy=1 pandas=1 c=2 z=1", "pandas numpy", ""},
		"imported in another way":       {"numpy=1 pandas=1", "numpy=1 pandas=2", "import:pandas numpy", "numpy"},
		"nothing is known of a package": {"numpy=1 other=1", "numpy=1 other=2", "other numpy", "other numpy"},
	} {
		a, b := at(test.a, test.modules), at(test.b, test.modules)
		needs := Needs{}
		for _, p := range append(slices.Clone(a.Set), b.Set...) {
			switch p.Name {
			case "pandas":
				needs[p] = Need{Modules: []string{"pandas"}, Requires: []string{"numpy"}}
			case "numpy":
				needs[p] = Need{Modules: []string{"numpy"}, Requires: []string{"c"}}
			case "c":
				needs[p] = Need{Requires: []string{"pandas"}} // in a circle
			}
		}
		want, found := Wanted([]Demand{a, b}, nil, nil, Facts{Costs: measured, Needs: needs}, noon)
		if got := strings.Join(want.Modules, " "); got != test.want || found != (test.want != "") {
			t.Errorf("%s: %q is shared, want %q", name, got, test.want)
		}
	}
}
