package plan

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// ours is a machine on which a fork takes 0.02 ms longer for each MiB.
var ours = Machine{ForkPerByte: 0.02e6 / mib, NodeBytes: 2 * mib}

// needsOf reads lines "package milliseconds MiB requirement…".
func needsOf(text string) Needs {
	needs := Needs{}
	for line := range strings.Lines(text) {
		var name string
		var ms, mb int64
		if n, _ := fmt.Sscan(line, &name, &ms, &mb); n == 3 {
			needs[pkgs(name)[0]] = Need{Took: time.Duration(ms) * time.Millisecond, Bytes: mb * mib, Requires: strings.Fields(line)[3:]}
		}
	}
	return needs
}

// demandOf reads lines "count package…".
func demandOf(text string) (demand []Arrivals) {
	for line := range strings.Lines(text) {
		var count float64
		if n, _ := fmt.Sscan(line, &count); n == 1 {
			demand = append(demand, Arrivals{Shape{Runtime: "lang1", Set: pkgs(strings.Fields(line)[1:]...)}, count})
		}
	}
	return demand
}

func setName(s core.Set) string {
	var names []string
	for _, p := range s {
		names = append(names, p.Name)
	}
	return strings.Join(names, "+")
}

func (t Desired) String() string {
	var b strings.Builder
	for _, n := range t.Nodes {
		parent := "root"
		if n.Parent >= 0 {
			parent = setName(t.Nodes[n.Parent].Set)
		}
		fmt.Fprintf(&b, "%s under %s, %d MiB, saves %v of each start, %v in all\n", setName(n.Set), parent, n.Bytes/mib, n.Saves.Round(time.Millisecond), n.Benefit.Round(time.Millisecond))
	}
	for _, s := range t.Served {
		from := "root"
		if s.From >= 0 {
			from = setName(t.Nodes[s.From].Set)
		}
		fmt.Fprintf(&b, "%s from %s, %v left\n", setName(s.Set), from, s.Left)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	const science = `
		numpy 50 4
		pandas 250 9 numpy
		plot 350 6 numpy
		learn 250 11 numpy
		web 20 2`
	tests := []struct {
		name, needs, demand string
		budget              int64
	}{
		{"nothing without memory", science, "9 numpy pandas", -1},
		{"all with memory", science, "9 numpy pandas\n3 numpy plot\n2 web", 100},
		{"the most for its memory", science, "9 numpy pandas\n3 numpy plot\n2 web", 16},
		{"what two share is their parent", science, "5 numpy pandas web\n5 numpy plot pandas\n5 numpy pandas learn", 50},
		{"a package never without what it requires", science, "5 numpy pandas\n5 numpy pandas web", 8},
		{"what is cheap to import comes last", "big 100 1\nlazy 1 40", "5 big lazy", 60},
		{"a fork of what is large costs more than it saves", "lazy 1 200", "5 lazy", 999},
		{"packages that require each other", "a 50 1 b\nb 50 1 a", "5 a b", 9},
	}
	for _, test := range tests {
		tree := Plan(demandOf(test.demand), Facts{Needs: needsOf(test.needs)}, ours, test.budget*mib)
		got := tree.String()
		path := filepath.Join("testdata", "plan_"+strings.ReplaceAll(test.name, " ", "_")+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s(%v)", test.name, got, want, err)
		}
	}
}

// instance makes up packages and demand: functions of two runtimes and two namespaces, in several versions.
func instance(random *rand.Rand, packages, functions int) (demand []Arrivals, facts Facts) {
	facts = Facts{Needs: Needs{}, Asks: Asks{}}
	var all []core.Package
	for i := range packages {
		for v := range 1 + random.IntN(2) {
			p := core.Package{Name: fmt.Sprint("p", i), Version: fmt.Sprint(v)}
			need := Need{Took: time.Duration(random.IntN(100)) * time.Millisecond, Bytes: int64(random.IntN(8 * mib))}
			for range min(i, random.IntN(3)) {
				need.Requires = append(need.Requires, fmt.Sprint("p", random.IntN(i)))
			}
			facts.Needs[p] = need
			all = append(all, p)
		}
	}
	if random.IntN(2) == 0 {
		p := all[random.IntN(len(all))]
		facts.Asks[Asker{"lang1", p}] = core.NewSet(all[random.IntN(len(all))])
		facts.Asks[Asker{"lang2", p}] = nil
	}
	for range functions {
		s := Shape{Runtime: core.RuntimeID(fmt.Sprint("lang", 1+random.IntN(2))), Namespace: []string{"", "", "team"}[random.IntN(3)]}
		names := map[string]bool{}
		var set []core.Package
		for range 1 + random.IntN(min(packages, 12)) {
			if p := all[random.IntN(len(all))]; !names[p.Name] {
				names[p.Name] = true
				set = append(set, p)
			}
		}
		s.Set = core.NewSet(set...)
		demand = append(demand, Arrivals{s, float64(1 + random.IntN(5))})
	}
	return demand, facts
}

// Whatever the demand is, a plan can be carried out: each zygote is closed and below one that may become it,
// memory suffices, functions start only from what may become them; and the order of the demand does not
// matter.
func TestPlanHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for round := range 20 {
		demand, facts := instance(random, 2+random.IntN(12), 1+random.IntN(30))
		guessed := round%2 == 0 // for functions that were not seen
		for i := range demand {
			if !guessed {
				demand[i].Count++
			}
		}
		budget := int64(random.IntN(80 * mib))
		tree := Plan(demand, facts, ours, budget)
		var bytes int64
		for i, n := range tree.Nodes {
			depth := 2
			for p := n.Parent; p >= 0; p = tree.Nodes[p].Parent {
				depth++
			}
			bytes += n.Bytes
			if n.Parent >= i || n.Parent >= 0 && !tree.Nodes[n.Parent].serves(n.shape(), facts.Asks) || depth > maxDepth || n.Saves <= 0 {
				t.Errorf("node %d cannot be made: %+v", i, n)
			}
		}
		if bytes != tree.Bytes || bytes > budget {
			t.Errorf("%d bytes, the tree says %d, of at most %d", bytes, tree.Bytes, budget)
		}
		for _, s := range tree.Served {
			if s.From < 0 {
				continue
			}
			n := &tree.Nodes[s.From]
			if !n.serves(Shape{Runtime: s.Runtime, Namespace: s.Namespace, Set: s.Set}, facts.Asks) {
				t.Errorf("%v starts from %v", s.Shape, n)
			}
			if n.Benefit <= 0 {
				t.Errorf("%v starts from %v, which is good for nothing", s.Shape, n)
			}
		}
		for i := range tree.Nodes {
			if n := &tree.Nodes[i]; !guessed && !slices.ContainsFunc(demand, func(d Arrivals) bool { return n.serves(d.Shape, facts.Asks) && closed(n.Set, d.Set, facts) }) {
				t.Errorf("%v is a zygote of no function's", n.Set)
			}
		}
		other := slices.Clone(demand)
		random.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
		if again := Plan(other, facts, ours, budget); !reflect.DeepEqual(again.Nodes, tree.Nodes) {
			t.Errorf("another order of the demand: %v instead of %v", again, tree)
		}
	}
}

