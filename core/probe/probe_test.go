package probe_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// world is a machine without processes: a driver that keeps the contract, and sandboxes in which what it
// pretends is seen.
type world struct {
	*drivertest.Fake
	boxes  []*box
	opens  map[string]string    // what a module leaves open
	ends   map[string]core.Exit // how a process ends that imports a module
	memory map[string]int64
}

type box struct {
	w    *world
	id   core.NodeID
	done chan struct{}
	exit core.Exit
}

// Import has processes end as ends says. The driver does not see how.
func (w *world) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	for _, m := range load.Modules {
		if exit, is := w.ends[m]; is {
			b := w.boxes[slices.IndexFunc(w.boxes, func(b *box) bool { return b.id == id })]
			b.exit = exit
			time.AfterFunc(100*time.Millisecond, b.Kill)
			return core.Report{}, core.Errorf(core.KindExit, core.FaultHandler, "connection reset by peer")
		}
	}
	return w.Fake.Import(ctx, id, load)
}

func (b *box) Exit() core.Exit { return b.exit }

func newWorld(modules map[string]drivertest.Module) *world {
	w := &world{Fake: drivertest.New(drivertest.Described("lang", "lang1")), opens: map[string]string{}, memory: map[string]int64{}}
	w.Modules = modules
	return w
}

func (w *world) machine() probe.Machine {
	return probe.Machine{Driver: w, Runtime: core.Runtime{ID: "lang1"}, Create: func(context.Context, core.SandboxConfig) (probe.Sandbox, error) {
		b := &box{w: w, id: core.NodeID(fmt.Sprintf("p%d", len(w.boxes))), done: make(chan struct{})}
		w.boxes = append(w.boxes, b)
		return b, nil
	}}
}

func (b *box) Door() core.Door                      { return core.Door{ID: b.id, Gate: "gate"} }
func (b *box) Entered() (int, time.Duration, error) { return 1, 0, nil }
func (b *box) Done() <-chan struct{}                { return b.done }
func (b *box) Kill() {
	b.w.End(b.id)
	select {
	case <-b.done:
	default:
		close(b.done)
	}
}

func (b *box) Observe() (o sandbox.Observation, err error) {
	for _, n := range b.w.Nodes() {
		if n.ID != b.id {
			continue
		}
		p := sandbox.Process{Threads: n.Threads, Files: map[string]string{}}
		for _, m := range n.Modules {
			o.Memory.Private += b.w.memory[m]
			if name := b.w.opens[m]; name != "" {
				p.Files[m] = name
			}
		}
		o.Processes = map[int]sandbox.Process{7: p}
		return o, nil
	}
	return o, os.ErrNotExist
}

// pkg is a package with a module of the same name, besides others.
func pkg(name string, requires ...string) core.Installed {
	return core.Installed{Package: core.Package{Name: name, Version: "1"}, Locked: core.Locked{Requires: requires}, Receipt: core.Receipt{Modules: []string{name}}}
}

// run probes, and returns what was found and the error.
func (w *world) run(t *testing.T, packages ...core.Installed) (map[string]core.Probe, error) {
	t.Helper()
	found := map[string]core.Probe{}
	err := probe.Run(t.Context(), w.machine(), packages, func(p core.Package, seen core.Probe) {
		if _, twice := found[p.Name]; twice {
			t.Errorf("%s was told twice", p.Name)
		}
		found[p.Name] = seen
	})
	for _, b := range w.boxes {
		select {
		case <-b.done:
		default:
			t.Errorf("the process %s is left", b.id)
		}
	}
	return found, err
}

// imports returns what processes were asked to import, without the empty requests.
func (w *world) imports() (all []string) {
	for _, c := range w.Calls() {
		if c.Method == drivertest.Import && len(c.Load.Modules) > 0 {
			all = append(all, strings.Join(c.Load.Modules, "+"))
		}
	}
	return all
}

