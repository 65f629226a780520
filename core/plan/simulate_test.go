package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A simulation of a worker's memory: which processes it has at each time, and what starts take. Nothing lives
// in it, and what it decides, it asks the package. Its packages, functions and events are made up, and always
// the same.

// simulated is a machine, its functions, and how it decides.
type simulated struct {
	random    *rand.Rand
	budget    int64
	atoms     []simAtom
	functions []simFunction
	facts     Facts
	policy    policy

	now     time.Time
	nodes   []*simNode // a parent before its children
	last    int
	bytes   int64
	demands Demands
	goal    Goal
	epoch   int             // of zygotes
	spent   time.Duration   // importing in zygotes
	latency []time.Duration // of all events
	warm    int
	made    int
}

// policy is a way to decide about zygotes.
type policy struct {
	name string
	each bool          // a miss makes a zygote of the function's own set, and what had the least hits for its size goes
	miss bool          // Wanted makes zygotes that are missed
	room bool          // only while memory is not full
	goal time.Duration // between goals, 0 for none
}

var policies = []policy{
	{name: "none"},
	{name: "2017", each: true},
	{name: "misses", miss: true},
	{name: "goals", goal: NextGoal},
	{name: "worker", miss: true, room: true, goal: NextGoal},
}

type simAtom struct {
	pkg     core.Package
	closure set
	took    time.Duration
	bytes   int64
}

type simFunction struct {
	shape Shape
	has   set
	from  *simNode // as of epoch
	epoch int
	idle  []*simNode
}

type simNode struct {
	Zygote
	has      set
	parent   *simNode
	children int
	fn       *simFunction // of an instance
	use      Use
	hits     float64
	saves    time.Duration
	bytes    int64 // beyond its parent's
	gone     bool
	spare    bool
}

func (s *simulated) cost(has, without set) (took time.Duration, bytes int64) {
	for i := range has.all {
		if without == nil || !without.has(i) {
			took, bytes = took+s.atoms[i].took, bytes+s.atoms[i].bytes
		}
	}
	return took, bytes
}

// forkTime is what a fork takes of a process that has imported so much.
func forkTime(bytes int64) time.Duration {
	return 300*time.Microsecond + time.Duration(Typical().ForkPerByte*float64(bytes))
}

const (
	simInstance = 5 * mib // of an instance, besides what it imports
	simHandler  = 5 * time.Millisecond
)

func simulate(seed uint64, functions, packages int, budget int64, p policy) *simulated {
	s := &simulated{random: rand.New(rand.NewPCG(seed, 9)), budget: budget, now: noon, policy: p, demands: Demands{}}
	s.facts = Facts{Costs: Costs{}, Weights: Weights{}, Needs: Needs{}, Asks: Asks{}}
	empty := func() set { return make(set, (packages+63)/64) }
	r := s.random
	for i := range packages {
		a := simAtom{pkg: pkgs(fmt.Sprintf("p%04d", i))[0], closure: empty(), took: time.Duration(r.ExpFloat64() * 20e6), bytes: int64(r.ExpFloat64() * mib)}
		a.closure.add(i)
		need := Need{Modules: []string{a.pkg.Name}, Took: a.took, Bytes: a.bytes}
		for range min(i, r.IntN(4)) {
			j := int(float64(i) * r.Float64() * r.Float64())
			need.Requires = append(need.Requires, s.atoms[j].pkg.Name)
			a.closure = a.closure.union(s.atoms[j].closure)
		}
		s.atoms = append(s.atoms, a)
		s.facts.Needs[a.pkg] = need
		took, bytes := s.cost(a.closure, nil)
		s.facts.Costs[Module{"lang1", a.pkg.Name}], s.facts.Weights[Module{"lang1", a.pkg.Name}] = took, bytes
	}
	for range functions {
		f := simFunction{shape: Shape{Runtime: "lang1"}, has: empty(), epoch: -1}
		for range 1 + r.IntN(5) {
			i := int(float64(packages) * r.Float64() * r.Float64() * r.Float64())
			if name := s.atoms[i].pkg.Name; !slices.Contains(f.shape.Modules, name) {
				f.shape.Modules = append(f.shape.Modules, name)
				f.has = f.has.union(s.atoms[i].closure)
			}
		}
		var all []core.Package
		for i := range f.has.all {
			all = append(all, s.atoms[i].pkg)
		}
		f.shape.Set = core.NewSet(all...)
		s.functions = append(s.functions, f)
	}
	s.add(nil, Zygote{Shape: Shape{Runtime: "lang1"}, Depth: 1}, empty(), nil)
	return s
}

