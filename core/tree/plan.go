package tree

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// This file is the policy, whole and pure: data in, decision out. It starts nothing, locks nothing and reads no clock.

const (
	assumedCost  = 50 * time.Millisecond // of importing a module that was never measured
	worthSharing = 20 * time.Millisecond // the least import time for which functions get a zygote in common
	secondMiss   = 2                     // requests that would have used a zygote, before it is made
	halfLife     = 5 * time.Minute       // after which a use counts half
	maxDepth     = 8                     // of a zygote; pid namespaces nest 32 deep and a worker may run in one
	firstBackoff = time.Minute           // before a zygote that could not import is tried again; it doubles
	lastBackoff  = time.Hour
	assumedBytes = 8 << 20 // of a process that was never measured
	maxPlanned   = 64      // demands that one plan looks at, the heaviest first: planning is quadratic in them
)

// shape is what matters of a process for the plan: what it may load and what it has imported, or is to import.
type shape struct {
	runtime core.RuntimeID
	set     core.Set
	modules []string // in the order of import
}

func (s shape) key() string {
	modules := slices.Sorted(slices.Values(s.modules))
	return string(s.runtime) + "\n" + s.set.Key() + "\n" + strings.Join(modules, "\n")
}

// partOf says whether everything that s may have loaded is o's as well.
func (s shape) partOf(o shape) bool { return s.runtime == o.runtime && s.set.SubsetOf(o.set) }

// within says whether o has all that s has, and more.
func (s shape) within(o shape) bool {
	return s.partOf(o) && len(without(s.modules, o.modules)) == 0 && smaller(s, o) < 0
}

// shared is what both have in common; its modules are in the order of s.
func (s shape) shared(o shape) shape {
	return shape{runtime: s.runtime, set: s.set.Intersect(o.set), modules: intersect(s.modules, o.modules)}
}

// smaller orders shapes by what a process of that shape drags along: a fork costs more the more its parent has loaded.
func smaller(a, b shape) int {
	return cmp.Or(cmp.Compare(len(a.set), len(b.set)), cmp.Compare(len(a.modules), len(b.modules)))
}

func intersect(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(m string) bool { return !slices.Contains(b, m) })
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(m string) bool { return slices.Contains(b, m) })
}

// use is how much a thing is used: a count in which older uses weigh less.
type use struct {
	weight float64
	last   time.Time
}

func (u use) add(now time.Time) use { return use{u.at(now) + 1, now} }

// plus is the use of what both are the use of.
func (u use) plus(o use) use {
	if o.last.After(u.last) {
		u, o = o, u
	}
	return use{u.weight + o.at(u.last), u.last}
}

func (u use) at(now time.Time) float64 {
	if u.weight == 0 {
		return 0
	}
	return u.weight * math.Exp2(-float64(now.Sub(u.last))/float64(halfLife))
}

// module names a module for the table of costs. Versions of it are taken to cost the same.
type module struct {
	runtime core.RuntimeID
	name    string
}

// costs is the measured time of importing each module, with what it imports itself.
type costs map[module]time.Duration

// learn keeps the dearest measurement: a cheaper one mostly means that another module had done a part of the work.
func (c costs) learn(rt core.RuntimeID, measured map[string]time.Duration) {
	for name, took := range measured {
		c[module{rt, name}] = max(c[module{rt, name}], took)
	}
}

func (c costs) of(rt core.RuntimeID, name string) time.Duration {
	if cost, measured := c[module{rt, name}]; measured {
		return max(cost, time.Microsecond)
	}
	return assumedCost
}

// weights is the measured memory, in bytes, that importing each module takes.
type weights map[module]int64

// of is what importing modules takes, with a process to do it.
func (w weights) of(rt core.RuntimeID, modules []string) int64 {
	bytes := int64(assumedBytes)
	for _, name := range modules {
		bytes += w[module{rt, name}]
	}
	return bytes
}

// saves is how much import time want is spared when it starts where the modules have been imported.
func (c costs) saves(modules []string, want shape) time.Duration {
	var sum time.Duration
	for _, name := range want.modules {
		if slices.Contains(modules, name) {
			sum += c.of(want.runtime, name)
		}
	}
	return sum
}

// zygote is a process that can be forked now.
type zygote struct {
	shape
	id    core.NodeID
	depth int // of a root zygote: 1
}

// nearest finds the zygote that saves want the most import time among those that may become it. Among equals it prefers the
// one that has loaded least, then the one nearer to the root, then the older one.
func nearest(zygotes []zygote, want shape, c costs, a Asks) (best zygote, found bool) {
	var most time.Duration
	for _, z := range zygotes {
		saved := c.saves(z.modules, want)
		if found && saved < most {
			continue
		}
		if found && saved == most && !preferred(z, best) {
			continue
		}
		// Last, since it is the dear part.
		if a.mayBecome(z.shape, want) {
			best, most, found = z, saved, true
		}
	}
	return best, found
}

func preferred(a, b zygote) bool {
	return cmp.Or(smaller(a.shape, b.shape), cmp.Compare(a.depth, b.depth), cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.id, b.id)) < 0
}

// demand is what requests have asked for: all functions of one shape together.
type demand struct {
	shape
	missed int // requests that no zygote had every module for, since the last one that had
	use    use
	due    int    // deploys that wait for its zygote
	bytes  int64  // that its zygote had when it was measured, 0 before
	why    string // the planner could not make its zygote when it tried last
}

