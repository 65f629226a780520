package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// FuzzPlan turns bytes into demands and facts, makes zygotes until none is wanted, and then evicts all of
// them. Whatever the demands are, the tree must be allowed to take each step.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0x11, 0x13, 0x17, 0x1f, 0x33, 0x37, 0x3f, 0xf1, 0xf3, 0xff, 0x80, 0x81, 0xc3})
	f.Add([]byte("the quick brown fox jumps over the lazy dog, and again: the quick brown fox"))
	f.Fuzz(func(t *testing.T, script []byte) {
		facts, demands := played(script[:min(len(script), 64)])
		zygotes, blocks := []Zygote{{Shape: Shape{Runtime: "lang1"}, ID: "root", Depth: 1}}, Blocks{}
		limit := len(demands)*len(demands) + len(demands) + 1 // a demand's own, and one for each pair
		for made := 0; ; made++ {
			demands.Met(zygotes, facts)
			want, found := Wanted(heaviest(demands), zygotes, slices.Collect(maps.Values(blocks)), facts, noon)
			if !found {
				break
			}
			if made > limit {
				t.Fatalf("%d zygotes for %d demands: is there an end?", made, len(demands))
			}
			if len(blocks.Forbidding(want.Shape, noon)) > 0 || want.Uses <= 0 || want.Benefit <= 0 {
				t.Errorf("wanted in vain: %+v", want)
			}
			parent, found := Parent(zygotes, want.Shape, facts)
			if !found || !facts.Asks.MayBecome(parent.Shape, want.Shape) || len(Missing(want.Modules, parent.Modules)) == 0 || parent.Depth >= maxDepth {
				t.Errorf("%v is to be forked from %v", want.Shape, parent)
			}
			if made%5 == 4 {
				blocks.Forbid(want.Shape, "it is the fifth")
				continue
			}
			zygotes = append(zygotes, Zygote{Shape: want.Shape, ID: core.NodeID(fmt.Sprint("z", made)), Depth: parent.Depth + 1})
		}
		for _, d := range demands {
			if z, found := Nearest(zygotes, d.Shape, facts); !found || !facts.Asks.MayBecome(z.Shape, d.Shape) {
				t.Errorf("%v would be forked from %v", d.Shape, z)
			}
		}
		reclaimed(t, zygotes, demands)
	})
}

// played turns bytes into demands for up to five packages, each of one module, and into facts about them.
func played(script []byte) (Facts, Demands) {
	names := []string{"a", "b", "c", "d", "e"}
	facts := Facts{Costs: Costs{}, Weights: Weights{}, Asks: Asks{}, Needs: Needs{}}
	demands := Demands{}
	for i, op := range script {
		one, other := names[int(op>>4)%len(names)], names[int(op)%len(names)]
		switch op % 8 {
		case 0:
			facts.Costs.Learn("lang1", map[string]time.Duration{one: time.Duration(op) * time.Millisecond})
		case 1:
			facts.Weights.Learn("lang1", map[string]int64{one: int64(op) << 18})
		case 2:
			asker := Asker{"lang1", pkgs(one)[0]}
			facts.Asks[asker] = core.NewSet(append(slices.Clone(facts.Asks[asker]), pkgs(other)...)...)
		case 3:
			facts.Needs[pkgs(one)[0]] = Need{Modules: []string{one}, Requires: []string{other}}
		default:
			var modules []string
			for bit, name := range names {
				if op>>(bit+3)&1 == 1 {
					modules = append(modules, name)
				}
			}
			want := Shape{Runtime: "lang1", Set: pkgs(modules...), Modules: modules}
			demands.Add(want, i%3, Once(noon.Add(time.Duration(i)*time.Second-time.Minute)), noon)
		}
	}
	return facts, demands
}

// reclaimed evicts everything in steps: no leaf in vain, no leaf twice, a root zygote last.
func reclaimed(t *testing.T, zygotes []Zygote, demands Demands) {
	var leaves []Leaf
	for i, z := range zygotes {
		leaves = append(leaves, Leaf{ID: z.ID, Root: z.Depth == 1, Use: Once(noon), Saves: time.Duration(i) * time.Millisecond, Bytes: 8 << 20, Charged: 8 << 20})
	}
	if victims := Reclaim(leaves, int64(len(leaves)+1)*8<<20, 1, noon); len(victims) > 0 {
		t.Errorf("%d were evicted in vain for %d demands", len(victims), len(demands))
	}
	for len(leaves) > 0 {
		victims := Reclaim(leaves, 9<<20, Necessary(), noon)
		if len(victims) != min(2, len(leaves)) {
			t.Fatalf("of %d leaves %d are evicted for the memory of two", len(leaves), len(victims))
		}
		for _, v := range victims {
			before := len(leaves)
			leaves = slices.DeleteFunc(leaves, func(l Leaf) bool { return l.ID == v.ID })
			if len(leaves) != before-1 || v.Root && len(leaves) > 0 {
				t.Errorf("%s is evicted before %d others", v.ID, len(leaves))
			}
		}
	}
}