// add makes a node.
func (s *simulated) add(parent *simNode, z Zygote, has set, fn *simFunction) *simNode {
	s.last++
	z.ID = core.NodeID(fmt.Sprint("n", s.last))
	n := &simNode{Zygote: z, has: has, parent: parent, fn: fn, use: Once(s.now)}
	var without set
	if parent != nil {
		n.Parent, n.Depth, without = parent.ID, parent.Depth+1, parent.has
		parent.children++
		parent.use, parent.hits = parent.use.Add(s.now), parent.hits+1
	}
	n.saves, n.bytes = s.cost(has, without)
	n.bytes += Typical().NodeBytes
	if fn != nil {
		_, parents := s.cost(parent.has, nil)
		n.bytes, n.saves = n.bytes-Typical().NodeBytes+simInstance, n.saves+simHandler+forkTime(parents)
	} else {
		s.epoch++
	}
	s.bytes += n.bytes
	s.nodes = append(s.nodes, n)
	return n
}

// end ends a leaf.
func (s *simulated) end(n *simNode) {
	n.gone = true
	s.bytes -= n.bytes
	n.parent.children--
	if n.fn == nil {
		s.epoch++
	} else {
		n.fn.idle = slices.DeleteFunc(n.fn.idle, func(o *simNode) bool { return o == n })
	}
	s.nodes = slices.DeleteFunc(s.nodes, func(o *simNode) bool { return o == n })
}

// reclaim evicts for a node of that value until memory suffices, or says that it cannot.
func (s *simulated) reclaim(but *simNode, value float64) bool {
	short := s.bytes - s.budget
	if short <= 0 {
		return true
	}
	byID := map[core.NodeID]*simNode{}
	var leaves []Leaf
	for _, n := range s.nodes {
		if n.children > 0 || n == but || n.parent == nil {
			continue
		}
		byID[n.ID] = n
		l := Leaf{ID: n.ID, Spare: n.spare, Use: n.use, Saves: n.saves, Bytes: n.bytes, Charged: n.bytes}
		if s.policy.each { // hits for its size, for all time
			l.Use, l.Saves = Use{n.hits + 1, s.now}, time.Second
		}
		leaves = append(leaves, l)
	}
	for _, v := range Reclaim(leaves, short, value, s.now) {
		s.end(byID[v.ID])
	}
	return s.bytes <= s.budget
}

func (s *simulated) zygotes() (all []Zygote) {
	for _, n := range s.nodes {
		if n.fn == nil {
			all = append(all, n.Zygote)
		}
	}
	return all
}

func (s *simulated) node(id core.NodeID) *simNode {
	return s.nodes[slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.ID == id })]
}

// grow makes a zygote, if there is memory for one of that value.
func (s *simulated) grow(want Candidate) bool {
	near, _ := Parent(s.zygotes(), want.Shape, s.facts)
	parent := s.node(near.ID)
	has := slices.Clone(parent.has)
	for i, a := range s.atoms {
		if slices.Contains(want.Modules, a.pkg.Name) {
			has = has.union(s.atoms[i].closure)
		}
	}
	n := s.add(parent, Zygote{Shape: want.Shape}, has, nil)
	n.use.Weight = max(want.Uses, 1)
	if !s.reclaim(n, want.Benefit/float64(n.bytes)) {
		s.end(n)
		return false
	}
	s.spent += n.saves
	s.made++
	return true
}

// event is one event of a function.
func (s *simulated) event(f *simFunction) {
	if len(f.idle) > 0 {
		n := f.idle[len(f.idle)-1]
		n.use, n.hits = n.use.Add(s.now), n.hits+1
		s.warm++
		s.latency = append(s.latency, 0)
		return
	}
	if f.epoch != s.epoch {
		zygotes := s.zygotes()
		near, _ := Nearest(zygotes, f.shape, s.facts)
		if s.policy.each { // the largest part of the set
			for _, z := range zygotes {
				if s.facts.Asks.MayBecome(z.Shape, f.shape) && len(z.Set) > len(near.Set) {
					near = z
				}
			}
		}
		f.from, f.epoch = s.node(near.ID), s.epoch
	}
	whole := len(Missing(f.shape.Modules, f.from.Modules)) == 0
	wanting := s.demands.Add(f.shape, map[bool]int{false: 1}[whole], Once(s.now), s.now)
	n := s.add(f.from, Zygote{Shape: f.shape}, f.has, f)
	f.idle = append(f.idle, n)
	s.latency = append(s.latency, n.saves)
	s.reclaim(n, Necessary())
	switch {
	case s.policy.each && !whole:
		if s.grow(Candidate{Shape: f.shape, Benefit: math.Inf(1)}) {
			s.spent -= s.nodes[len(s.nodes)-1].saves // it is the start's own
		}
	case s.policy.miss && wanting:
		s.round()
	}
}

