package tree

import (
	"fmt"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// charge counts bytes for a node in place of what was counted before. The caller has the lock.
func (t *Tree) charge(n *Node, bytes int64) {
	if bytes < n.charged && t.short {
		t.short = false
		time.AfterFunc(plan.NextRound, func() { wake(t.missed) })
	}
	t.bytes += bytes - n.charged
	n.charged = bytes
	t.strained.Store(t.bytes > t.config.Budget)
}

// relieve evicts what has become idle while memory is over the budget.
func (t *Tree) relieve() {
	t.mu.Lock()
	ends, _ := t.reclaim(plan.Necessary())
	t.mu.Unlock()
	killAll(ends)
}

// reclaim evicts leaves until memory is within the budget, for something of that value, as the policy chooses them. It returns the
// evicted ones, which the caller has to kill when it has given up the lock, and whether memory suffices now.
func (t *Tree) reclaim(value float64) (ends []*Node, ok bool) {
	short := t.bytes - t.config.Budget
	if short <= 0 {
		return nil, true
	}
	victims, enough := plan.Reclaim(t.leaves(), short, value, time.Now())
	for _, v := range victims {
		n := t.nodes[v.ID]
		if _, ok := n.apply(evict); ok {
			t.charge(n, 0)
			ends = append(ends, n)
			if d := t.demands[n.shape.Key()]; d != nil && n.role == core.RoleZygote {
				d.Why = t.fullOfBetter()
			}
		}
	}
	if len(ends) < len(victims) && t.bytes > t.config.Budget { // somebody has taken one in between
		more, ok := t.reclaim(value)
		return append(ends, more...), ok
	}
	return ends, enough || t.bytes <= t.config.Budget
}

// fullOfBetter is why a zygote is not there that memory does not suffice for.
func (t *Tree) fullOfBetter() string {
	return fmt.Sprintf("the memory budget of %d MiB is full of what is worth more than its zygote", t.config.Budget>>20)
}

// leaves returns what could be evicted. The caller has the lock.
func (t *Tree) leaves() (leaves []plan.Leaf) {
	for _, n := range t.nodes {
		if len(n.children) > 0 || !n.in().evictable() {
			continue
		}
		n.mu.Lock()
		used := n.use
		n.mu.Unlock()
		bytes := n.usage.Private
		if bytes == 0 {
			bytes = n.charged
		}
		leaves = append(leaves, plan.Leaf{ID: n.id, Root: n.parent == nil, Use: used, Saves: n.saves, Bytes: bytes, Charged: n.charged})
	}
	return leaves
}

// EvictIdle ends the least valuable idle instance, and returns false when there is none.
func (t *Tree) EvictIdle() bool {
	t.mu.Lock()
	var instances []plan.Leaf
	for _, l := range t.leaves() {
		if t.nodes[l.ID].is(idle) {
			instances = append(instances, l)
		}
	}
	least, _, found := plan.Victim(instances, time.Now())
	n := t.nodes[least.ID]
	t.mu.Unlock()
	return found && n.Evict()
}

// sample measures the nodes one after the other, gently.
func (t *Tree) sample() {
	for t.ctx.Err() == nil {
		n, wait := t.due(time.Now())
		if n == nil {
			timer := time.NewTimer(wait)
			select {
			case <-t.ctx.Done():
			case <-t.born:
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

// measure measures a node, and evicts what has to go then. It returns how long measuring took.
func (t *Tree) measure(n *Node) time.Duration {
	began := time.Now()
	usage, err := n.place().Usage()
	took := time.Since(began)
	if err == nil { // an error is a process that ends just now
		killAll(t.measured(n, usage))
	}
	return took
}

// due returns the node to measure now, or nil and how long there is none.
func (t *Tree) due(now time.Time) (next *Node, wait time.Duration) {
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

// measured keeps a measurement, and returns what has to be killed because memory is short.
func (t *Tree) measured(n *Node, usage core.Usage) []*Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.is(dying) || n.is(dead) {
		return nil
	}
	n.usage = usage
	t.charge(n, usage.Proportional)
	if n.role == core.RoleZygote {
		if d := t.demands[n.shape.Key()]; d != nil { // later it shares some of it with its children
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
