package conform

import (
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var gateCases = []Case{
	{Name: "gate/one-packet-of-the-driver", Clauses: []string{"G1"}, run: gatePacket},
	{Name: "gate/who-says-hello", Clauses: []string{"G4", "G6", "C14", "G16"}, run: gateHello},
	{Name: "gate/namespaces-after-hello", Clauses: []string{"G7"}, run: gateNamespaces},
	{Name: "gate/impossible-orders", Clauses: []string{"G8", "G11", "Z6"}, run: gateOrders},
	{Name: "gate/turned-away", Clauses: []string{"Z6", "Z12"}, run: gateTurnedAway},
	{Name: "gate/no-privilege", Clauses: []string{"G9"}, run: gatePrivilege},
	{Name: "gate/root-directory", Clauses: []string{"G9"}, run: gateRoot},
	{Name: "gate/session-and-signals", Clauses: []string{"G9", "Z7"}, run: gateSession},
	{Name: "gate/streams", Clauses: []string{"G10"}, run: gateStreams},
	{Name: "gate/namespaces", Clauses: []string{"G6", "G9"}, run: gateOwnNamespaces},
}

// forkAtGate has the root fork at a false gate, and returns the visit after the driver's packet.
func (t *trial) forkAtGate() (visit, chan error) {
	gate, d, root, id := t.falseGate(), t.shared(), t.root(), t.newID()
	s := t.box(core.RoleInstance, of(root)) // before the time begins: its function may have to be built
	ctx, done := t.within(callTime), make(chan error, 1)
	go func() { done <- d.Fork(ctx, id, root.id, gate.door(id)) }()
	v := t.accept(gate)
	t.named(v, id)
	t.invite(v, s)
	return v, done
}

func (t *trial) hello(v visit) packet {
	p, err := v.read()
	t.must(err, "reading HELLO")
	if p.kind() != noteHello {
		t.fatalf("the child's first packet is %q, and not HELLO", p.text)
	}
	return p
}

func gatePacket(t *trial) {
	v, _ := t.forkAtGate()
	if p := t.hello(v); p.pid == t.shared().PID() {
		t.errorf("the driver itself says HELLO")
	}
}

func gateHello(t *trial) {
	v, _ := t.forkAtGate()
	p := t.hello(v)
	if n := status(p.pid, "Threads"); n != "1" {
		t.errorf("the sender of HELLO has %s threads", n)
	}
	if ids := strings.Fields(status(p.pid, "NSpid")); len(ids) < 2 || ids[len(ids)-1] != "2" {
		t.errorf("the sender of HELLO has the pids %v in its namespaces, and is not the second of its own", ids)
	}
	root := t.rootNode.pid
	if namespace(p.pid, "pid") == namespace(root, "pid") {
		t.errorf("the sender of HELLO is in its parent's pid namespace")
	}
	if parent, err := strconv.Atoi(status(p.pid, "PPid")); err != nil || namespace(parent, "pid") != namespace(root, "pid") {
		t.errorf("the sender of HELLO is a child of process %d, which is elsewhere than the zygote %d", parent, root)
	}
	if status(root, "CapEff") != strings.Repeat("0", 16) || namespace(p.pid, "user") == namespace(root, "user") {
		t.errorf("the zygote has capabilities, or the sender of HELLO is in its user namespace")
	}
}

func gateNamespaces(t *trial) {
	v, _ := t.forkAtGate()
	p, root := t.hello(v), t.rootNode.pid
	for _, kind := range []string{"mnt", "ipc", "uts"} {
		if !t.soon(func() bool { return namespace(p.pid, kind) != namespace(root, kind) }) {
			t.errorf("after HELLO the child stays in its parent's %s namespace", kind)
		}
	}
}

func gateOrders(t *trial) {
	v, done := t.forkAtGate()
	p := t.hello(v)
	if _, err := v.Write(make([]byte, 3)); err != nil {
		t.fatalf("writing at the gate: %v", err)
	}
	q, err := v.read()
	if err != nil || q.kind() != noteFailed || q.pid != p.pid {
		t.errorf("impossible orders are answered by %q of process %d (%v), and not by FAILED of %d", q.text, q.pid, err, p.pid)
	}
	if !t.soon(func() bool { state := status(p.pid, "State"); return state == "" || strings.HasPrefix(state, "Z") }) {
		t.errorf("the process that failed at the gate is still there")
	}
	t.failsSoon(done, "Fork of a child that failed at the gate")
	t.usable("a child that failed at the gate")
}

// failsSoon checks that a call ends with an error that is not the handler's.
func (t *trial) failsSoon(done chan error, doing string) {
	var err error
	if !t.soon(func() bool {
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	}) {
		t.fatalf("%s does not return", doing)
	}
	t.mustFail(doing, err, core.FaultDriver, core.KindUnavailable)
}

func gateTurnedAway(t *trial) {
	v, done := t.forkAtGate()
	t.hello(v)
	v.Close()
	t.failsSoon(done, "Fork of a child that is turned away at the gate")
	t.usable("a child that was turned away")
}

func gatePrivilege(t *trial) {
	n := t.parked()
	for field, want := range map[string]string{"CapEff": strings.Repeat("0", 16), "CapPrm": strings.Repeat("0", 16), "CapInh": strings.Repeat("0", 16),
		"CapBnd": strings.Repeat("0", 16), "NoNewPrivs": "1", "Seccomp": "2", "Groups": ""} {
		if got := status(n.pid, field); got != want {
			t.errorf("%s of an instance is %q, and not %q", field, got, want)
		}
	}
	if uid := strings.Fields(status(n.pid, "Uid")); len(uid) != 4 || uid[0] == "0" || uid[0] != uid[1] || uid[0] == strings.Fields(status(t.rootNode.pid, "Uid"))[0] {
		t.errorf("the ids of an instance are %v", uid)
	}
}

func gateRoot(t *trial) {
	n := t.instance()
	var got struct {
		Out string `json:"out"`
	}
	t.result(n, do{"do": "run", "command": "ls -a / && ls /function && touch /function/x /x 2>&1; true"}, &got)
	for _, want := range []string{"function", "packages", "tmp", "proc"} {
		if !strings.Contains(got.Out, want) {
			t.errorf("an instance does not see %s, only %q", want, got.Out)
		}
	}
	for _, host := range []string{"root", "home", "boot"} {
		if strings.Contains(got.Out, "\n"+host+"\n") {
			t.errorf("an instance sees /%s of the host", host)
		}
	}
	if strings.Count(got.Out, "Read-only file system") != 2 {
		t.errorf("an instance can write outside of /tmp: %q", got.Out)
	}
}

func gateSession(t *trial) {
	n := t.instance()
	if s := session(n.pid); s == session(t.rootNode.pid) || s == "" {
		t.errorf("an instance is in its parent's session %s", s)
	}
	if blocked := status(n.pid, "SigBlk"); strings.Trim(blocked, "0") != "" {
		t.errorf("an instance begins with blocked signals %s", blocked)
	}
	ignored, err := strconv.ParseUint(status(n.pid, "SigIgn"), 16, 64)
	t.must(err, "reading the ignored signals")
	const child = 1 << (17 - 1) // SIGCHLD
	if ignored&child != 0 {
		t.errorf("an instance ignores SIGCHLD, so its handler cannot wait for a program")
	}
}

func gateStreams(t *trial) {
	n := t.parked()
	open := descriptors(n.pid)
	if open[0] != "/dev/null" {
		t.errorf("descriptor 0 is %q, and not /dev/null", open[0])
	}
	if !strings.HasPrefix(open[1], "pipe:") || !strings.HasPrefix(open[2], "pipe:") || open[1] == open[2] {
		t.errorf("descriptors 1 and 2 are %q and %q, and not the two streams", open[1], open[2])
	}
	if !t.soon(func() bool { return len(sockets(n.pid)) == 1 }) {
		t.errorf("besides the streams it has the sockets %v open, and not its endpoint alone", sockets(n.pid))
	}
}

func gateOwnNamespaces(t *trial) {
	a, b := t.parked(), t.parked()
	for _, kind := range []string{"pid", "mnt", "ipc", "uts", "net"} {
		if x := namespace(a.pid, kind); x == namespace(b.pid, kind) || x == namespace(1, kind) {
			t.errorf("two siblings, or an instance and the host, share the %s namespace %s", kind, x)
		}
	}
}
