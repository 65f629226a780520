package conform

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// node is a process that the driver made.
type node struct {
	id   core.NodeID
	box  *sandbox.Sandbox
	pid  int   // that came through the gate
	wire *wire // to an instance
}

// callTime bounds one call to a driver that has to succeed.
const callTime = 20 * time.Second

// preload has the driver start a root zygote.
func (t *trial) preload(d *driver.Client) *node {
	s := t.box(core.RoleZygote)
	n, err := t.tryPreload(d, s)
	t.mustMake(err, "Preload", s)
	return n
}

func (t *trial) tryPreload(d *driver.Client, s *sandbox.Sandbox) (*node, error) {
	if err := d.Preload(t.within(callTime), s.Door().ID, t.runtime().ID, s.Door()); err != nil {
		return nil, err
	}
	return t.inside(s, "Preload"), nil
}

// of is the change of a sandbox for a fork of a zygote.
func of(parent *node) func(*core.SandboxConfig) {
	return func(c *core.SandboxConfig) { c.Parent = parent.id }
}

// fork has a parent forked, as core does: the parent itself is asked for an instance if the driver has the
// capability fork.
func (t *trial) fork(d *driver.Client, parent *node, role core.Role) *node {
	s := t.box(role, of(parent))
	if role == core.RoleInstance && d.Description().Can(core.CapabilityFork) {
		t.mustMake(s.Fork(t.within(callTime)), "the fork", s)
		return t.inside(s, "the fork")
	}
	n, err := t.tryFork(d, parent, s)
	t.mustMake(err, "Fork", s)
	return n
}

func (t *trial) tryFork(d *driver.Client, parent *node, s *sandbox.Sandbox) (*node, error) {
	if err := d.Fork(t.within(callTime), s.Door().ID, parent.id, s.Door()); err != nil {
		return nil, err
	}
	return t.inside(s, "Fork"), nil
}

// mustMake ends the case when the process of a sandbox could not be made, with what it said meanwhile.
func (t *trial) mustMake(err error, call string, s *sandbox.Sandbox) {
	if err != nil {
		t.soon(func() bool { return t.printed(s.Door().ID, "stderr") != "" }) // it comes on its own way
		t.fatalf("%s: %v%s", call, err, t.lastWords(s.Door().ID))
	}
}

// inside returns the process in a sandbox.
func (t *trial) inside(s *sandbox.Sandbox, call string) *node {
	pid, _, err := s.Entered()
	t.must(err, "%s returned, but nobody is in the sandbox", call)
	n := &node{id: s.Door().ID, box: s, pid: pid}
	if conn := s.Endpoint(); conn != nil {
		n.wire = &wire{conn: conn, tokens: t.version() >= tokensSince}
	}
	return n
}

// root returns the root zygote that most cases share. It outlives the case, but not the driver.
func (t *trial) root() *node {
	d := t.shared()
	if t.rootNode != nil {
		select {
		case <-t.rootNode.box.Done():
		default:
			if t.rootOf == d {
				return t.rootNode
			}
			end(t.rootNode.box)
		}
	}
	s := t.keptBox(core.RoleZygote)
	n, err := t.tryPreload(d, s)
	t.mustMake(err, "Preload", s)
	t.rootNode, t.rootOf = n, d
	return n
}

// zygote returns a zygote that has imported modules of the kit.
func (t *trial) zygote(modules ...string) *node {
	d := t.shared()
	z := t.fork(d, t.root(), core.RoleZygote)
	if len(modules) > 0 {
		_, err := d.Import(t.within(callTime), z.id, t.load(modules...))
		t.must(err, "Import of %s", strings.Join(modules, ", "))
	}
	return z
}

// parked returns a child that waits for its handler.
func (t *trial) parked() *node { return t.fork(t.shared(), t.root(), core.RoleInstance) }

// instance returns an instance of the function conform, forked from the root.
func (t *trial) instance() *node {
	n := t.parked()
	t.imports(n, t.handlerLoad())
	return n
}

