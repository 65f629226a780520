package conform

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

var preloadCases = []Case{
	{Name: "preload/enters", Clauses: []string{"C13", "C14"}, run: func(t *trial) { t.lives(t.preload(t.shared()), "Preload") }},
	{Name: "preload/at-once", Clauses: []string{"C9", "C13"}, run: preloadAtOnce},
	{Name: "preload/zygotes-change-pids", Clauses: []string{"G12"}, run: preloadPids},
	{Name: "preload/zygote-streams", Clauses: []string{"G10", "C31"}, run: preloadStreams},
	{Name: "preload/environment", Clauses: []string{"C46"}, Since: 3, run: preloadEnvironment},
	{Name: "preload/unknown-runtime", Clauses: []string{"C24"}, run: preloadUnknown},
	{Name: "preload/id-that-lives", Clauses: []string{"C17"}, run: preloadTwice},
	{Name: "preload/no-gate", Clauses: []string{"C24"}, run: preloadNoGate},
	{Name: "preload/launched-through-the-gate", Clauses: []string{"G1", "G5"}, run: preloadGate},
	{Name: "preload/turned-away", Clauses: []string{"Z12", "C24"}, run: preloadTurnedAway},
	{Name: "preload/deadline", Clauses: []string{"C10"}, run: preloadDeadline},
	{Name: "preload/canceled", Clauses: []string{"C10"}, run: preloadCanceled},
	{Name: "preload/keeper-leaves-with-it", Clauses: []string{"G13"}, run: preloadKeeper},
}

func preloadEnvironment(t *trial) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", t.root().pid))
	t.must(err, "reading the environment of a zygote")
	has := strings.Split(string(text), "\x00")
	for name, value := range core.Everywhere() {
		if !slices.Contains(has, name+"="+value) {
			t.errorf("a zygote's environment has not %s=%s", name, value)
		}
	}
}

func preloadAtOnce(t *trial) {
	d := t.shared()
	boxes := t.boxes(4, core.RoleZygote)
	runtime, ctx := t.runtime().ID, t.within(callTime)
	var wg sync.WaitGroup
	for _, s := range boxes {
		wg.Go(func() {
			if err := d.Preload(ctx, s.Door().ID, runtime, s.Door()); err != nil {
				t.errorf("one of %d calls of Preload at once: %v", len(boxes), err)
			} else if _, _, err := s.Entered(); err != nil {
				t.errorf("one of %d calls of Preload at once: %v", len(boxes), err)
			}
		})
	}
	wg.Wait()
}

func preloadPids(t *trial) {
	d := t.shared()
	root := t.preload(d)
	before := []string{"1", "2"} // init, and the instances
	for zygote := root; len(before) < 5; zygote = t.fork(d, zygote, core.RoleZygote) {
		ids := strings.Fields(status(zygote.pid, "NSpid"))
		if own := ids[len(ids)-1]; slices.Contains(before[:2], own) || own == before[len(before)-1] {
			t.errorf("a zygote has the pid %s, forked from one that has %v: libraries do not notice a fork by the changed pid", own, before[2:])
		} else {
			before = append(before, own)
		}
	}
}

func preloadStreams(t *trial) {
	d := t.shared()
	root := t.preload(d)
	driverHas := descriptors(d.PID())
	for _, pid := range []int{root.pid, t.fork(d, root, core.RoleZygote).pid} {
		for n, target := range descriptors(pid) {
			if target == driverHas[1] || target == driverHas[2] {
				t.errorf("descriptor %d of the zygote is the driver's stdout or stderr (%s)", n, target)
			}
		}
	}
	open := descriptors(root.pid)
	if open[0] != "/dev/null" {
		t.errorf("descriptor 0 of the zygote is %s", open[0])
	}
	if open[1] == open[2] || open[1] == "" || open[2] == "" {
		t.errorf("descriptors 1 and 2 of the zygote are %q and %q", open[1], open[2])
	}
}

func preloadUnknown(t *trial) {
	s := t.box(core.RoleZygote)
	err := t.shared().Preload(t.within(callTime), s.Door().ID, "none-at-all", s.Door())
	t.mustFail("Preload of a runtime that is not there", err, core.FaultCaller, core.KindUnsupported, core.KindNotFound, core.KindInvalid)
	t.usable("Preload of an unknown runtime")
}

func preloadTwice(t *trial) {
	d := t.shared()
	root := t.preload(d)
	gate := t.falseGate()
	err := d.Preload(t.within(callTime), root.id, t.runtime().ID, gate.door(root.id))
	t.mustFail("Preload of an ID that a living process has", err, core.FaultWorker, core.KindConflict)
	t.fork(d, root, core.RoleInstance)
}

