package tree

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// Config configures a tree.
type Config struct {
	Budget int64        // bytes of memory that all nodes together may use, counted proportionally
	Log    *slog.Logger // never nil
	// RootsOnly has no zygote but root zygotes: each instance imports its packages itself.
	RootsOnly bool
	// Deployed says whether that version of a function is the deployed one. It does not block. When a version
	// is replaced, Deployed says so before Evict is called.
	Deployed func(name string, version int) bool
	// Secrets returns the secrets of a function, those in variables and those in files by their names. It may
	// be nil.
	Secrets func(fn *core.Function) (env map[string]string, files map[string]core.Secret, err error)
	// Storage returns the file of a function's storage. It may be nil.
	Storage func(fn *core.Function) string
	// Loaded is called in a goroutine of its own, with modules that an instance has imported and its function
	// was not known to import. For a function that is not Watched it is called also when there are none. It
	// may be nil.
	Loaded func(fn *core.Function, modules []string)
}

// Tree is all live processes of a worker by parentage. All methods may be called from many goroutines at
// once.
type Tree struct {
	config    Config
	drivers   Drivers
	sandboxes Sandboxes

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	working  sync.WaitGroup // goroutines that make zygotes or measure
	replan   chan struct{}  // wakes the planner
	resample chan struct{}  // wakes the sampler
	turns    *turns

	strained atomic.Bool // memory is over the budget, and nothing could be evicted

	// mu guards everything below, and the tree's part of each node.
	mu      sync.Mutex
	closed  bool
	last    int // number of the newest node
	nodes   map[core.NodeID]*Node
	bytes   int64                  // sum of what each node is charged
	roots   map[rootKey]*rootStart // being made
	facts   plan.Facts
	demands plan.Demands
	blocks  plan.Blocks
	uses    map[string]plan.Use // by function
	built   map[string]int      // zygotes made, by shape
	private map[version]int64   // bytes of the instance measured last
	ahead   map[aheadKey]*aheadChild
	slow    map[version]bool // versions whose own files take long to import
	cold    map[string]int   // starts that import modules for themselves, by shape
	herds   map[string]int   // starts that wait for a zygote, by shape
	grown   chan struct{}    // closed and replaced by update
	shown   map[core.RuntimeID]plan.Shown
	showing map[core.RuntimeID]bool // a process is being made to show that it can be

	goal       plan.Goal
	following  bool // the goal may have a zygote that is not there
	planning   bool // a round is under way
	unfinished bool // the last round could not make every zygote that is wanted
	rounds     int  // that have ended
}

