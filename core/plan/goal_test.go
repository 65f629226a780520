package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func nothing() {}

// science is what is known of some packages. Each has a module of its name.
func science() Facts {
	facts := Facts{Needs: needsOf(`
		numpy 50 4
		pandas 250 9 numpy
		plot 350 6 numpy
		web 20 2`), Costs: Costs{}, Weights: Weights{}, Asks: Asks{}}
	for p, need := range facts.Needs {
		need.Modules = []string{p.Name}
		facts.Needs[p] = need
		facts.Costs[Module{"lang1", p.Name}], facts.Weights[Module{"lang1", p.Name}] = need.Took, need.Bytes
	}
	facts.Costs[Module{"lang1", "web.part"}], facts.Weights[Module{"lang1", "web.part"}] = time.Millisecond, mib
	facts.Asks[Asker{"lang1", pkgs("web")[0]}] = nil // it looks for any other package
	return facts
}

// used are demands of lines "use packages: modules".
func used(text string) (demands []Demand) {
	for line := range strings.Lines(text) {
		var use float64
		packages, modules, is := strings.Cut(line, ":")
		if _, err := fmt.Sscan(packages, &use); err != nil || !is {
			continue
		}
		packages = strings.TrimLeft(strings.TrimSpace(packages), "0123456789.")
		demands = append(demands, Demand{Shape: shapeOf(packages, modules), Use: Use{use, noon}})
	}
	return demands
}

// follow makes all zygotes of a goal, and returns them without the root zygote, and what is spare in the end.
func follow(t *testing.T, goal Goal, zygotes []Zygote, facts Facts, blocks ...Block) (made []string, all []Zygote, spare []core.NodeID) {
	t.Helper()
	for {
		next, found, done := goal.Next(zygotes, blocks, noon)
		if !found {
			return made, zygotes, done
		}
		parent, there := Parent(zygotes, next.Shape, facts)
		if !there || next.Uses <= earned || next.Benefit <= 0 || len(next.Modules) == 0 {
			t.Fatalf("%+v from %+v", next, parent)
		}
		name := strings.Join(next.Modules, " ")
		if packages := setName(next.Set); packages != strings.Join(next.Modules, "+") {
			name = packages + ": " + name
		}
		made = append(made, name)
		zygotes = append(zygotes, Zygote{Shape: next.Shape, ID: core.NodeID(fmt.Sprint("made", len(made))), Parent: parent.ID, Depth: parent.Depth + 1})
	}
}

func TestGoal(t *testing.T) {
	root := z("root", 1, "")
	old := z("old", 2, "numpy pandas web")
	numpy := shapeOf("numpy", "numpy")
	for _, test := range []struct {
		name, demands string
		budget        int64
		zygotes       []Zygote
		blocks        []Block
		made, spare   string
	}{
		{"nothing is used", "", 100, nil, nil, "", ""},
		{"a single start earns none", "1 numpy pandas: pandas", 100, nil, nil, "", ""},
		{"two do", "1.9 numpy pandas: pandas", 100, nil, nil, "numpy+pandas: pandas", ""},
		{"nor do single starts of several", "1 numpy web: numpy web\n1 numpy plot: numpy plot", 100, nil, nil, "", ""},
		{"what they share does, if there is no memory for more", "1 numpy web: numpy web\n1 numpy plot: numpy plot", 7, nil, nil, "numpy", ""},
		{"only what is imported", "9 numpy pandas plot: pandas", 100, nil, nil, "numpy+pandas: pandas", ""},
		{"a module that all import, not a package", "9 numpy pandas: pandas\n9 numpy: numpy", 100, nil, nil, "numpy+pandas: pandas,numpy", ""},
		{"the parent first", "9 numpy pandas web: numpy pandas web\n9 numpy plot: numpy plot\n9 numpy: numpy", 100, nil, nil, "numpy,numpy plot,numpy pandas web", ""},
		{"what is worth most for its memory", "9 numpy pandas: pandas\n9 web: web", 12, nil, nil, "numpy+pandas: pandas", ""},
		{"what is there is not made", "9 numpy: numpy", 100, []Zygote{z("n", 2, "numpy")}, nil, "", ""},
		{"what has packages besides does for its functions", "9 numpy pandas web: pandas", 100, []Zygote{{Shape: shapeOf("numpy pandas web", "pandas"), ID: "n", Depth: 2}}, nil, "", ""},
		{"what is not needed is spare", "9 numpy: numpy", 100, []Zygote{old}, nil, "numpy", "old"},
		{"what is needed for what is not there is not", "9 numpy pandas web: numpy pandas", 100, []Zygote{{Shape: shapeOf("numpy pandas web", "numpy"), ID: "old", Depth: 2}}, []Block{{Shape: shapeOf("", "numpy pandas")}}, "", ""},
		{"what is there stays, if it is worth nearly as much", "10 web: web\n7 numpy: numpy", 7, []Zygote{z("n", 2, "web")}, nil, "", ""},
		{"what is there goes, if it is worth much less", "10 web: web\n14 numpy: numpy", 7, []Zygote{z("n", 2, "web")}, nil, "numpy", "n"},
		{"what is blocked is not made", "9 numpy: numpy\n9 web: web", 100, nil, []Block{{Shape: numpy}}, "web", ""},
		{"a module of no known package needs all", "9 web odd: other\n9 web: web", 100, nil, nil, "odd+web: other,web", ""},
		{"who looks for all packages looks for no module", "1 web: web web.part\n1 web: web", 4, nil, nil, "web", ""},
	} {
		facts := science()
		zygotes := append([]Zygote{root}, test.zygotes...)
		goal := Aim(used(test.demands), zygotes, facts, ours, test.budget*mib, noon, nothing)
		made, _, spare := follow(t, goal, zygotes, facts, test.blocks...)
		if got := strings.Join(made, ","); got != test.made {
			t.Errorf("%s: made %q, want %q", test.name, got, test.made)
		}
		if got := strings.Trim(fmt.Sprint(spare), "[]"); got != test.spare {
			t.Errorf("%s: spare %q, want %q", test.name, got, test.spare)
		}
	}
}

