package drivertest

import (
	"encoding/json"
	"strings"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

var deathCases = []Case{
	{Name: "death/of-a-zygote", Clauses: []string{"G6", "C17"}, run: deathZygote},
	{Name: "death/of-the-root", Clauses: []string{"G6", "C17"}, run: deathRoot},
	{Name: "death/of-the-driver", Clauses: []string{"Z13", "C30"}, run: deathDriver},
	{Name: "death/of-the-driver-under-a-call", Clauses: []string{"Z13"}, run: deathUnderCall},
	{Name: "death/new-driver-knows-nobody", Clauses: []string{"C30"}, run: deathNew},
	{Name: "death/driver-leaves-in-order", Clauses: []string{"C27", "Z13"}, run: deathInOrder},
}

func deathZygote(t *trial) {
	d, z := t.shared(), t.zygote(modA)
	i := t.fork(d, z, core.RoleInstance)
	t.imports(i, t.handlerLoad())
	below := t.fork(d, z, core.RoleZygote)
	t.sendEvent(i, do{"do": "hang"})
	z.box.Kill()
	t.ends(i, "the death of its parent")
	t.ends(below, "the death of its parent")
	s := t.box(core.RoleInstance)
	t.gone("a fork of what died with its parent", d.Fork(t.within(callTime), s.Ref().ID, below.id, s.Ref()))
	t.usable("the death of a zygote")
}

func deathRoot(t *trial) {
	d := t.shared()
	root := t.preload(d)
	i := t.fork(d, t.fork(d, root, core.RoleZygote), core.RoleInstance)
	root.box.Kill()
	t.ends(i, "the death of its root")
	t.usable("the death of another root")
}

// orphans makes a root, a zygote, an instance and a parked child with a driver, and kills it.
func (t *trial) orphans(d *driver.Client) (root, zygote, instance, parked *node) {
	root = t.preload(d)
	zygote = t.fork(d, root, core.RoleZygote)
	instance, parked = t.fork(d, zygote, core.RoleInstance), t.fork(d, zygote, core.RoleInstance)
	t.imports(instance, t.handlerLoad())
	t.must(syscall.Kill(d.PID(), syscall.SIGKILL), "killing the driver")
	<-d.Done()
	return root, zygote, instance, parked
}

func deathDriver(t *trial) {
	d := t.own()
	root, zygote, instance, parked := t.orphans(d)
	t.alive(instance, "the death of the driver")
	t.imports(parked, t.handlerLoad())
	t.alive(parked, "the death of the driver before its import")
	t.lives(root, "the death of its driver")
	t.lives(zygote, "the death of its driver")
	s := t.box(core.RoleInstance)
	t.mustFail("a fork by a driver that is dead", d.Fork(t.within(callTime), s.Ref().ID, zygote.id, s.Ref()), core.FaultDriver, core.KindUnavailable)
	t.alive(instance, "all that")
}

func deathUnderCall(t *trial) {
	d := t.own()
	root := t.preload(d)
	z := t.fork(d, root, core.RoleZygote)
	ctx, done, load := t.within(callTime), make(chan error, 1), t.load(modB, modHangs)
	go func() {
		_, err := d.Import(ctx, z.id, load)
		done <- err
	}()
	time.Sleep(30 * time.Millisecond)
	t.must(syscall.Kill(d.PID(), syscall.SIGKILL), "killing the driver")
	t.failsSoon(done, "a call to a driver that was killed")
	t.lives(z, "the death of its driver under an import")
	t.lives(root, "the death of its driver")
}

func deathNew(t *trial) {
	_, zygote, _, _ := t.orphans(t.own())
	s := t.box(core.RoleInstance)
	t.gone("a fork by a new driver of an old one's zygote", t.own().Fork(t.within(callTime), s.Ref().ID, zygote.id, s.Ref()))
}

func deathInOrder(t *trial) {
	d := t.own()
	root := t.preload(d)
	i := t.fork(d, root, core.RoleInstance)
	t.imports(i, t.handlerLoad())
	d.Close()
	t.alive(i, "its driver left")
	t.lives(root, "its driver left")
}

var leakCases = []Case{
	{Name: "leak/driver-over-forks", Clauses: []string{"Z5", "G1"}, run: leakDriverForks},
	{Name: "leak/driver-over-preloads", Clauses: []string{"Z5", "G13"}, run: leakDriverPreloads},
	{Name: "leak/driver-over-failures", Clauses: []string{"C21", "Z5"}, run: leakDriverFailures},
	{Name: "leak/zygote-over-forks", Clauses: []string{"G10"}, run: leakZygote},
	{Name: "leak/instance-over-events", Clauses: []string{"E1"}, run: leakInstance},
	{Name: "leak/zombies", Clauses: []string{"Z7", "G12"}, run: leakZombies},
}

// returns checks that something countable comes back to what it was.
func (t *trial) returns(what string, count func() int, do func()) {
	do() // once for what is opened for good
	before := 0
	t.soon(func() bool { was := before; before = count(); time.Sleep(20 * time.Millisecond); return was == before })
	do()
	if !t.soon(func() bool { return count() <= before }) {
		t.errorf("%s: %d before, and %d after", what, before, count())
	}
}

// briefly forks and kills.
func (t *trial) briefly(parent *node, times int) {
	for range times {
		n, err := t.tryFork(t.shared(), parent, t.keptBox(core.RoleInstance))
		t.must(err, "Fork")
		end(n.box)
	}
}

func leakDriverForks(t *trial) {
	d, root := t.shared(), t.root()
	t.returns("descriptors of the driver over 10 forks", func() int { return len(descriptors(d.PID())) }, func() { t.briefly(root, 10) })
}

func leakDriverPreloads(t *trial) {
	d := t.shared()
	count := func() int { return len(descriptors(d.PID())) + len(children(d.PID())) }
	t.returns("descriptors and children of the driver over 3 preloads", count, func() {
		for range 3 {
			n, err := t.tryPreload(d, t.keptBox(core.RoleZygote))
			t.must(err, "Preload")
			end(n.box)
		}
	})
}

func leakDriverFailures(t *trial) {
	d := t.shared()
	t.returns("descriptors of the driver over 4 failed imports and 4 failed forks", func() int { return len(descriptors(d.PID())) }, func() {
		for range 4 {
			z, err := t.tryFork(d, t.root(), t.keptBox(core.RoleZygote))
			t.must(err, "Fork")
			_, err = t.importing(z, modRaises)
			t.raised("Import of what raises", err)
			id := t.newID()
			if err := d.Fork(t.within(callTime), id, z.id, core.Sandbox{ID: id, Gate: "/none/gate"}); err == nil {
				t.errorf("a fork at no gate did not fail")
			}
			end(z.box)
		}
	})
}

func leakZygote(t *trial) {
	z := t.zygote()
	pid := t.zygoteIn(z)
	t.returns("descriptors of a zygote over 10 forks", func() int { return len(descriptors(pid)) }, func() { t.briefly(z, 10) })
}

func leakInstance(t *trial) {
	n := t.instance()
	t.returns("descriptors of an instance over 50 events", func() int { return len(descriptors(n.pid)) }, func() {
		for range 50 {
			t.alive(n, "an event")
		}
	})
}

func leakZombies(t *trial) {
	z := t.zygote()
	pid := t.zygoteIn(z)
	t.briefly(z, 10)
	if !t.soon(func() bool { return len(children(pid)) == 0 && len(children(z.pid)) == 1 }) {
		t.errorf("10 forks have ended, and the zygote still has the children %v", children(pid))
	}
}

// lastCases look back at all that the drivers have written.
var lastCases = []Case{
	{Name: "last/stdout-has-handshakes-alone", Clauses: []string{"C4"}, run: lastStdout},
	{Name: "last/stderr-is-log", Clauses: []string{"C8"}, run: lastStderr},
}

func lastStdout(t *trial) {
	t.usable("all that")
	for line := range strings.Lines(t.stdout.String()) {
		if !strings.HasPrefix(line, "1|") || !strings.HasSuffix(line, "|grpc|\n") {
			t.errorf("on stdout is %.200q", line)
		}
	}
}

func lastStderr(t *trial) {
	t.shared()
	for line := range strings.Lines(t.stderr.String()) {
		var fields map[string]any
		if strings.TrimSpace(line) == "" {
			continue
		}
		err := json.Unmarshal([]byte(line), &fields)
		level, _ := fields["@level"].(string)
		_, text := fields["@message"].(string)
		stamp, _ := fields["@timestamp"].(string)
		_, stampErr := time.Parse("2006-01-02T15:04:05.000000Z07:00", stamp)
		if err != nil || !text || stampErr != nil || !strings.Contains(" trace debug info warn error ", " "+level+" ") {
			t.errorf("on stderr is %.200q, and not a line of hclog's JSON", line)
			return
		}
	}
}