// Functions of which each has one package more than the one before become a chain of zygotes, as deep as a
// tree may be.
func TestPlanIsAsDeepAsATree(t *testing.T) {
	needs, demand := "", ""
	for i := range 12 {
		needs += fmt.Sprintf("p%02d 50 4\n", i)
		demand += "5"
		for j := range i + 1 {
			demand += fmt.Sprintf(" p%02d", j)
		}
		demand += "\n"
	}
	tree := Plan(demandOf(demand), Facts{Needs: needsOf(needs)}, ours, 999*mib)
	deepest := 0
	for i := range tree.Nodes {
		depth := 1 // of its root zygote
		for p := i; p >= 0; p = tree.Nodes[p].Parent {
			depth++
		}
		deepest = max(deepest, depth)
	}
	if len(tree.Nodes) != 12 || deepest != maxDepth {
		t.Errorf("%d nodes, the deepest at %d, want 12 and %d:\n%v", len(tree.Nodes), deepest, maxDepth, tree)
	}
}

// closed says whether a zygote has all that its packages require, as far as a function has it.
func closed(zygote, function core.Set, facts Facts) bool {
	for _, p := range zygote {
		for _, q := range function {
			if slices.Contains(facts.Needs[p].Requires, q.Name) && !has(zygote, q) {
				return false
			}
		}
	}
	return true
}

// Against all trees there are, on instances that are small enough for that.
func TestPlanIsNearTheOptimum(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	sum, least, instances := 0.0, 1.0, 0
	for instances < 200 {
		demand, facts := instance(random, 4, 4)
		for i := range demand {
			demand[i].Namespace, demand[i].Count = "", demand[i].Count+1 // none is guessed
		}
		budget := int64(4+random.IntN(30)) * mib
		best := optimum(demand, facts, budget)
		if best == 0 {
			continue
		}
		got := saved(demand, facts, Plan(demand, facts, ours, budget))
		if got > best*(1+1e-9) {
			t.Errorf("saves %v, more than the optimum %v: is that a tree?", got, best)
		}
		sum, least, instances = sum+got/best, min(least, got/best), instances+1
	}
	t.Logf("%d instances: plans save %.4f of the optimum on average, %.3f at the least", instances, sum/float64(instances), least)
	if sum/float64(instances) < 0.97 || least < 0.5 {
		t.Errorf("plans save %.4f of the optimum on average, %.3f at the least", sum/float64(instances), least)
	}
}

// planning is what Plan begins with.
func planning(demand []Arrivals, facts Facts, budget int64) *planner {
	x := newIndex(demand, facts)
	x.expect()
	return newPlanner(x, ours, budget, func() {})
}