// A zygote that was made after the goal is for something that the goal does not know.
func TestYoungerThanTheGoal(t *testing.T) {
	goal := Aim(used("9 numpy: numpy"), []Zygote{z("root", 1, "")}, science(), ours, 100*mib, noon, nothing)
	if _, _, spare := goal.Next([]Zygote{z("root", 1, ""), z("n", 2, "numpy"), z("young", 2, "web")}, nil, noon); len(spare) > 0 {
		t.Errorf("%v is spare", spare)
	}
}

// The work that a goal takes is done in small pieces.
func TestAimBreathes(t *testing.T) {
	breaths := 0
	Aim(used("9 numpy: numpy\n9 numpy pandas: numpy pandas"), nil, science(), ours, 100*mib, noon, func() { breaths++ })
	if breaths < 10 {
		t.Errorf("it may rest %d times", breaths)
	}
}

// Whatever is used and there, each zygote of a goal can be made, and without the spare ones each function
// starts as fast as before, or as fast as after the goal.
func TestGoalHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	made, ended := 0, 0
	for range 40 {
		arrivals, facts := instance(random, 2+random.IntN(10), 1+random.IntN(20))
		facts.Costs, facts.Weights = Costs{}, Weights{}
		for p, need := range facts.Needs {
			need.Modules = []string{p.Name, p.Name + "x"}
			facts.Needs[p] = need
			for _, rt := range []core.RuntimeID{"lang1", "lang2"} {
				facts.Costs[Module{rt, p.Name}], facts.Weights[Module{rt, p.Name}] = need.Took, need.Bytes
			}
		}
		var demands []Demand
		for _, a := range arrivals {
			for _, p := range a.Set {
				if random.IntN(3) > 0 {
					a.Modules = append(a.Modules, p.Name+[]string{"", "", "x", ".part"}[random.IntN(4)])
				}
			}
			if random.IntN(4) == 0 {
				a.Modules = append(a.Modules, "nobody's")
			}
			demands = append(demands, Demand{Shape: a.Shape, Use: Use{a.Count, noon}})
		}
		roots := []Zygote{{Shape: Shape{Runtime: "lang1"}, ID: "root1", Depth: 1}, {Shape: Shape{Runtime: "lang2"}, ID: "root2", Depth: 1}}
		budget := int64(random.IntN(80 * mib))
		_, before, _ := follow(t, Aim(demands[:(len(demands)+1)/2], roots, facts, ours, budget, noon, nothing), roots, facts)
		for i := range before[2:] {
			before[2+i].ID += "-before"
		}
		goal := Aim(demands, before, facts, ours, budget, noon, nothing)
		names, after, spare := follow(t, goal, slices.Clone(before), facts)
		made, ended = made+len(names), ended+len(spare)
		left := slices.DeleteFunc(slices.Clone(after), func(z Zygote) bool { return slices.Contains(spare, z.ID) })
		saves := func(zygotes []Zygote, s Shape) time.Duration {
			z, _ := Nearest(zygotes, s, facts)
			return facts.Costs.saves(z.Modules, s)
		}
		for i, d := range demands {
			wants := time.Duration(0)
			if from := goal.desired.Served[i].From; from >= 0 {
				wants = goal.desired.Nodes[from].Saves
			}
			if now := saves(left, d.Shape); now < min(saves(before, d.Shape), wants) {
				t.Errorf("%v saves %v, before %v, by the goal %v", d.Shape, now, saves(before, d.Shape), wants)
			}
		}
		for i, n := range goal.nodes {
			for _, s := range n.serves {
				if !facts.Asks.MayBecome(n.Shape, s) {
					t.Errorf("%d: %+v does not become %+v", i, n.Shape, s)
				}
			}
		}
	}
	if made < 40 || ended < 5 {
		t.Errorf("%d zygotes made and %d spare: too few to show anything", made, ended)
	}
}
