package conform

import (
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
	s := t.box(core.RoleInstance, of(below))
	t.gone("a fork of what died with its parent", d.Fork(t.within(callTime), s.Door().ID, below.id, s.Door()))
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
	s := t.box(core.RoleInstance, of(zygote))
	t.mustFail("a fork by a driver that is dead", d.Fork(t.within(callTime), s.Door().ID, zygote.id, s.Door()), core.FaultDriver, core.KindUnavailable)
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
	s := t.box(core.RoleInstance, of(zygote))
	t.gone("a fork by a new driver of an old one's zygote", t.own().Fork(t.within(callTime), s.Door().ID, zygote.id, s.Door()))
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