// However choices came and went, all that is known of them is as if only those had come that stayed.
func TestChosenIsKeptUpToDate(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for range 20 {
		demand, facts := instance(random, 2+random.IntN(10), 1+random.IntN(20))
		s := planning(demand, facts, 100*mib)
		s.choices()
		c := newChosen(s)
		if len(s.pool) == 0 {
			continue
		}
		for range 60 {
			if i := int32(random.IntN(len(s.pool))); c.in[i] {
				c.remove(i)
			} else {
				c.add(i)
			}
		}
		fresh := newChosen(s)
		for _, i := range c.list {
			fresh.add(i)
		}
		if c.bytes != fresh.bytes || !slices.Equal(c.have, fresh.have) {
			t.Errorf("%v bytes, want %v; saves %v, want %v", c.bytes, fresh.bytes, c.have, fresh.have)
		}
		if !slices.Equal(c.shared, fresh.shared) || !slices.Equal(c.others, fresh.others) {
			t.Errorf("shares %v, want %v; others %v, want %v", c.shared, fresh.shared, c.others, fresh.others)
		}
		for i, b := range c.benefit {
			want := 0.0
			for _, w := range s.pool[i].wishes {
				want += max(s.pool[i].gain-c.have[w], 0) * s.index.wishes[w].count
			}
			if b < want-c.trifle || b > want+c.trifle {
				t.Errorf("the benefit of %d is %v, want %v", i, b, want)
			}
		}
		if c.set(nil); c.bytes != 0 || len(c.list) > 0 {
			t.Errorf("%v bytes of nothing", c.bytes)
		}
	}
}

// saved is what all starts of a demand save by a tree, in nanoseconds.
func saved(demand []Arrivals, facts Facts, tree Desired) (sum float64) {
	for _, d := range demand {
		best := 0.0
		for i := range tree.Nodes {
			if n := &tree.Nodes[i]; n.serves(Shape{Runtime: d.Runtime, Namespace: d.Namespace, Set: d.Set}, facts.Asks) {
				best = max(best, float64(n.Saves))
			}
		}
		sum += d.Count * best
	}
	return sum
}

// optimum is the most that any tree saves. It tries every choice of closed sets that some function has.
func optimum(demand []Arrivals, facts Facts, budget int64) (best float64) {
	s := planning(demand, facts, budget)
	for _, w := range s.index.wishes {
		for choice := range 1 << len(w.atoms) {
			atoms := s.index.setOf(nil)
			for i, a := range w.atoms {
				if choice>>i&1 == 1 {
					for _, b := range s.index.atoms[a].closure {
						atoms.add(b)
					}
				}
			}
			s.consider(atoms)
		}
	}
	if len(s.pool) > 14 {
		return 0
	}
	for choice := range uint(1) << len(s.pool) {
		var list []int32
		for i := range s.pool {
			if choice>>i&1 == 1 {
				list = append(list, int32(i))
			}
		}
		if bits.OnesCount(choice)*int(ours.NodeBytes) > int(budget) {
			continue
		}
		if _, bytes := s.arranged(list); bytes <= budget {
			var tree Desired
			for _, i := range list {
				n := Planned{Saves: time.Duration(s.pool[i].gain)}
				n.Runtime, n.Namespace, n.Set = s.index.packages(s.pool[i].set)
				tree.Nodes = append(tree.Nodes, n)
			}
			best = max(best, saved(demand, facts, tree))
		}
	}
	return best
}

// BenchmarkPlan plans for functions over packages that require one another, of which some are far more
// popular.
func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ functions, packages int }{{1000, 500}, {10_000, 2000}} {
		b.Run(fmt.Sprintf("%dx%d", size.functions, size.packages), func(b *testing.B) {
			random := rand.New(rand.NewPCG(4, 4))
			facts := Facts{Needs: Needs{}}
			var names []string
			for i := range size.packages {
				name := fmt.Sprint("p", i)
				need := Need{Took: time.Duration(random.ExpFloat64() * 20e6), Bytes: int64(random.ExpFloat64() * mib)}
				for range min(i, random.IntN(4)) {
					need.Requires = append(need.Requires, names[int(float64(i)*random.Float64()*random.Float64())])
				}
				facts.Needs[pkgs(name)[0]] = need
				names = append(names, name)
			}
			var demand []Arrivals
			for range size.functions {
				var own []string
				for range 1 + random.IntN(5) {
					own = append(own, names[int(float64(size.packages)*random.Float64()*random.Float64()*random.Float64())])
				}
				for i := 0; i < len(own); i++ {
					for _, name := range facts.Needs[pkgs(own[i])[0]].Requires {
						if !slices.Contains(own, name) {
							own = append(own, name)
						}
					}
				}
				demand = append(demand, Arrivals{Shape{Runtime: "lang1", Set: pkgs(own...)}, float64(1 + random.IntN(3))})
			}
			for b.Loop() {
				tree := Plan(demand, facts, ours, 1<<30)
				b.ReportMetric(float64(len(tree.Nodes)), "nodes")
			}
		})
	}
}