// handlerLoad is how the function conform is imported.
func (t *trial) handlerLoad() core.HandlerLoad {
	return core.HandlerLoad{Function: conform, Version: 7, Handler: t.function(conform).handler, Memory: core.DefaultLimits().Memory,
		Env: map[string]string{"KIT": "yes"}, Packages: t.packageDirs()}
}

// report is an instance's report of an import.
type report struct {
	Took    float64            `json:"took"`
	Modules map[string]float64 `json:"modules"`
	Threads int                `json:"threads"`
}

// imports has an instance import a handler, which must succeed.
func (t *trial) imports(n *node, load core.HandlerLoad) report {
	body, err := json.Marshal(load)
	t.must(err, "encoding a load")
	n.wire.send('H', body)
	a := t.answer(n)
	if a.kind != 'P' {
		t.fatalf("importing %s was answered by %s, and not by P", load.Handler, a)
	}
	var r report
	if err := json.Unmarshal(a.body, &r); err != nil || r.Threads < 1 || r.Took < 0 {
		t.fatalf("the report %s cannot be read, or has no threads (%v)", a, err)
	}
	return r
}

// ask sends an event and returns the answer.
func (t *trial) ask(n *node, event any) answer {
	t.sendEvent(n, event)
	return t.answer(n)
}

func (t *trial) sendEvent(n *node, event any) {
	text, err := json.Marshal(event)
	t.must(err, "encoding an event")
	n.wire.send('E', n.wire.eventBody(text, time.Now().Add(caseTime)))
}

// result sends an event and decodes the result into value, which may be nil.
func (t *trial) result(n *node, event, value any) {
	a := t.ask(n, event)
	if a.kind != 'R' {
		t.fatalf("the event %.200v was answered by %s, and not by R", event, a)
	}
	if value == nil {
		return
	}
	if err := json.Unmarshal(a.body, value); err != nil {
		t.fatalf("the event %.200v gave %s: %v", event, a, err)
	}
}

// do is an event for the function conform.
type do map[string]any

// answer reads the next frame, which must come.
func (t *trial) answer(n *node) answer {
	a, err := n.wire.receive(4 * patience)
	if err != nil {
		t.fatalf("there was no answer: %v%s", err, t.lastWords(n.id))
	}
	return a
}

// lastWords is what a process said on stderr, for a message.
func (t *trial) lastWords(id core.NodeID) string {
	said := strings.TrimSpace(t.printed(id, "stderr"))
	if said == "" {
		return ""
	}
	return "; its stderr: " + said[max(0, len(said)-500):]
}

// alive checks that an instance answers.
func (t *trial) alive(n *node, after string) {
	var got string
	t.result(n, do{"do": "echo", "value": after}, &got)
	if got != after {
		t.errorf("after %s an echo gave %q", after, got)
	}
}

// usable checks that the driver and the shared root still serve.
func (t *trial) usable(after string) {
	s := t.box(core.RoleInstance, of(t.root()))
	n, err := t.tryFork(t.shared(), t.root(), s)
	if err != nil {
		t.fatalf("after %s a fork of the root fails: %v", after, err)
	}
	t.imports(n, t.handlerLoad())
	t.alive(n, after)
}

// canceled returns a context that is canceled after a while.
func (t *trial) canceled(after time.Duration) context.Context {
	ctx, cancel := context.WithCancel(t.ctx)
	time.AfterFunc(after, cancel)
	return ctx
}

// ends checks that a process ends soon.
func (t *trial) ends(n *node, after string) core.Exit {
	select {
	case <-n.box.Done():
		return n.box.Exit()
	case <-time.After(patience):
		t.errorf("after %s the process has not ended within %v", after, patience)
		return core.Exit{}
	}
}

// lives checks that a process does not end by itself.
func (t *trial) lives(n *node, after string) {
	select {
	case <-n.box.Done():
		t.errorf("after %s the process of %s ended%s", after, n.id, t.lastWords(n.id))
	case <-time.After(200 * time.Millisecond):
	}
}
