package plan

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestZygoteLimit(t *testing.T) {
	const mib = 1 << 20
	set := pkgs("big", "small")
	facts := Facts{Needs: Needs{set[0]: {Bytes: 300 * mib}, set[1]: {Bytes: mib}}, Weights: Weights{{"lang1", "big.deep"}: 50 * mib}}
	for _, test := range []struct {
		shape Shape
		want  int64
	}{
		{shapeOf("", ""), rootBytes},
		{shapeOf("small", "small"), spareBytes + 2*mib},
		{shapeOf("big small", "big"), spareBytes + 602*mib},
		{shapeOf("big small", "big big.deep"), spareBytes + 702*mib},
		{shapeOf("unknown", "unknown"), spareBytes},
		{Shape{Runtime: "lang2", Modules: []string{"big.deep"}, Set: core.Set{}}, spareBytes},
	} {
		if got := facts.ZygoteLimit(test.shape); got != test.want {
			t.Errorf("%v: %d MiB and not %d", test.shape, got/mib, test.want/mib)
		}
	}
	last := int64(0)
	for children := range 1000 {
		got := WithChildren(512*mib, children)
		if spare := got - 512*mib - int64(children)*(childBytes+2*mib); spare <= 0 || spare > moreChildren*(childBytes+2*mib) {
			t.Fatalf("with %d children there are %d bytes for more", children, spare)
		}
		if got < last {
			t.Fatalf("with %d children it is less than with fewer", children)
		}
		last = got
	}
}

// A zygote that must not be forked stays blocked, also when it could not be made.
func TestBlockForGoodStays(t *testing.T) {
	blocks, s := Blocks{}, shapeOf("p", "m")
	blocks.Forbid(s, "for good")
	blocks.Postpone(s, "for a while", noon)
	if b := blocks[s.Key()]; !b.ForGood() || b.Reason != "for good" {
		t.Errorf("%+v", b)
	}
}

// A round makes no zygote twice: another one may have taken its place, and it would take that one's.
func TestRoundMakesEachOnce(t *testing.T) {
	var round Round
	demands, root := used("9 numpy: numpy\n9 web: web"), []Zygote{z("root", 1, "")}
	for i := range demands {
		demands[i].Missed = EnoughMisses
	}
	var made []string
	for range 3 {
		if want, found := Wanted(demands, root, round.Blocks(nil), science(), noon); found {
			made = append(made, want.Modules[0])
			round.Made(want.Shape, noon)
		}
	}
	if len(made) != 2 || made[0] == made[1] || round.Unfinished() || round.Over() {
		t.Errorf("made %v", made)
	}
}

// One event that took more than the budget keeps no function from starting.
func TestInstanceBytes(t *testing.T) {
	const budget = 400
	for measured, want := range map[int64]int64{0: assumedBytes, 100: 100, 300: 300, 301: 300, 2 * budget: 300} {
		if got := InstanceBytes(measured, budget); got != want {
			t.Errorf("measured %d: %d, want %d", measured, got, want)
		}
	}
}
