package driver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// filled returns a T with everything in it set from the seed.
func filled[T any](seed string) T {
	var v T
	fill(seed, &v)
	return v
}

func mustEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s crossed as\n%+v, want\n%+v", what, got, want)
	}
}

// mustTell checks that the driver was asked exactly this.
func mustTell(t *testing.T, what string, err error, request ...any) {
	t.Helper()
	e := mustBe(t, err, core.KindException, core.FaultHandler)
	want, marshalErr := json.Marshal(request)
	if marshalErr != nil {
		t.Fatal(marshalErr)
	}
	if e.Exception.Message != string(want) {
		t.Errorf("%s arrived as\n%s, want\n%s", what, e.Exception.Message, want)
	}
}

func TestRequestsCross(t *testing.T) {
	c, ctx := open(t, "mirror"), t.Context()
	s := filled[core.Door]("sandbox")
	err := c.Preload(ctx, "n1", tell, s)
	mustTell(t, "Preload", err, "n1", tell, s)
	err = c.Fork(ctx, "n2", tell, s)
	mustTell(t, "Fork", err, "n2", tell, s)
	load := filled[core.Load]("load")
	_, err = c.Import(ctx, tell, load)
	mustTell(t, "Import", err, tell, load)
	_, err = c.Import(ctx, tell, core.Load{})
	mustTell(t, "Import of nothing", err, tell, core.Load{})

	resolve := filled[core.ResolveRequest]("resolve")
	resolve.Door.ID = tell
	_, err = c.Parts().Installer.Resolve(ctx, resolve)
	mustTell(t, "Resolve", err, resolve)
	install := filled[core.InstallRequest]("install")
	install.Door.ID = tell
	_, err = c.Parts().Installer.Install(ctx, install, nil)
	mustTell(t, "Install", err, install)
	scan := filled[core.ScanRequest]("scan")
	scan.Door.ID = tell
	_, err = c.Parts().Scanner.Scan(ctx, scan)
	mustTell(t, "Scan", err, scan)
}