// heaviest returns the demands that a plan looks at, in an order that depends on nothing but them: those that miss a zygote first.
func heaviest(demands map[string]*demand, now time.Time) []demand {
	all := make([]demand, 0, len(demands))
	for _, key := range slices.Sorted(maps.Keys(demands)) {
		all = append(all, *demands[key])
	}
	slices.SortStableFunc(all, func(a, b demand) int {
		return cmp.Or(cmp.Compare(min(b.missed, 1), min(a.missed, 1)), cmp.Compare(b.use.at(now), a.use.at(now)))
	})
	return all[:min(len(all), maxPlanned)]
}

// block is a zygote that cannot be made.
type block struct {
	shape
	reason   string
	failures int
	until    time.Time // zero: for good
}

// again is the block after one more failed try.
func (b block) again(reason string, now time.Time) block {
	b.reason, b.failures = reason, b.failures+1
	b.until = now.Add(min(firstBackoff<<min(b.failures-1, 10), lastBackoff))
	return b
}

// forbids says whether s must not be made. What cannot be forked for good takes all that contains it along.
func (b block) forbids(s shape, now time.Time) bool {
	if b.until.IsZero() {
		return b.partOf(s) && len(without(b.modules, s.modules)) == 0
	}
	return now.Before(b.until) && b.runtime == s.runtime && b.key() == s.key()
}

// wanted chooses the missing zygote whose making helps most: what it saves each demand that may start from it beyond what is there, times
// how much that demand is used, for each byte that it takes. Candidates are what a demand lacks entirely, and what it has in common with another one, which
// therefore comes first when it serves both well, and is then the parent of either. What would be made anyway and is contained
// in the chosen one goes before it, for the same reason. What a deploy waits for comes first.
func wanted(demands []demand, zygotes []zygote, blocks []block, c costs, w weights, a Asks, n Needs, now time.Time) (want candidate, found bool) {
	have := make([]time.Duration, len(demands))
	for i, d := range demands {
		if z, ok := nearest(zygotes, d.shape, c, a); ok {
			have[i] = c.saves(z.modules, d.shape)
		}
	}
	var own []candidate
	var most float64
	seen := map[string]bool{}
	consider := func(s shape, whole bool, bytes int64) {
		key := s.key()
		if seen[key] || slices.ContainsFunc(blocks, func(b block) bool { return b.forbids(s, now) }) {
			return
		}
		seen[key] = true
		one, missed := candidate{shape: s}, 0
		for i, d := range demands {
			if !a.mayBecome(s, d.shape) {
				continue
			}
			if more := c.saves(s.modules, d.shape) - have[i]; more > 0 {
				one.uses += d.use.at(now)
				one.worth += d.use.at(now) * more.Seconds()
				one.due = one.due || d.due > 0
				missed += d.missed
			}
		}
		if missed < secondMiss {
			return
		}
		if whole {
			own = append(own, one)
		}
		if bytes == 0 {
			parent, _ := nearest(zygotes, s, c, a)
			bytes = w.of(s.runtime, without(s.modules, parent.modules))
		}
		value := one.worth / float64(bytes)
		if !found || one.due && !want.due || one.due == want.due && (value > most || value == most && smaller(s, want.shape) < 0) {
			want, most, found = one, value, true
		}
	}
	for i, d := range demands {
		if d.missed == 0 {
			continue
		}
		consider(d.shape, true, d.bytes)
		for j, e := range demands {
			if i == j || d.runtime != e.runtime {
				continue
			}
			both := d.shared(e.shape)
			worth := func() bool { return len(both.set) > 0 && c.saves(both.modules, d.shape)-have[i] >= worthSharing }
			if !worth() {
				continue
			}
			// Of one name may be modules of packages whose versions differ, or the versions of what they require.
			both.modules = slices.DeleteFunc(both.modules, func(m string) bool { return !n.importable(m, d.set, both.set) })
			if worth() {
				consider(both, false, 0)
			}
		}
	}
	for _, o := range own {
		if o.within(want.shape) && a.mayBecome(o.shape, want.shape) && c.saves(o.modules, o.shape) >= worthSharing {
			want = o
		}
	}
	return want, found
}

// candidate is a zygote that could be made.
type candidate struct {
	shape
	uses  float64 // of those whom it would spare something
	worth float64 // seconds that it would spare them, weighed by use; divided by bytes it compares with what victim returns
	due   bool    // whether a deploy waits for it
}

// leaf is a node that could be evicted: nobody holds it and nothing was forked from it.
type leaf struct {
	id    core.NodeID
	root  bool          // a root zygote: evicted after everything else
	use   use           // of it
	saves time.Duration // each use
	bytes int64         // that its end gives back
}

func (l leaf) value(now time.Time) float64 {
	return l.use.at(now) * l.saves.Seconds() / float64(max(l.bytes, 1))
}

// victim chooses the least valuable leaf, and returns its value: seconds saved, weighed by use, per byte.
func victim(leaves []leaf, now time.Time) (least leaf, value float64, found bool) {
	for _, l := range leaves {
		v := l.value(now)
		if !found || least.root && !l.root || least.root == l.root && (v < value || v == value && l.use.last.Before(least.use.last)) {
			least, value, found = l, v, true
		}
	}
	return least, value, found
}
