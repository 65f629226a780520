package tree

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// turns are shared by namespaces and functions, not by requests. A turn is the right to make a process and to
// import into it, which is work for a processor. Functions that wait get one turn after the other, however
// many requests each of them has. Slow work imports packages or long files, or starts a program; it never has
// more than half of the turns. No function has the last turn. While events of several namespaces come, each
// has no more turns than half of the processors can do, and as many for slow work. So whoever comes next
// finds a turn, and a processor, soon.
type turns struct {
	most   int // that one function may have
	beside int // that one namespace may have beside others
	near   *neighbours

	mu    sync.Mutex     // guards the following
	free  int            // that nobody has
	slow  int            // that slow work may still have
	had   map[string]int // by function
	queue []*flow        // the next one first

	spaces map[string]*share // namespaces that have had turns
	given  int               // turns so far
}

// share is a namespace's part of the turns.
type share struct {
	had  map[bool]int // turns that it has, of slow work and other
	last int          // the number of its last one
}

// flow is the requests of one function that wait for a turn, the longest waiting first. Those that are slow
// work are a separate flow.
type flow struct {
	owner
	slow    bool
	waiting []chan struct{} // each closed when its turn has come
}

// owner is whose work a turn is for.
type owner struct{ function, namespace string }

// neighbours are the namespaces whose events come.
type neighbours struct {
	mu sync.Mutex
	plan.Neighbours
}

// seen notes an event of a namespace, and returns whether events of several come.
func (n *neighbours) seen(namespace string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.Neighbours = n.Seen(namespace, now)
	return n.Several(now)
}

func (n *neighbours) several() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Several(time.Now())
}

// Note notes an event of a namespace, and returns whether events of several namespaces come. While they do,
// each has fewer turns.
func (t *Tree) Note(namespace string) (several bool) { return t.turns.near.seen(namespace) }

// newTurns shares n turns, at least two.
func newTurns(n int) *turns {
	most, beside, slow := plan.Shares(n)
	return &turns{free: n, most: most, beside: beside, slow: slow, near: &neighbours{}, had: map[string]int{}, spaces: map[string]*share{}}
}

// take waits for a turn. The caller calls done when the work is done.
func (t *turns) take(ctx context.Context, by owner, slow bool) (done func(), err error) {
	turn := make(chan struct{})
	t.mu.Lock()
	at := slices.IndexFunc(t.queue, func(f *flow) bool { return f.owner == by && f.slow == slow })
	if at < 0 {
		at = len(t.queue)
		t.queue = append(t.queue, &flow{owner: by, slow: slow})
	}
	f := t.queue[at]
	f.waiting = append(f.waiting, turn)
	t.share()
	t.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		if !t.leave(f, turn) {
			t.put(by, slow)
		}
		return nil, ctx.Err()
	}
	put := sync.OnceFunc(func() { t.put(by, slow) })
	late := time.AfterFunc(plan.TurnLife, put)
	return func() { late.Stop(); put() }, nil
}

// leave gives up waiting. It returns false when the turn has come already.
func (t *turns) leave(f *flow, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.Index(f.waiting, turn)
	if at < 0 {
		return false
	}
	f.waiting = slices.Delete(f.waiting, at, at+1)
	if len(f.waiting) == 0 {
		t.queue = slices.DeleteFunc(t.queue, func(q *flow) bool { return q == f })
	}
	return true
}

// put gives a turn back.
func (t *turns) put(by owner, slow bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if slow {
		t.slow++
	}
	if t.had[by.function]--; t.had[by.function] == 0 {
		delete(t.had, by.function)
	}
	t.space(by.namespace).had[slow]--
	t.share()
}

// space returns the part of a namespace. The caller holds mu.
func (t *turns) space(namespace string) *share {
	one := t.spaces[namespace]
	if one == nil {
		one = &share{had: map[bool]int{}}
		t.spaces[namespace] = one
	}
	return one
}

// next returns the flow that gets the next turn, -1 if none may have one: of those that may, the first one of
// the namespace whose last turn is longest ago. The caller holds mu.
func (t *turns) next() int {
	best, several := -1, t.near.several()
	for at, f := range t.queue {
		space := t.space(f.namespace)
		if t.had[f.function] >= t.most || f.slow && t.slow == 0 || several && space.had[f.slow] >= t.beside {
			continue
		}
		if best < 0 || space.last < t.space(t.queue[best].namespace).last {
			best = at
		}
	}
	return best
}

// share gives free turns to those that may have one. A function that got one queues behind the others of its
// namespace for its next. The caller holds mu.
func (t *turns) share() {
	for t.free > 0 {
		at := t.next()
		if at < 0 {
			return
		}
		f := t.queue[at]
		t.queue = slices.Delete(t.queue, at, at+1)
		turn := f.waiting[0]
		f.waiting = f.waiting[1:]
		if len(f.waiting) > 0 {
			t.queue = append(t.queue, f)
		}
		t.free--
		if f.slow {
			t.slow--
		}
		t.had[f.function]++
		t.given++
		space := t.space(f.namespace)
		space.had[f.slow]++
		space.last = t.given
		close(turn)
	}
}

// takeTurn waits until a node may make its process, or may import if it has one. The caller calls done after
// that. When the context ends first, nothing is left of the node.
func (t *Tree) takeTurn(ctx context.Context, n *Node, phases *core.Phases) (done func(), err error) {
	by, slow := owner{string(n.shape.Runtime), n.shape.Namespace}, true // of a zygote
	if by.namespace == "" {
		by.namespace = core.DefaultNamespace
	}
	if n.fn != nil {
		t.mu.Lock()
		by, slow = owner{n.fn.Name, core.Namespace(n.fn.Name)}, t.slow[version{n.fn.Name, n.fn.Version}] || len(plan.Missing(n.fn.Imports, n.parent.shape.Modules)) > 0
		t.mu.Unlock()
	}
	began := time.Now()
	done, err = t.turns.take(ctx, by, slow)
	phases.Queue += time.Since(began)
	if err != nil {
		t.abandon(n)
	}
	return done, err
}

// noteImport notes whether the function's own files take so long to import that its starts are slow work.
func (t *Tree) noteImport(fn *core.Function, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if plan.Slow(took) {
		t.slow[version{fn.Name, fn.Version}] = true
	} else {
		delete(t.slow, version{fn.Name, fn.Version})
	}
}