// Each package is imported once when nothing is wrong, after what it requires, also in a circle.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]drivertest.Module{"a": {Took: time.Second}, "b": {Took: 2 * time.Second}, "c": {Took: 4 * time.Second}})
		w.memory["a"], w.memory["b"], w.memory["c"] = 10, 20, 40
		found, err := w.run(t, pkg("a", "b==1", "nobody==1"), pkg("b", "c==1"), pkg("c", "a==1"), pkg("d"))
		if want := []string{"c", "b", "a", "d"}; err != nil || !slices.Equal(w.imports(), want) {
			t.Errorf("imported %v, want %v; %v", w.imports(), want, err)
		}
		if a := found["a"]; a.Own != time.Second || a.Took != 7*time.Second || a.Private != 10 || a.Memory != 70 {
			t.Errorf("a %+v", a)
		}
		for name, p := range found {
			if p.Unforkable != "" || p.Errors != nil {
				t.Errorf("%s %+v", name, p)
			}
		}
	})
}

// What must not be forked is left out for what comes after it, and told of what imports it.
func TestLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]drivertest.Module{"b": {Took: time.Second, Threads: 2}, "c": {Took: 3 * time.Second, Threads: 2}})
		w.opens["d"] = "socket"
		found, err := w.run(t, pkg("a"), pkg("b"), pkg("c", "b==1"), pkg("d"), pkg("e", "a==1"))
		want := map[string]string{"a": "", "b": "starts 2 threads at import", "c": "imports b, which starts 2 threads at import", "d": "leaves open socket at import", "e": ""}
		for name, why := range want {
			if err != nil || found[name].Unforkable != why {
				t.Errorf("%s %+v, want %q; %v", name, found[name], why, err)
			}
		}
		if want := []string{"a", "b", "a", "c", "d", "e"}; !slices.Equal(w.imports(), want) {
			t.Errorf("imported %v, want %v", w.imports(), want)
		}
		if c := found["c"]; c.Own != 2*time.Second || c.Took != 3*time.Second {
			t.Errorf("c %+v", c)
		}
		// With another version of b, or none, c is to be seen again; b is not.
		b, c := pkg("b"), pkg("c")
		c.Probe = new(found["c"])
		b.Probe = new(found["b"])
		if probe.Stale(c, []core.Installed{b, c}) || !probe.Stale(c, []core.Installed{c}) || probe.Stale(b, nil) || !probe.Stale(pkg("b"), nil) {
			t.Error("what is stale")
		}
	})
}

// A module that cannot be imported is told, and the package's others are seen nevertheless.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raised := core.Errorf(core.KindException, core.FaultHandler, "importing it failed: no")
		w := newWorld(map[string]drivertest.Module{"b": {Err: raised}, "slow": {Took: time.Hour}})
		w.memory["b2"] = 30
		b := pkg("b")
		b.Receipt.Modules = []string{"b1", "b", "b2"}
		nothing := pkg("nothing")
		nothing.Receipt.Modules = nil
		found, err := w.run(t, pkg("a"), b, pkg("slow"), nothing, pkg("z", "a==1", "b==1"))
		if err != nil || len(found) != 5 {
			t.Fatalf("%v %v", found, err)
		}
		if p := found["b"]; len(p.Errors) != 1 || p.Errors["b"] != "importing it failed: no" || p.Private != 30 {
			t.Errorf("b %+v", p)
		}
		if p := found["slow"]; p.Errors["slow"] != "importing slow takes longer than 10s" {
			t.Errorf("slow %+v", p)
		}
	})
}

// A module that ends its process is told with how that ended, which its driver does not know. The machine's
// lack of memory is not the module's.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.ends = map[string]core.Exit{"big": {Signal: 9, OutOfMemory: true, Known: true}, "crash": {Signal: 11, Known: true}, "exit": {Code: 3, Known: true},
			"many": {Signal: 6, Crowded: true, Known: true}, "unseen": {}}
		found, err := w.run(t, pkg("a"), pkg("big"), pkg("crash"), pkg("exit"), pkg("many"), pkg("unseen"), pkg("z", "a==1"))
		for name, why := range map[string]string{"a": "", "big": "its import was ended when it took more than the 4096 MiB of memory that it may take",
			"crash": "its process ended with signal 11 (segmentation fault)", "exit": "its process ended with code 3",
			"many": "its process ended with signal 6 (aborted), after it wanted more processes and threads than it may have", "unseen": "connection reset by peer", "z": ""} {
			if got := found[name].Errors[name]; err != nil || got != why {
				t.Errorf("%s: %q, want %q; %v", name, got, why, err)
			}
		}
		tried, err := probe.Try(t.Context(), w.machine(), []core.Installed{pkg("a")}, []string{"a"}, []string{"big"}, nil)
		if err != nil || !strings.Contains(tried["big"].Why, "4096 MiB") {
			t.Errorf("%+v %v", tried, err)
		}
		w.ends["big"] = core.Exit{Signal: 9, Starved: true, Known: true}
		if found, err := w.run(t, pkg("big")); !core.IsKind(err, core.KindExhausted) || len(found) != 0 {
			t.Errorf("a machine without memory: %v, %v", found, err)
		}
	})
}