func preloadNoGate(t *trial) {
	id := t.newID()
	err := t.shared().Preload(t.within(callTime), id, t.runtime().ID, core.Door{ID: id, Gate: "/none/gate"})
	t.mustFail("Preload at a gate that is not there", err, core.FaultWorker, core.KindUnavailable, core.KindInvalid, core.KindInternal)
	t.usable("Preload at a gate that is not there")
}

// atGate starts Preload at a false gate and reads the driver's packet.
func (t *trial) atGate(id core.NodeID) (visit, chan error) {
	gate, d, runtime := t.falseGate(), t.shared(), t.runtime().ID
	ctx, done := t.within(callTime), make(chan error, 1)
	go func() { done <- d.Preload(ctx, id, runtime, gate.door(id)) }()
	v := t.accept(gate)
	t.named(v, id)
	return v, done
}

// named reads the packet with which a driver says whose gate it is at.
func (t *trial) named(v visit, id core.NodeID) {
	p, err := v.read()
	t.must(err, "reading at the gate")
	if string(p.text) != string(id) {
		t.fatalf("the first packet at the gate is %q, and not the node's ID %q", p.text, id)
	}
}

func preloadGate(t *trial) {
	v, _ := t.atGate(t.newID())
	var p packet
	for _, which := range []string{"first", "second"} {
		var err error
		p, err = v.read()
		t.must(err, "reading at the gate")
		if p.kind() != noteUser {
			t.fatalf("the %s packet of the launched program is %q, and not USER", which, p.text)
		}
		if which == "first" { // nobody has this id
			_, err = v.Write(append(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, noteGo), 2), append([]byte("1879048199"), make([]byte, 46)...)...))
			t.must(err, "writing at the gate")
		}
	}
	if uid := strings.Fields(status(p.pid, "Uid")); !slices.Equal(uid, []string{"1879048199", "1879048199", "1879048199", "1879048199"}) {
		t.errorf("the sender of USER is the user %v, and not the one that GO has named", uid)
	}
	if mine, its := namespace(1, "user"), namespace(p.pid, "user"); its == "" || mine == its {
		t.errorf("the sender of USER, process %d, is in the user namespace %q, and not in a new one", p.pid, its)
	}
	if p.pid == t.shared().PID() {
		t.errorf("the driver itself came to the gate")
	}
}

func preloadTurnedAway(t *trial) {
	v, done := t.atGate(t.newID())
	v.Close()
	select {
	case err := <-done:
		e := t.failure("Preload of a process that is turned away at the gate", err, core.FaultDriver, core.KindUnavailable)
		if !e.Retryable {
			t.errorf("it is not retryable")
		}
	case <-time.After(patience):
		t.errorf("Preload does not return when the process is turned away at the gate")
	}
	t.usable("a process that was turned away")
}

// preloadDeadline: nobody lets the process in. The ID is free again soon after the deadline, which it is not
// as long as the driver awaits it.
func preloadDeadline(t *trial) {
	gate, d, id := t.falseGate(), t.shared(), t.newID()
	err := d.Preload(t.within(300*time.Millisecond), id, t.runtime().ID, gate.door(id))
	t.mustFail("Preload behind a gate that does not open", err, core.FaultDriver, core.KindTimeout)
	t.free(id, "its deadline")
}

func preloadCanceled(t *trial) {
	gate, d, id := t.falseGate(), t.shared(), t.newID()
	err := d.Preload(t.canceled(200*time.Millisecond), id, t.runtime().ID, gate.door(id))
	t.mustFail("Preload that was canceled", err, core.FaultCaller, core.KindCanceled)
	t.free(id, "its cancellation")
}

// free checks that a node's ID can be used again. Each attempt has a sandbox of its own, for a gate admits a
// node once.
func (t *trial) free(id core.NodeID, after string) {
	var err error
	if !t.soon(func() bool {
		s := t.box(core.RoleZygote, func(c *core.SandboxConfig) { c.ID = id })
		if err = t.shared().Preload(t.within(callTime), id, t.runtime().ID, s.Door()); isOneOf(err, core.KindConflict) {
			end(s)
			return false
		}
		return true
	}) {
		t.fatalf("%v after %s the driver has not given the call up: %v", patience, after, err)
	}
	t.must(err, "Preload of the same ID after %s", after)
}

func preloadKeeper(t *trial) {
	d := t.shared()
	s := t.box(core.RoleZygote)
	root, err := t.tryPreload(d, s)
	t.must(err, "Preload")
	before := descendants(d.PID())
	end(root.box)
	if !t.soon(func() bool { return descendants(d.PID()) < before }) {
		t.errorf("after the end of a root zygote the driver still has the %d processes below it that it had before", before)
	}
}

// boxes makes some sandboxes.
func (t *trial) boxes(n int, role core.Role, changes ...func(*core.SandboxConfig)) (all []*sandbox.Sandbox) {
	for range n {
		all = append(all, t.box(role, changes...))
	}
	return all
}