// round makes what is missed.
func (s *simulated) round() {
	var round Round
	for !round.Over() {
		zygotes := s.zygotes()
		s.demands.Met(zygotes, s.facts)
		room := !s.policy.room || Room(s.bytes, s.budget)
		demands, _ := s.demands.Heaviest(s.now, func(string, *Demand) bool { return room })
		want, found := Wanted(demands, zygotes, round.Blocks(nil), s.facts, s.now)
		if !found {
			return
		}
		if s.grow(want) {
			round.Made(want.Shape, s.now)
		} else {
			round.Leave(want.Shape, "", s.now)
		}
	}
}

// aim makes a new goal, and follows it.
func (s *simulated) aim() {
	s.goal = Aim(s.demands.All(s.now), s.zygotes(), s.facts, Typical(), GoalBytes(s.budget), s.now, func() {})
	for {
		next, found, spare := s.goal.Next(s.zygotes(), nil, s.now)
		for _, n := range s.nodes {
			n.spare = slices.Contains(spare, n.ID)
		}
		if !found {
			return
		}
		s.grow(next)
	}
}

// run lets so many events come in that time, of functions by their popularity, which is another one after
// half of it.
func (s *simulated) run(events int, over time.Duration) {
	r := rand.New(rand.NewPCG(7, 7))
	weights := make([]float64, len(s.functions))
	sum := 0.0
	for i := range weights {
		sum += math.Pow(float64(i+1), -0.9)
		weights[i] = sum
	}
	order := r.Perm(len(s.functions))
	next := s.now.Add(s.policy.goal)
	for i := range events {
		if i == events/2 {
			order = r.Perm(len(s.functions))
		}
		s.now = s.now.Add(time.Duration(r.ExpFloat64() * float64(over) / float64(events)))
		if s.policy.goal > 0 && s.now.After(next) {
			s.aim()
			next = s.now.Add(s.policy.goal)
		}
		at, _ := slices.BinarySearch(weights, r.Float64()*sum)
		s.event(&s.functions[order[at]])
	}
}

// mean and p99 are of all events; a warm one takes nothing.
func (s *simulated) mean() time.Duration {
	sum := time.Duration(0)
	for _, l := range s.latency {
		sum += l
	}
	return sum / time.Duration(len(s.latency))
}

func (s *simulated) p99() time.Duration {
	sorted := slices.Sorted(slices.Values(s.latency))
	return sorted[len(sorted)*99/100]
}

// A day of 10,000 functions, of which most are called once or never. Goals are made less often than by a
// worker, for the test to take seconds.
func TestDay(t *testing.T) {
	day := func(p policy) *simulated {
		s := simulate(2, 10_000, 500, 1<<30, p)
		s.run(10_000, 24*time.Hour)
		return s
	}
	none, old, goals := day(policies[0]), day(policies[1]), day(policy{goal: 20 * time.Minute})
	t.Logf("mean start without zygotes %v, by the policy of 2017 %v, by goals %v", none.mean(), old.mean(), goals.mean())
	t.Logf("p99 %v, %v and %v; import in zygotes for goals %v", none.p99(), old.p99(), goals.p99(), goals.spent)
	if goals.mean() > min(none.mean(), old.mean())*95/100 || goals.p99() > none.p99() {
		t.Error("goals are not worth making")
	}
	if goals.bytes > goals.budget {
		t.Errorf("%d bytes of %d", goals.bytes, goals.budget)
	}
}

// The same functions and events have the same zygotes, and take the same time.
func TestSimulationIsTheSame(t *testing.T) {
	hour := func() *simulated {
		s := simulate(3, 100, 60, 200<<20, policies[len(policies)-1])
		s.run(400, time.Hour)
		return s
	}
	one, other := hour(), hour()
	if !slices.Equal(one.latency, other.latency) || one.made != other.made || one.made == 0 {
		t.Errorf("%d zygotes and %d, mean %v and %v", one.made, other.made, one.mean(), other.mean())
	}
}

// BenchmarkPolicies simulates two hours of 500 functions, each policy with the same events and memory.
func BenchmarkPolicies(b *testing.B) {
	for _, p := range policies {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				s := simulate(1, 500, 200, 1<<30, p)
				s.run(5000, 2*time.Hour)
				b.ReportMetric(s.mean().Seconds()*1e3, "mean-ms")
				b.ReportMetric(s.p99().Seconds()*1e3, "p99-ms")
				b.ReportMetric(float64(s.made), "zygotes")
				b.ReportMetric(s.spent.Seconds(), "import-s")
				b.ReportMetric(float64(s.warm)/float64(len(s.latency)), "warm")
			}
		})
	}
}
