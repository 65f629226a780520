package conform

import (
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var forkCases = []Case{
	{Name: "fork/parks", Clauses: []string{"C15", "Z11"}, run: forkParks},
	{Name: "fork/many", Clauses: []string{"C15", "G12"}, run: forkMany},
	{Name: "fork/at-once", Clauses: []string{"C9", "C16"}, run: forkAtOnce},
	{Name: "fork/of-forks", Clauses: []string{"C15", "G12"}, run: forkOfForks},
	{Name: "fork/starts-a-process", Clauses: []string{"C15", "Z7"}, run: forkStarts},
	{Name: "fork/catches-a-signal", Clauses: []string{"C15", "G9"}, run: forkSignal},
	{Name: "fork/of-an-instance", Clauses: []string{"C15", "C17", "Z11"}, run: forkInstance},
	{Name: "fork/of-the-unknown", Clauses: []string{"C17"}, run: forkUnknown},
	{Name: "fork/of-the-dead", Clauses: []string{"C17", "Z12", "Z5"}, run: forkDead},
	{Name: "fork/of-the-threaded", Clauses: []string{"C17", "Z10"}, run: forkThreaded},
	{Name: "fork/id-that-lives", Clauses: []string{"C17"}, run: forkTwice},
	{Name: "fork/id-again", Clauses: []string{"C17"}, run: forkAgain},
	{Name: "fork/no-gate", Clauses: []string{"C24", "Z6"}, run: forkNoGate},
	{Name: "fork/deadline", Clauses: []string{"C10", "Z14"}, run: forkDeadline},
	{Name: "fork/canceled", Clauses: []string{"C10", "Z14"}, run: forkCanceled},
	{Name: "fork/canceled-many", Clauses: []string{"C10", "Z14"}, run: forkCanceledMany},
	{Name: "fork/parent-dies-under-it", Clauses: []string{"C17", "Z12"}, run: forkLosesParent},
	{Name: "fork/for-core", Clauses: []string{"C48", "G10", "G17"}, Capability: core.CapabilityFork, run: forkForCore},
	{Name: "fork/for-core-of-the-threaded", Clauses: []string{"G17"}, Capability: core.CapabilityFork, run: forkForCoreThreaded},
	{Name: "fork/for-core-canceled-many", Clauses: []string{"G17"}, Capability: core.CapabilityFork, run: forkForCoreCanceled},
}

func forkParks(t *trial) {
	n := t.parked()
	t.must(n.wire.silent(), "a parked child before its handler load")
	t.lives(n, "Fork")
	if !t.soon(func() bool { return len(sockets(n.pid)) == 1 }) {
		t.errorf("the instance has the sockets %v open, and not its endpoint alone: does it keep its control socket?", sockets(n.pid))
	}
	t.imports(n, t.handlerLoad())
	t.alive(n, "parking")
}

func forkMany(t *trial) {
	seen := map[int]bool{}
	for range 20 {
		n := t.parked()
		if seen[n.pid] {
			t.errorf("two children are process %d", n.pid)
		}
		seen[n.pid] = true
	}
	last := t.instance()
	t.alive(last, "20 forks")
}

func forkAtOnce(t *trial) {
	d, root := t.shared(), t.root()
	boxes, ctx := t.boxes(16, core.RoleInstance, of(root)), t.within(callTime)
	var wg sync.WaitGroup
	for _, s := range boxes {
		wg.Go(func() {
			if err := d.Fork(ctx, s.Door().ID, root.id, s.Door()); err != nil {
				t.errorf("one of %d forks at once: %v", len(boxes), err)
			} else if _, _, err := s.Entered(); err != nil {
				t.errorf("one of %d forks at once: %v", len(boxes), err)
			}
		})
	}
	wg.Wait()
}

func forkOfForks(t *trial) {
	d, n := t.shared(), t.root()
	for range 3 {
		n = t.fork(d, n, core.RoleZygote)
		t.lives(n, "a fork of a fork")
	}
	i := t.fork(d, n, core.RoleInstance)
	t.imports(i, t.handlerLoad())
	t.alive(i, "three forks above it")
}

// generations returns an instance of the root, one of a zygote with a package, and one of a zygote that was
// forked from that.
func (t *trial) generations() map[string]*node {
	d, a := t.shared(), t.zygote(modA)
	b := t.fork(d, a, core.RoleZygote)
	_, err := d.Import(t.within(callTime), b.id, t.load(modB))
	t.must(err, "Import of %s by a zygote of a zygote", modB)
	all := map[string]*node{}
	for of, parent := range map[string]*node{"the root": t.root(), "a zygote": a, "a zygote of a zygote": b} {
		n := t.fork(d, parent, core.RoleInstance)
		t.imports(n, t.handlerLoad())
		all[of] = n
	}
	return all
}

func forkStarts(t *trial) {
	for of, n := range t.generations() {
		for range 2 {
			var got struct {
				Out    string
				Status int
			}
			if t.result(n, do{"do": "run", "command": "echo started; exit 3"}, &got); got.Out != "started\n" || got.Status != 3 {
				t.errorf("a child process of an instance of %s gave %+v", of, got)
			}
		}
	}
}

func forkSignal(t *trial) {
	for of, n := range t.generations() {
		var got int
		if t.result(n, do{"do": "signal"}, &got); got != 1 {
			t.errorf("an instance of %s that sent itself a signal caught it %d times", of, got)
		}
		t.alive(n, "a signal")
	}
}

func forkInstance(t *trial) {
	d, i := t.shared(), t.instance()
	s := t.box(core.RoleInstance, of(i))
	t.gone("a fork of an instance", d.Fork(t.within(callTime), s.Door().ID, i.id, s.Door()))
	t.alive(i, "an attempt to fork it")
}

// gone checks the error about a process that the driver does not know, or not any more.
func (t *trial) gone(doing string, err error) {
	if e := t.failure(doing, err, core.FaultWorker, core.KindUnavailable); !e.Retryable {
		t.errorf("%s: the error %s is not retryable", doing, inWords(err))
	}
}

func forkUnknown(t *trial) {
	s := t.box(core.RoleInstance)
	t.gone("a fork of an unknown parent", t.shared().Fork(t.within(callTime), s.Door().ID, "never-was", s.Door()))
	t.usable("a fork of an unknown parent")
}

func forkDead(t *trial) {
	z := t.zygote()
	end(z.box)
	s := t.box(core.RoleInstance, of(z))
	t.gone("a fork of a parent that has ended", t.shared().Fork(t.within(callTime), s.Door().ID, z.id, s.Door()))
	t.usable("a fork of a parent that has ended")
}

func forkThreaded(t *trial) {
	d, z := t.shared(), t.zygote()
	r, err := d.Import(t.within(callTime), z.id, t.load(modThreads))
	t.must(err, "Import of %s", modThreads)
	if r.Threads < 2 {
		t.skip("the language leaves no thread behind: the report has %d", r.Threads)
	}
	s := t.box(core.RoleInstance, of(z))
	t.mustFail("a fork of a process with threads", d.Fork(t.within(callTime), s.Door().ID, z.id, s.Door()), core.FaultWorker, core.KindInvalid)
}

func forkTwice(t *trial) {
	d, z := t.shared(), t.zygote()
	gate := t.falseGate()
	t.mustFail("a fork for an ID that a living process has", d.Fork(t.within(callTime), z.id, t.root().id, gate.door(z.id)), core.FaultWorker, core.KindConflict)
	t.fork(d, z, core.RoleInstance)
}

// forkAgain: the ID of a process that has ended is nobody's.
func forkAgain(t *trial) {
	z := t.zygote()
	end(z.box)
	t.free(z.id, "its end")
}

func forkNoGate(t *trial) {
	id := t.newID()
	err := t.shared().Fork(t.within(callTime), id, t.root().id, core.Door{ID: id, Gate: "/none/gate"})
	t.mustFail("Fork at a gate that is not there", err, core.FaultWorker, core.KindUnavailable, core.KindInvalid, core.KindInternal)
	t.usable("Fork at a gate that is not there")
}

func forkDeadline(t *trial) {
	gate, d, id := t.falseGate(), t.shared(), t.newID()
	err := d.Fork(t.within(300*time.Millisecond), id, t.root().id, gate.door(id))
	t.mustFail("Fork behind a gate that does not open", err, core.FaultDriver, core.KindTimeout)
	t.free(id, "its deadline")
	t.usable("a fork that missed its deadline")
}

func forkCanceled(t *trial) {
	gate, d, id := t.falseGate(), t.shared(), t.newID()
	err := d.Fork(t.canceled(100*time.Millisecond), id, t.root().id, gate.door(id))
	t.mustFail("Fork that was canceled", err, core.FaultCaller, core.KindCanceled)
	t.free(id, "its cancellation")
	t.usable("a fork that was canceled")
}

// forkCanceledMany cancels at any moment of a fork.
func forkCanceledMany(t *trial) {
	d, root := t.shared(), t.root()
	for i := range 24 {
		s := t.box(core.RoleInstance, of(root))
		_ = d.Fork(t.canceled(time.Duration(i)*400*time.Microsecond), s.Door().ID, root.id, s.Door())
		s.Kill()
	}
	t.lives(root, "cancelled forks")
	t.usable("cancelled forks")
}

func forkLosesParent(t *trial) {
	gate, d, z, id := t.falseGate(), t.shared(), t.zygote(), t.newID()
	s := t.box(core.RoleInstance, of(z))
	ctx, done := t.within(callTime), make(chan error, 1)
	go func() { done <- d.Fork(ctx, id, z.id, gate.door(id)) }()
	v := t.accept(gate)
	t.named(v, id)
	t.invite(v, s)
	if _, err := v.read(); err != nil {
		t.fatalf("reading HELLO: %v", err)
	}
	end(z.box)
	select {
	case err := <-done:
		if !isOneOf(err, core.KindUnavailable) {
			t.errorf("a fork whose parent was killed ended with %s, and not as unavailable", inWords(err))
		}
	case <-time.After(patience):
		t.errorf("a fork whose parent was killed does not return")
	}
	t.free(id, "the death of its parent")
}

// forkForCore asks zygotes of each generation for forks, while their driver asks too.
func forkForCore(t *trial) {
	d, root := t.shared(), t.root()
	boxes, ctx := t.boxes(16, core.RoleInstance, of(root)), t.within(callTime)
	var wg sync.WaitGroup
	for i, s := range boxes {
		wg.Go(func() {
			var err error
			if i%4 == 0 {
				err = d.Fork(ctx, s.Door().ID, root.id, s.Door())
			} else {
				err = s.Fork(ctx)
			}
			if err != nil {
				t.errorf("a fork of the root: %s", inWords(err))
			}
		})
	}
	wg.Wait()
	for of, n := range t.generations() {
		t.alive(n, "a fork of "+of)
		if !t.soon(func() bool { return len(sockets(n.pid)) == 1 }) {
			t.errorf("a fork of %s has the sockets %v open, and not its endpoint alone", of, sockets(n.pid))
		}
	}
}

func forkForCoreThreaded(t *trial) {
	d, z := t.shared(), t.zygote()
	r, err := d.Import(t.within(callTime), z.id, t.load(modThreads))
	t.must(err, "Import of %s", modThreads)
	if r.Threads < 2 {
		t.skip("the language leaves no thread behind: the report has %d", r.Threads)
	}
	for range 2 {
		if err := t.box(core.RoleInstance, of(z)).Fork(t.within(callTime)); err == nil || !strings.Contains(err.Error(), "threads") {
			t.errorf("a fork of a process with threads gives %v", err)
		}
	}
}

// forkForCoreCanceled gives up at any moment of a fork.
func forkForCoreCanceled(t *trial) {
	root := t.root()
	for i := range 24 {
		s := t.box(core.RoleInstance, of(root))
		_ = s.Fork(t.canceled(time.Duration(i) * 200 * time.Microsecond))
		s.Kill()
	}
	t.lives(root, "canceled forks")
	t.usable("canceled forks")
}