func TestAnswersCross(t *testing.T) {
	c, ctx := open(t, "mirror"), t.Context()
	description, err := c.Describe(ctx)
	want, _ := mirror{}.Describe(ctx)
	mustEqual(t, "Description", description, want)
	mustEqual(t, "Description at open", c.Description(), want)
	if err != nil {
		t.Error(err)
	}
	for i := range 20 {
		seed := fmt.Sprint("seed", i)
		err, err2 := c.Preload(ctx, core.NodeID(seed), "r", core.Door{}), c.Fork(ctx, core.NodeID(seed), "p", core.Door{})
		r, err3 := c.Import(ctx, core.NodeID(seed), core.Load{})
		mustEqual(t, "Report", r, filled[core.Report](seed))
		x, err4 := c.Parts().Installer.Resolve(ctx, core.ResolveRequest{Door: core.Door{ID: core.NodeID(seed)}})
		mustEqual(t, "Resolution", x, filled[core.Resolution](seed))
		if err := errors.Join(err, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.Import(ctx, "zero", core.Load{})
	if err != nil || !reflect.DeepEqual(r, core.Report{}) {
		t.Errorf("a zero report crossed as %+v, %v", r, err)
	}
}

func TestProgressCrosses(t *testing.T) {
	c := open(t, "mirror")
	got := map[int64]core.Progress{}
	receipts, err := c.Parts().Installer.Install(t.Context(), core.InstallRequest{Door: core.Door{ID: "s"}}, func(p core.Progress) { got[p.Done] = p })
	if err != nil || len(got) != 8 {
		t.Fatalf("%d steps and error %v, want 8 and none", len(got), err)
	}
	for i := range int64(8) {
		want := filled[core.Progress](fmt.Sprint("s", i))
		want.Done = i
		mustEqual(t, "Progress", got[i], want)
	}
	mustEqual(t, "Receipts", receipts, []core.Receipt{filled[core.Receipt]("s0"), filled[core.Receipt]("s1")})
	scanned, err := c.Parts().Scanner.Scan(t.Context(), core.ScanRequest{Door: core.Door{ID: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "Scanned", scanned, filled[core.Scanned]("s"))
}

func TestErrorsCross(t *testing.T) {
	c, ctx := open(t, "mirror"), t.Context()
	for i := range 10 {
		seed := fmt.Sprint("e", i)
		_, err := c.Import(ctx, core.NodeID("error "+seed), core.Load{})
		want := filled[core.Error](seed)
		mustEqual(t, "Error", err, &want)
	}
}

// A driver without descriptors blames neither its zygote nor itself.
func TestShortageCrosses(t *testing.T) {
	c := open(t, "mirror")
	e := core.AsError(c.Fork(t.Context(), "short", "parent", core.Door{}))
	if e == nil || e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !e.Retryable || !strings.Contains(e.Message, "too many open files") {
		t.Errorf("%+v", e)
	}
}

// A handler may raise with any amount of text; the call must still tell that it was the handler.
func TestHugeErrorIsCut(t *testing.T) {
	_, err := open(t, "mirror").Import(t.Context(), "id", core.Load{Modules: []string{"huge"}})
	e := mustBe(t, err, core.KindException, core.FaultHandler, "(cut)")
	if n := len(e.Message); n > 64<<10 {
		t.Errorf("the message has %d bytes", n)
	}
	if last := e.Exception.Stack[len(e.Exception.Stack)-1]; last != "innermost" {
		t.Errorf("the innermost frame is %q", last)
	}
}

func TestKindsOfFailure(t *testing.T) {
	t.Run("bare error", func(t *testing.T) {
		err := open(t, "faulty-bare-error").Preload(t.Context(), "a", "faulty-bare-error1", sandbox("a"))
		mustBe(t, err, core.KindInternal, core.FaultDriver, "something went wrong")
	})
	t.Run("deadline", func(t *testing.T) {
		c := open(t, "fake")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := c.Fork(ctx, "a", "b", sandbox("a"))
		mustBe(t, err, core.KindTimeout, core.FaultDriver)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error("errors.Is does not know the deadline")
		}
	})
	t.Run("cancel", func(t *testing.T) {
		c := open(t, "fake")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(30*time.Millisecond, cancel)
		err := c.Fork(ctx, "a", "b", sandbox("a"))
		mustBe(t, err, core.KindCanceled, core.FaultCaller)
	})
	t.Run("deaf driver", func(t *testing.T) {
		c := open(t, "faulty-deaf")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := c.Fork(ctx, "a", "b", sandbox("a"))
		mustBe(t, err, core.KindTimeout, core.FaultDriver)
		if took := time.Since(began); took > 8*time.Second { // the driver takes ten
			t.Errorf("the call returned after %v", took)
		}
	})
	t.Run("no installer", func(t *testing.T) {
		c := open(t, "plain")
		if parts := c.Parts(); parts != (core.Parts{}) {
			t.Errorf("a driver that claims nothing has %+v", parts)
		}
	})
	t.Run("closed", func(t *testing.T) {
		c := open(t, "fake")
		c.Close()
		_, err := c.Describe(t.Context())
		mustBe(t, err, core.KindUnavailable, core.FaultWorker, "was closed")
	})
}

// Deadlines and cancellation reach the driver itself, which tells afterwards what its contexts said.
func TestContextReachesTheDriver(t *testing.T) {
	c := open(t, "watcher")
	var seen []string
	saw := func(n int) func() bool {
		return func() bool {
			d, err := c.Describe(t.Context())
			seen = d.Problems
			return err == nil && len(seen) == n
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := c.Fork(ctx, "deadline", "b", sandbox("a"))
	mustBe(t, err, core.KindTimeout, core.FaultDriver)
	eventually(t, "the first context ended in the driver", saw(2))
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		defer cancel()
		eventually(t, "the second call is in the driver", saw(3))
	}()
	err = c.Fork(ctx, "cancel", "b", sandbox("a"))
	mustBe(t, err, core.KindCanceled, core.FaultCaller)
	eventually(t, "the second context ended in the driver", saw(4))
	// Which of the driver's own clock and the host's hanging up ends the first context is a race.
	if !strings.HasPrefix(seen[1], "deadline: has a deadline: context ") || seen[3] != "cancel: has no deadline: context canceled" {
		t.Errorf("the driver saw %q", seen)
	}
}

func TestHonestFakeOverTheWire(t *testing.T) {
	c, ctx := open(t, "fake"), t.Context()
	if err := c.Preload(ctx, "root", "fake1", sandbox("root")); err != nil {
		t.Fatal(err)
	}
	err := c.Preload(ctx, "root", "fake1", sandbox("root"))
	mustBe(t, err, core.KindConflict, core.FaultWorker)
	err = c.Preload(ctx, "other", "none", sandbox("other"))
	mustBe(t, err, core.KindUnsupported, core.FaultCaller)
	r, err := c.Import(ctx, "root", core.Load{Modules: []string{"m"}})
	if err != nil || r.Threads != 1 {
		t.Fatalf("Import gave %+v, %v", r, err)
	}
}

func TestConcurrentCalls(t *testing.T) {
	c := open(t, "mirror")
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 20 {
				seed := fmt.Sprint(i, "-", j)
				r, err := c.Import(t.Context(), core.NodeID(seed), core.Load{})
				if err != nil || !reflect.DeepEqual(r, filled[core.Report](seed)) {
					t.Errorf("Import gave %+v, %v", r, err)
				}
			}
		})
	}
	all.Wait()
}

func TestBreachesDoNotHarmTheHost(t *testing.T) {
	for _, breach := range drivertest.Breaches {
		if breach == drivertest.Deaf {
			continue // TestKindsOfFailure
		}
		t.Run(string(breach), func(t *testing.T) {
			t.Parallel()
			role := "faulty-" + string(breach)
			c := open(t, role)
			err := c.Preload(t.Context(), "a", core.RuntimeID(role+"1"), sandbox("a"))
			switch breach {
			case drivertest.Babble:
				if err != nil {
					t.Error(err)
				}
			case drivertest.NoProcess:
				if err != nil {
					t.Error(err) // that nobody came through the gate is for core to see
				}
				_, err = c.Import(t.Context(), "a", core.Load{})
				mustBe(t, err, core.KindUnavailable, core.FaultWorker)
			case drivertest.BareError:
				mustBe(t, err, core.KindInternal, core.FaultDriver)
			case drivertest.Panic:
				mustBe(t, err, core.KindUnavailable, core.FaultDriver, "exit status 2", "panic: a faulty driver")
			case drivertest.Exit:
				e := mustBe(t, err, core.KindUnavailable, core.FaultDriver, "exit status 7", "a faulty driver leaves")
				if !e.Retryable {
					t.Error("the error is not retryable")
				}
			}
		})
	}
}

func TestDescriptionHasEverything(t *testing.T) {
	// fill must not leave anything zero, or the tests above prove nothing.
	d := filled[core.Description]("x")
	if len(d.Runtimes) == 0 || len(d.Runtimes[0].Mounts) == 0 || !d.Runtimes[0].Mounts[0].Writable || len(d.Runtimes[0].Tools) == 0 || d.Runtimes[0].Handlers[0].File == "" {
		t.Errorf("fill left something out: %+v", d)
	}
	if slices.Contains(d.Problems, "") || strings.Contains(d.Language, "\xff") {
		t.Errorf("fill made a wrong string: %+v", d)
	}
}

func BenchmarkEmptyCall(b *testing.B) {
	c := open(b, "plain")
	for b.Loop() {
		if _, err := c.Import(b.Context(), "none", core.Load{}); err == nil {
			b.Fatal("Import of an unknown node succeeded")
		}
	}
}

func BenchmarkDescribe(b *testing.B) {
	c := open(b, "plain")
	for b.Loop() {
		if _, err := c.Describe(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
