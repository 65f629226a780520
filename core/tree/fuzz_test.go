package tree

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// FuzzTree replays bytes as operations against the tree, and against a naive model of it, which is two lists.
// The world checks at every fork and every end that a set is contained in its child's, and that a parent
// outlives its children. Nor may a move of a node be illegal.
func FuzzTree(f *testing.F) {
	f.Add([]byte{0, 0, 0, 8, 0, 1, 2, 9, 3, 4, 5})
	f.Add([]byte{0, 1, 2, 3, 0, 1, 2, 3, 7, 7, 10, 10, 20, 21, 22, 0, 1, 2, 3})
	f.Add([]byte("the quick brown fox jumps over the lazy dog, and again: the quick brown fox"))
	functions := []*core.Function{fn("none"), fn("a", "a"), fn("ab", "a", "b"), fn("abc", "a", "b", "c"), fn("abd", "a", "b", "d")}
	f.Fuzz(func(t *testing.T, ops []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			tr := w.tree(100 << 20)
			defer w.close(tr)
			m := model{t: t, w: w, tr: tr}
			for _, op := range ops[:min(len(ops), 60)] {
				arg := int(op / 8)
				m.do(op%8, arg, functions[arg%len(functions)])
				m.check()
			}
		})
	})
}

// model is the tree as its user sees it.
type model struct {
	t          *testing.T
	w          *world
	tr         *Tree
	held, free []*Node
}

func take(nodes *[]*Node, arg int) *Node {
	if len(*nodes) == 0 {
		return nil
	}
	at := arg % len(*nodes)
	n := (*nodes)[at]
	*nodes = append((*nodes)[:at], (*nodes)[at+1:]...)
	return n
}

func (m *model) do(op byte, arg int, fn *core.Function) {
	switch op {
	case 0, 1:
		n, _, _, err := m.tr.Start(m.t.Context(), fn, "")
		if err == nil {
			m.held = append(m.held, n)
		} else if !core.IsKind(err, core.KindExhausted) {
			m.t.Errorf("start: %v", err)
		}
	case 2:
		if n := take(&m.held, arg); n != nil {
			if n.Release(time.Now()) {
				m.free = append(m.free, n)
			} else {
				n.Kill()
			}
		}
	case 3:
		if n := take(&m.free, arg); n != nil && n.Lease() {
			m.held = append(m.held, n)
		}
	case 4:
		if n := take(&m.held, arg); n != nil {
			n.Kill()
		}
	case 5:
		m.tr.Evict(fn.Name)
	case 6:
		time.Sleep(time.Duration(arg) * 100 * time.Millisecond)
	case 7:
		m.disaster(arg)
	}
	synctest.Wait()
}

// disaster loses a driver, or a zygote with all its descendants.
func (m *model) disaster(arg int) {
	if arg%2 == 0 {
		m.w.mu.Lock()
		m.w.generation++
		lost := m.w.generation - 1
		m.w.mu.Unlock()
		m.tr.DriverLost(lost)
		return
	}
	infos := m.tr.Snapshot()
	if len(infos) == 0 || infos[arg%len(infos)].Role != core.RoleZygote {
		return
	}
	id := infos[arg%len(infos)].ID
	gone := map[core.NodeID]bool{id: true}
	for _, info := range infos { // parents come first
		gone[info.ID] = gone[info.ID] || gone[info.Parent]
	}
	m.w.crash(id, core.Exit{Signal: 9, Known: true})
	m.held = keep(m.held, gone)
}

func keep(nodes []*Node, gone map[core.NodeID]bool) (kept []*Node) {
	for _, n := range nodes {
		if !gone[n.id] {
			kept = append(kept, n)
		}
	}
	return kept
}

func (m *model) check() {
	for _, n := range m.held {
		if !n.is(busy) && !n.is(leaving) {
			m.t.Errorf("%s is held and %v", n.id, state(n.state.Load()))
		}
	}
	seen := map[core.NodeID]bool{}
	var sum int64
	for _, info := range m.tr.Snapshot() {
		if info.Parent != "" && !seen[info.Parent] {
			m.t.Errorf("%s has no parent %s", info.ID, info.Parent)
		}
		seen[info.ID] = true
	}
	m.tr.mu.Lock()
	defer m.tr.mu.Unlock()
	for _, n := range m.tr.nodes {
		sum += n.charged
	}
	if sum != m.tr.bytes {
		m.t.Errorf("%d bytes are charged, %d counted", sum, m.tr.bytes)
	}
}