// New returns an empty tree. It measures and plans in the background until Close.
func New(config Config, drivers Drivers, sandboxes Sandboxes) *Tree {
	t := &Tree{
		config: config, drivers: drivers, sandboxes: sandboxes,
		replan: make(chan struct{}, 1), resample: make(chan struct{}, 1),
		nodes: map[core.NodeID]*Node{}, roots: map[rootKey]*rootStart{}, facts: plan.Facts{Costs: plan.Costs{}, Weights: plan.Weights{}},
		demands: plan.Demands{}, blocks: plan.Blocks{}, uses: map[string]plan.Use{}, built: map[string]int{}, private: map[version]int64{}, ahead: map[aheadKey]*aheadChild{},
		turns: newTurns(plan.Turns(runtime.NumCPU())), slow: map[version]bool{}, cold: map[string]int{}, herds: map[string]int{}, grown: make(chan struct{}),
		shown: map[core.RuntimeID]plan.Shown{}, showing: map[core.RuntimeID]bool{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.working.Go(t.planZygotes)
	t.working.Go(t.aim)
	t.working.Go(t.sample)
	return t
}

// add makes a node under parent. The parent lives until the node has ended. The caller holds mu.
func (t *Tree) add(role core.Role, s plan.Shape, parent *Node, generation int, bytes int64) *Node {
	t.last++
	now := time.Now()
	n := &Node{
		tree: t, id: core.NodeID(fmt.Sprintf("%s-%d", role, t.last)), role: role, shape: s, parent: parent, depth: 1, driver: generation, born: now,
		done: make(chan struct{}), use: plan.Once(now), children: map[*Node]struct{}{}, sampleAt: now.Add(plan.FirstSample),
	}
	if parent != nil {
		n.depth = parent.depth + 1
		parent.children[n] = struct{}{}
		parent.forks++
		parent.mu.Lock()
		parent.use = parent.use.Add(now)
		parent.mu.Unlock()
	}
	t.nodes[n.id] = n
	t.charge(n, bytes)
	return n
}

// remove takes an ended node out of the tree. Its descendants have ended with it, because the kernel kills
// the members of a pid namespace with its first process. Only their sandboxes are left to free.
func (t *Tree) remove(n *Node) {
	t.mu.Lock()
	n.apply(end)
	var ends []*Node
	for child := range n.children {
		ends = markKilled(child, ends)
	}
	delete(t.nodes, n.id)
	t.charge(n, 0)
	if p := n.parent; p != nil {
		delete(p.children, n)
		if len(p.children) == 0 && p.is(retired) {
			ends = append(ends, p)
		}
	}
	t.mu.Unlock()
	killAll(ends)
	close(n.done)
}

// markKilled marks a subtree as ended by no fault of its own, and appends it to ends, children first.
func markKilled(n *Node, ends []*Node) []*Node {
	n.killed.Store(true)
	n.apply(kill)
	for child := range n.children {
		ends = markKilled(child, ends)
	}
	return append(ends, n)
}

// kill ends a node and everything that was forked from it.
func (t *Tree) kill(n *Node) {
	t.mu.Lock()
	ends := markKilled(n, nil)
	t.mu.Unlock()
	killAll(ends)
}

func killAll(nodes []*Node) {
	for _, n := range nodes {
		n.Kill()
	}
}

// watch waits for the end of a node, however it comes.
func (t *Tree) watch(n *Node) {
	sandbox := n.place()
	<-sandbox.Done()
	sandbox.Kill() // frees what the process left behind
	if n.role == core.RoleZygote && sandbox.Exit().OutOfMemory {
		t.outgrown(n)
	}
	t.config.Log.Debug("evict", "node", n.id, "took", time.Since(n.born))
	t.remove(n)
}

// version names one version of a function. No other version ever has that name.
type version struct {
	function string
	number   int
}

// Evict ends the instances of a function, except those of the versions to keep. Idle
// instances end now, busy ones when they are released.
func (t *Tree) Evict(function string, keep ...int) {
	ends := func(name string, version int) bool { return name == function && !slices.Contains(keep, version) }
	var leaves []*Node
	t.mu.Lock()
	maps.DeleteFunc(t.private, func(v version, _ int64) bool { return ends(v.function, v.number) })
	maps.DeleteFunc(t.slow, func(v version, _ bool) bool { return ends(v.function, v.number) })
	for _, n := range t.nodes {
		if n.fn == nil || !ends(n.fn.Name, n.fn.Version) {
			continue
		}
		if to, ok := n.apply(drain); ok && to == dying {
			leaves = append(leaves, n)
		}
	}
	t.mu.Unlock()
	killAll(leaves)
}

// DriverLost says that a driver is dead. Its zygotes fork no more and end after their last child. Instances
// and children made ahead live on.
func (t *Tree) DriverLost(generation int) {
	var ends []*Node
	t.mu.Lock()
	for _, n := range t.nodes {
		if n.role != core.RoleZygote || n.driver != generation {
			continue
		}
		if _, ok := n.apply(retire); ok && len(n.children) == 0 {
			ends = append(ends, n)
		}
		t.demands.Lose(n.shape.Runtime) // so that the next driver gets as good zygotes
		delete(t.shown, n.shape.Runtime)
	}
	wake(t.replan)
	t.mu.Unlock()
	killAll(ends)
}

// Expel ends every process that may have loaded a package: instances as Evict does, zygotes as DriverLost
// does. The caller has made sure that no new sandbox has the package.
func (t *Tree) Expel(digest string) {
	var ends []*Node
	t.mu.Lock()
	for _, n := range t.nodes {
		if !slices.ContainsFunc(n.shape.Set, func(p core.Package) bool { return p.Digest == digest }) {
			continue
		}
		if n.fn != nil {
			if to, ok := n.apply(drain); ok && to == dying {
				ends = append(ends, n)
			}
		} else if _, ok := n.apply(retire); ok && len(n.children) == 0 {
			ends = append(ends, n)
		}
	}
	t.mu.Unlock()
	killAll(ends)
}

// Learn tells the tree how long importing modules takes, in a process that has imported none of them.
func (t *Tree) Learn(rt core.RuntimeID, modules map[string]time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Costs.Learn(rt, modules)
}

// LearnAsks replaces what the tree knows of which packages look for which others. The caller does so before a
// zygote imports such a package, and before a function has a package that others look for.
func (t *Tree) LearnAsks(asks plan.Asks) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Asks = asks
}

// LearnNeeds replaces what the tree knows of the modules and requirements of packages.
func (t *Tree) LearnNeeds(needs plan.Needs) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Needs = needs
}