// What a package asks for is known, also when it cannot be imported alone: who imports it asks then. Of one
// that nobody has seen whole it is not.
func TestAsks(t *testing.T) {
	raised := core.Errorf(core.KindException, core.FaultHandler, "no")
	w := newWorld(map[string]drivertest.Module{"asks": {Asks: []string{"y", "x", "y"}}, "fails": {Err: raised}, "f1": {Err: raised}, "f2": {Err: raised}, "f3": {Err: raised}, "f4": {Err: raised}})
	half, broken := pkg("half"), pkg("broken")
	half.Receipt.Modules, broken.Receipt.Modules = []string{"f1", "asks"}, []string{"f1", "f2", "f3", "f4"}
	asks := pkg("asks")
	asks.Probe = &core.Probe{Version: 1, Asks: []string{"of another version"}}
	fixed := pkg("fixed")
	fixed.Probe = &core.Probe{Version: 1, Asks: []string{core.AnyPackage, core.InDirectory, "before"}, Errors: map[string]string{"fixed": "no"}}
	found, err := w.run(t, asks, pkg("fails"), half, broken, fixed)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"asks": "[of another version x y]", "fixed": "[before]", "fails": "[]", "half": "[x y]", "broken": "[* ./]"} {
		if got := fmt.Sprint(found[name].Asks); got != want {
			t.Errorf("%s asks for %s, want %s", name, got, want)
		}
	}
}

// A machine that fails says nothing of packages.
func TestMachine(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(w *world)
		found   []string
	}{
		"a driver that dies in an import": {func(w *world) {
			w.Arrange(drivertest.Import, drivertest.Behaviour{Times: 4})
			w.Arrange(drivertest.Import, drivertest.Behaviour{Die: true})
		}, []string{"threads"}},
		"no root zygote":        {func(w *world) { w.Arrange(drivertest.Preload, drivertest.Behaviour{Err: errors.New("no")}) }, nil},
		"no forks":              {func(w *world) { w.Arrange(drivertest.Fork, drivertest.Behaviour{Err: errors.New("no")}) }, nil},
		"a fork that hangs":     {func(w *world) { w.Arrange(drivertest.Fork, drivertest.Behaviour{Hang: true}) }, nil},
		"imports that all hang": {func(w *world) { w.Arrange(drivertest.Import, drivertest.Behaviour{Hang: true}) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string]drivertest.Module{"threads": {Threads: 1}})
				test.arrange(w)
				found, err := w.run(t, pkg("threads"), pkg("x"), pkg("y"))
				if err == nil || !slices.Equal(slices.Sorted(maps.Keys(found)), test.found) {
					t.Errorf("%v %v", found, err)
				}
			})
		})
	}
}

// A fork that fails after all packages is blamed on the one after which it first does.
func TestForbidsFork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		w.Arrange(drivertest.Fork, drivertest.Behaviour{Times: 1})                        // to work
		w.Arrange(drivertest.Fork, drivertest.Behaviour{Times: 1, Err: errors.New("no")}) // of all
		w.Arrange(drivertest.Fork, drivertest.Behaviour{Times: 2})                        // to work, after a
		w.Arrange(drivertest.Fork, drivertest.Behaviour{Times: 1, Err: errors.New("no")}) // after b
		found, err := w.run(t, pkg("a"), pkg("b"), pkg("c"))
		if err != nil || found["a"].Unforkable != "" || found["b"].Unforkable != "cannot be forked after its import: no" || found["c"].Unforkable != "" {
			t.Errorf("%+v %v", found, err)
		}
	})
}

