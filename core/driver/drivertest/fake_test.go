package drivertest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

func box(id core.NodeID) core.Door { return core.Door{ID: id, Gate: "/gate"} }

func mustBe(t *testing.T, err error, kind core.Kind) {
	t.Helper()
	if !core.IsKind(err, kind) {
		t.Errorf("error is %v, want kind %s", err, kind)
	}
}

func TestFakeKeepsTheContract(t *testing.T) {
	ctx := t.Context()
	f := drivertest.New(drivertest.Described("x", "x1"))
	f.Modules = map[string]drivertest.Module{
		"threaded": {Threads: 2}, "broken": {Err: core.Errorf(core.KindException, core.FaultHandler, "no")},
	}
	err := f.Preload(ctx, "r", "x1", box("r"))
	coretest.Must(t, err)
	coretest.Must(t, f.Fork(ctx, "z", "r", box("z")))
	report, err := f.Import(ctx, "z", core.Load{Modules: []string{"a"}})
	coretest.Must(t, err)
	if _, timed := report.Modules["a"]; !timed || report.Threads != 1 {
		t.Errorf("the report is %+v", report)
	}
	err = f.Fork(ctx, "i", "z", box("i"))
	coretest.Must(t, err)
	err = f.Fork(ctx, "n", "unknown", box("n"))
	mustBe(t, err, core.KindUnavailable)
	err = f.Fork(ctx, "n", "z", box("other"))
	mustBe(t, err, core.KindInvalid)
	err = f.Fork(ctx, "z", "r", box("z"))
	mustBe(t, err, core.KindConflict)
	err = f.Preload(ctx, "n", "y1", box("n"))
	mustBe(t, err, core.KindUnsupported)

	_, err = f.Import(ctx, "r", core.Load{Modules: []string{"threaded"}})
	coretest.Must(t, err)
	err = f.Fork(ctx, "n", "r", box("n"))
	mustBe(t, err, core.KindInvalid) // it has threads
	if n := f.Nodes(); len(n) != 3 {
		t.Errorf("there are %+v, want r, z and i", n)
	}
	_, err = f.Import(ctx, "r", core.Load{Modules: []string{"broken"}})
	mustBe(t, err, core.KindException)
	if n := f.Nodes(); len(n) != 0 {
		t.Errorf("after the root failed there are %+v", n)
	}
}

func TestFakeBehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := drivertest.New(drivertest.Described("x", "x1"))
		f.Modules = map[string]drivertest.Module{"slow": {Took: time.Second}}
		began := time.Now()
		f.Arrange(drivertest.Preload, drivertest.Behaviour{Times: 1, Delay: time.Second, Err: errors.New("once")})
		f.Arrange(drivertest.Preload, drivertest.Behaviour{Times: 1})
		f.Arrange(drivertest.Preload, drivertest.Behaviour{Hang: true})
		if err := f.Preload(t.Context(), "a", "x1", box("a")); err == nil || err.Error() != "once" || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		err := f.Preload(t.Context(), "a", "x1", box("a"))
		coretest.Must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = f.Preload(ctx, "b", "x1", box("b"))
		mustBe(t, err, core.KindTimeout)
		report, err := f.Import(t.Context(), "a", core.Load{Modules: []string{"slow"}})
		if err != nil || report.Took != time.Second {
			t.Errorf("%+v, %v", report, err)
		}
		go func() {
			time.Sleep(time.Second)
			f.Die()
		}()
		err = f.Preload(t.Context(), "b", "x1", box("b"))
		mustBe(t, err, core.KindUnavailable)
		_, err = f.Describe(t.Context())
		mustBe(t, err, core.KindUnavailable)
		<-f.Done()
		if calls := f.Calls(); len(calls) != 6 || calls[0].Method != drivertest.Preload || calls[0].Runtime != "x1" || calls[0].Door != box("a") {
			t.Errorf("calls: %+v", calls)
		}
	})
}

func TestFakeInstalls(t *testing.T) {
	f := drivertest.New(drivertest.Described("x", "x1"))
	f.Resolution = core.Resolution{Imports: []string{"m"}}
	r, err := f.Resolve(t.Context(), core.ResolveRequest{Runtime: "x1"})
	if err != nil || len(r.Imports) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	var steps []core.Progress
	request := core.InstallRequest{Runtime: "x1", Packages: []core.Locked{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}}}
	_, err = f.Install(t.Context(), request, func(p core.Progress) { steps = append(steps, p) })
	coretest.Must(t, err)
	receipts, err := f.Install(t.Context(), request, nil)
	coretest.Must(t, err)
	if len(receipts) != 2 || receipts[1].Name != "b" {
		t.Errorf("receipts: %+v", receipts)
	}
	if len(steps) != 2 || steps[1].Item != "b==2" || steps[1].Done != 2 {
		t.Errorf("progress: %+v", steps)
	}
}
