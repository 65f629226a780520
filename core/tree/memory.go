package tree

import (
	"fmt"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// charge counts bytes for a node, in place of the bytes counted before. The caller holds mu.
func (t *Tree) charge(n *Node, bytes int64) {
	if bytes < n.charged && t.unfinished {
		t.unfinished = false
		time.AfterFunc(plan.NextRound, func() { wake(t.replan) })
	}
	t.bytes += bytes - n.charged
	n.charged = bytes
	t.strained.Store(t.bytes > t.config.Budget)
}

// relieve evicts nodes that became idle while memory was over the budget.
func (t *Tree) relieve() {
	t.mu.Lock()
	ends, _ := t.reclaim(plan.Necessary())
	t.mu.Unlock()
	killAll(ends)
}

// reclaim evicts leaves for something of that value until memory is within the budget. The policy chooses
// them. It returns the evicted nodes, and whether memory suffices now. The caller holds mu, and kills the
// nodes after it has released it.
func (t *Tree) reclaim(value float64) (ends []*Node, ok bool) {
	short := t.bytes - t.config.Budget
	if short <= 0 {
		return nil, true
	}
	victims := plan.Reclaim(t.leaves(), short, value, time.Now())
	for _, v := range victims {
		n := t.nodes[v.ID]
		if _, ok := n.apply(evict); ok {
			t.charge(n, 0)
			ends = append(ends, n)
			if d := t.demands[n.shape.Key()]; d != nil && n.role == core.RoleZygote {
				d.Why = t.noMemory()
			}
		}
	}
	if len(ends) < len(victims) && t.bytes > t.config.Budget { // a start has leased one meanwhile
		more, ok := t.reclaim(value)
		return append(ends, more...), ok
	}
	return ends, t.bytes <= t.config.Budget
}

// afford evicts leaves for a new node of that value, as reclaim does. A node that memory does not suffice for
// is no longer charged, so that nobody else evicts for it. The caller holds mu, and kills the evicted nodes
// after it has released it.
func (t *Tree) afford(n *Node, value float64) (ends []*Node, ok bool) {
	ends, ok = t.reclaim(value)
	if !ok {
		t.charge(n, 0)
	}
	return ends, ok
}

// makeRoom lets a zygote use as much memory as it takes to have the children that it has now. It never lets
// it use less.
func (t *Tree) makeRoom(zygote *Node) {
	t.mu.Lock()
	bytes := plan.WithChildren(zygote.limit, len(zygote.children))
	t.mu.Unlock()
	zygote.place().Allow(bytes)
}

// outgrown keeps the modules of a zygote that has used more memory than it may out of zygotes from now on.
func (t *Tree) outgrown(n *Node) {
	reason := fmt.Sprintf("a zygote with %s used more than the %d MiB of memory that it may use", strings.Join(n.shape.Modules, ", "), n.limit>>20)
	t.config.Log.Warn("evict", "rt", n.shape.Runtime, "node", n.id, "modules", n.shape.Modules, "err", reason)
	if len(n.shape.Modules) > 0 { // without a root zygote there would be none at all
		t.update(func() { t.blocks.Forbid(n.shape, reason) })
	}
}

// noMemory is the reason for a zygote that is not there because of its value.
func (t *Tree) noMemory() string {
	return fmt.Sprintf("the memory budget of %d MiB is full of what is worth more than its zygote", t.config.Budget>>20)
}

// leaves returns the nodes that may be evicted. The caller holds mu.
func (t *Tree) leaves() (leaves []plan.Leaf) {
	for _, n := range t.nodes {
		if len(n.children) > 0 || !n.in().evictable() {
			continue
		}
		leaves = append(leaves, n.leaf())
	}
	return leaves
}

// leaf is the node as the policy sees it. The caller holds the tree's mutex.
func (n *Node) leaf() plan.Leaf {
	n.mu.Lock()
	used := n.use
	n.mu.Unlock()
	bytes := n.usage.Private
	if bytes == 0 {
		bytes = n.charged
	}
	return plan.Leaf{ID: n.id, Root: n.parent == nil, Spare: n.spare, Use: used, Saves: n.saves, Bytes: bytes, Charged: n.charged}
}

// EvictIdle ends the least valuable idle instance of the namespaces that may lose one, and returns false when
// there is none.
func (t *Tree) EvictIdle(may func(namespace string) bool) bool {
	t.mu.Lock()
	var instances []plan.Leaf
	for _, l := range t.leaves() {
		if n := t.nodes[l.ID]; n.is(idle) && may(core.Namespace(n.fn.Name)) {
			instances = append(instances, l)
		}
	}
	least, _, found := plan.Victim(instances, time.Now())
	n := t.nodes[least.ID]
	t.mu.Unlock()
	return found && n.Evict()
}

// sample measures the nodes one after the other, and rests in between.
func (t *Tree) sample() {
	for t.ctx.Err() == nil {
		n, wait := t.nextSample(time.Now())
		if n == nil {
			timer := time.NewTimer(wait)
			select {
			case <-t.ctx.Done():
			case <-t.resample:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		took := t.measure(n)
		select {
		case <-t.ctx.Done():
		case <-time.After(plan.Rest(took)):
		}
	}
}

// measure measures a node, and evicts leaves if memory is short then. It returns how long measuring took.
func (t *Tree) measure(n *Node) time.Duration {
	began := time.Now()
	usage, err := n.place().Usage()
	took := time.Since(began)
	if err == nil { // an error means that the process is just ending
		killAll(t.keepUsage(n, usage))
	}
	return took
}

// nextSample returns the node to measure now, or nil and how long to wait for one.
func (t *Tree) nextSample(now time.Time) (next *Node, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		if n.pid == 0 || !n.in().measurable() {
			continue
		}
		if next == nil || n.sampleAt.Before(next.sampleAt) {
			next = n
		}
	}
	if next == nil {
		return nil, plan.NextSample
	}
	if wait = next.sampleAt.Sub(now); wait > 0 {
		return nil, wait
	}
	next.sampleAt = now.Add(plan.NextSample)
	return next, 0
}

// keepUsage keeps a measurement. It returns the nodes that the caller has to kill because memory is short.
func (t *Tree) keepUsage(n *Node, usage core.Usage) []*Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.is(dying) || n.is(dead) {
		return nil
	}
	n.usage = usage
	t.charge(n, usage.Proportional)
	if n.role == core.RoleZygote {
		if d := t.demands[n.shape.Key()]; d != nil { // later it shares some of its memory with its children
			d.Bytes = max(d.Bytes, usage.Proportional)
		}
	}
	if n.is(idle) || n.is(busy) {
		t.private[version{n.fn.Name, n.fn.Version}] = usage.Private
	}
	ends, _ := t.reclaim(plan.Necessary())
	return ends
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