// More modules are good when a zygote could import them after the others.
func TestTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]drivertest.Module{"a.b": {Took: time.Second}, "t": {Threads: 1}, "e": {Err: core.Errorf(core.KindException, core.FaultHandler, "no")}})
		tried, err := probe.Try(t.Context(), w.machine(), []core.Installed{pkg("a"), pkg("t")}, []string{"a"}, []string{"a.b", "t", "e", "a.c"}, nil)
		if err != nil || len(tried) != 4 || tried["a.b"].Why+tried["a.c"].Why != "" || tried["a.b"].Took != time.Second || tried["t"].Why != "starts 1 thread at import" || tried["e"].Why != "no" {
			t.Errorf("%+v %v", tried, err)
		}
	})
}

// The variables that a module reads are noted of it alone; what reads one that is set is bad, and not there
// for what comes after it.
func TestReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]drivertest.Module{"a": {Reads: []string{"Y", "X", "Y"}}, "b.all": {Reads: []string{core.AllVariables}}, "b.y": {Reads: []string{"Y"}}})
		found, err := w.run(t, pkg("a"), pkg("b", "a==1"))
		if err != nil || !slices.Equal(found["a"].Reads, []string{"X", "Y"}) || found["b"].Reads != nil {
			t.Errorf("%+v %v", found, err)
		}
		tried, err := probe.Try(t.Context(), w.machine(), []core.Installed{pkg("b")}, []string{"b"}, []string{"b.y", "b.z", "b.all"}, []string{"Y", "Z"})
		if err != nil || !slices.Equal(tried["b.y"].Reads, []string{"Y"}) || !slices.Equal(tried["b.all"].Reads, []string{core.AllVariables}) || tried["b.z"].Reads != nil {
			t.Errorf("%+v %v", tried, err)
		}
		who := map[string]core.NodeID{}
		for _, c := range w.Calls() {
			who[strings.Join(c.Load.Modules, "+")] = c.ID
		}
		if who["b.z"] == who["b.y"] {
			t.Error("b.z was imported by the process that had imported b.y")
		}
		for _, c := range []struct{ reads, names, want string }{{"A B", "B C", "reads B when it is imported, which is set for this function"}, {"A", "B", ""}, {"", "B", ""}, {"A", "", ""},
			{"*", "B C", "reads B, C when it is imported, which is set for this function"}, {"", "*", "is imported as the function's own files say"}, {"A", "* A", "reads A when it is imported, which is set for this function"}} {
			if why := probe.Reads(strings.Fields(c.reads), strings.Fields(c.names)); why != c.want {
				t.Errorf("%q and %q: %q", c.reads, c.names, why)
			}
		}
	})
}

// Random numbers that are the same in two forks, and others in a process of its own, keep a package apart,
// and what requires it. A fixed seed does not.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]drivertest.Module{"new": {Random: drivertest.NewRandom}, "shared": {Random: drivertest.SharedRandom}, "fixed": {Random: drivertest.FixedRandom}, "deep": {Random: drivertest.SharedRandom}})
		found, err := w.run(t, pkg("none"), pkg("new"), pkg("shared"), pkg("fixed"), pkg("above", "new==1", "shared==1"), pkg("top", "above==1"))
		want := map[string]string{"none": "", "new": "", "fixed": "", "shared": "gives the same random numbers in every fork",
			"above": "imports shared, which gives the same random numbers in every fork", "top": "imports shared, which gives the same random numbers in every fork"}
		for name, why := range want {
			if err != nil || found[name].Unforkable != why {
				t.Errorf("%s %+v, want %q; %v", name, found[name], why, err)
			}
		}
		if top := found["top"]; top.Through != "shared==1" {
			t.Errorf("top %+v", top)
		}
		tried, err := probe.Try(t.Context(), w.machine(), []core.Installed{pkg("a")}, []string{"a"}, []string{"deep", "new"}, nil)
		if err != nil || tried["new"].Why != "" || tried["deep"].Why != "gives the same random numbers in every fork" {
			t.Errorf("%+v %v", tried, err)
		}
	})
}
