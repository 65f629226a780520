package tree

import (
	"fmt"
	"math"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	firstSample = time.Second // after a node is born its memory has settled
	nextSample  = 30 * time.Second
	nextRound   = time.Second // of the planner, after there is more memory again
	restFactor  = 20          // times as long as measuring took the sampler rests: 5 % of one core at the most
)

// necessary is worth more than anything that could be evicted for it.
var necessary = math.Inf(1)

// charge counts bytes for a node in place of what was counted before. The caller has the lock.
func (t *Tree) charge(n *Node, bytes int64) {
	if bytes < n.charged && t.short {
		t.short = false
		time.AfterFunc(nextRound, func() { wake(t.missed) })
	}
	t.bytes += bytes - n.charged
	n.charged = bytes
	t.strained.Store(t.bytes > t.config.Budget)
}

// relieve evicts what has become idle while memory is over the budget.
func (t *Tree) relieve() {
	t.mu.Lock()
	ends, _ := t.reclaim(necessary)
	t.mu.Unlock()
	killAll(ends)
}

// reclaim evicts leaves that are worth less than worth until memory is within the budget; none in vain, unless it is necessary. It returns the
// evicted ones, which the caller has to kill when it has given up the lock, and whether memory suffices now.
func (t *Tree) reclaim(worth float64) (ends []*Node, ok bool) {
	short := t.bytes - t.config.Budget
	if short <= 0 {
		return nil, true
	}
	now := time.Now()
	leaves := t.leaves()
	var chosen []*Node
	for short > 0 {
		least, value, found := victim(leaves, now)
		if !found || value >= worth {
			break
		}
		n := t.nodes[least.id]
		chosen = append(chosen, n)
		short -= n.charged
		leaves = removeLeaf(leaves, least.id)
	}
	if short > 0 && worth < necessary {
		return nil, false
	}
	for _, n := range chosen {
		if _, ok := n.apply(evict); ok {
			t.charge(n, 0)
			ends = append(ends, n)
			if d := t.demands[n.shape.key()]; d != nil && n.role == core.RoleZygote {
				d.why = t.fullOfBetter()
			}
		}
	}
	if len(ends) < len(chosen) && t.bytes > t.config.Budget { // somebody has taken one in between
		more, ok := t.reclaim(worth)
		return append(ends, more...), ok
	}
	return ends, t.bytes <= t.config.Budget
}

// fullOfBetter is why a zygote is not there that memory does not suffice for.
func (t *Tree) fullOfBetter() string {
	return fmt.Sprintf("the memory budget of %d MiB is full of what is worth more than its zygote", t.config.Budget>>20)
}

func removeLeaf(leaves []leaf, id core.NodeID) []leaf {
	for i := range leaves {
		if leaves[i].id == id {
			leaves[i] = leaves[len(leaves)-1]
			return leaves[:len(leaves)-1]
		}
	}
	return leaves
}

// leaves returns what could be evicted. The caller has the lock.
func (t *Tree) leaves() (leaves []leaf) {
	for _, n := range t.nodes {
		if len(n.children) > 0 || !n.is(parked) && !n.is(idle) && !n.is(ready) && !n.is(retired) {
			continue
		}
		n.mu.Lock()
		used := n.use
		n.mu.Unlock()
		bytes := n.usage.Private
		if bytes == 0 {
			bytes = n.charged
		}
		leaves = append(leaves, leaf{id: n.id, root: n.parent == nil, use: used, saves: n.saves, bytes: bytes})
	}
	return leaves
}

// EvictIdle ends the least valuable idle instance, and returns false when there is none.
func (t *Tree) EvictIdle() bool {
	t.mu.Lock()
	var instances []leaf
	for _, l := range t.leaves() {
		if t.nodes[l.id].is(idle) {
			instances = append(instances, l)
		}
	}
	least, _, found := victim(instances, time.Now())
	n := t.nodes[least.id]
	t.mu.Unlock()
	return found && n.Evict()
}

// estimate is the memory that a new instance is taken to need. The caller has the lock.
func (t *Tree) estimate(fn *core.Function) int64 {
	if bytes := t.private[version{fn.Name, fn.Version}]; bytes > 0 {
		return bytes
	}
	return assumedBytes
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
		case <-time.After(restFactor * took):
		}
	}
}

// measure measures a node, and evicts what has to go then. It returns how long measuring took.
func (t *Tree) measure(n *Node) time.Duration {
	began := time.Now()
	usage, err := n.sandbox.Usage()
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
		if n.pid == 0 || n.is(making) || n.is(dying) {
			continue
		}
		if next == nil || n.sampleAt.Before(next.sampleAt) {
			next = n
		}
	}
	if next == nil {
		return nil, nextSample
	}
	if wait = next.sampleAt.Sub(now); wait > 0 {
		return nil, wait
	}
	next.sampleAt = now.Add(nextSample)
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
		if d := t.demands[n.shape.key()]; d != nil { // later it shares some of it with its children
			d.bytes = max(d.bytes, usage.Proportional)
		}
	}
	if n.is(idle) || n.is(busy) {
		t.private[version{n.fn.Name, n.fn.Version}] = usage.Private
	}
	ends, _ := t.reclaim(necessary)
	return ends
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