// Weigh tells the tree how many bytes of memory importing modules takes.
func (t *Tree) Weigh(rt core.RuntimeID, modules map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts.Weights.Learn(rt, modules)
}

// Apart returns the modules that no zygote imports for a function, with the reasons: those known since its
// deploy, and those found when a zygote was tried. The map is the caller's, and nil when there are none.
func (t *Tree) Apart(fn *core.Function) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.apart(fn)
}

// apart is Apart. The caller holds mu.
func (t *Tree) apart(fn *core.Function) map[string]string {
	apart := maps.Clone(fn.Apart)
	want := plan.ShapeOf(fn)
	for _, b := range t.blocks.Forbidding(want, time.Time{}) {
		if !b.ForGood() {
			continue
		}
		if apart == nil {
			apart = map[string]string{}
		}
		for _, m := range b.Modules {
			apart[m] = b.Reason
		}
	}
	return apart
}

// Memory returns the bytes that all nodes use, as last measured or as assumed before.
func (t *Tree) Memory() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

// Snapshot returns all nodes, parents before their children.
func (t *Tree) Snapshot() []core.NodeInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	nodes := make([]*Node, 0, len(t.nodes))
	for _, n := range t.nodes {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *Node) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), a.born.Compare(b.born), cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.id, b.id))
	})
	infos := make([]core.NodeInfo, len(nodes))
	for i, n := range nodes {
		infos[i] = n.info()
	}
	return infos
}

// info describes the node. The caller holds the tree's mutex.
func (n *Node) info() core.NodeInfo {
	info := core.NodeInfo{
		ID: n.id, Role: n.role, State: n.in().String(), Runtime: n.shape.Runtime, Set: n.shape.Set, Modules: n.shape.Modules,
		PID: n.pid, Memory: n.usage.Proportional, Private: n.usage.Private, Generation: n.rebuilt, Forks: n.forks, Born: n.born,
		UnderWay: int(n.underWay.Load()),
	}
	info.Parent = n.above()
	if n.fn != nil {
		info.Function = n.fn.Name
	} else {
		info.Namespace = n.shape.Namespace
	}
	n.mu.Lock()
	info.Events = n.events
	n.mu.Unlock()
	now, leaf := time.Now(), n.leaf()
	info.Use, info.Saves, info.Value, info.Spare = leaf.Use.At(now), n.saves, leaf.Value(now)*(1<<20), n.spare
	return info
}

// Close ends every node, leaves before their parents, and waits until all have ended. When the context ends
// first it kills the rest in any order and returns an error.
func (t *Tree) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	defer t.working.Wait()
	for {
		leaves := t.markLeaves(ctx.Err() != nil)
		if len(leaves) == 0 {
			return nil
		}
		killAll(leaves)
		for i, n := range leaves {
			select {
			case <-n.done:
			case <-ctx.Done():
				killAll(t.markLeaves(true))
				return core.Errorf(core.KindTimeout, core.FaultWorker, "%d processes had not ended when the worker stopped waiting for them", len(leaves)-i)
			}
		}
	}
}

// markLeaves marks the nodes without children as killed, or all nodes.
func (t *Tree) markLeaves(all bool) (leaves []*Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		if all || len(n.children) == 0 {
			n.killed.Store(true)
			leaves = append(leaves, n)
		}
	}
	return leaves
}
