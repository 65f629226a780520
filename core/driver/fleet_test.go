package driver_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// garage makes drivers without processes for a fleet, and notes when.
type garage struct {
	mu      sync.Mutex
	began   time.Time
	starts  []time.Duration             // since began
	living  map[string]*drivertest.Fake // by language, the latest
	broken  map[string]error            // languages that do not start
	runtime map[string][]core.RuntimeID // by language, <language>1 when there are none
	slow    time.Duration               // of each start
}

func newGarage() *garage {
	return &garage{began: time.Now(), living: map[string]*drivertest.Fake{}, broken: map[string]error{}, runtime: map[string][]core.RuntimeID{}}
}

func (g *garage) open(ctx context.Context, path string) (driver.Life, error) {
	language := strings.TrimPrefix(filepath.Base(path), driver.Prefix)
	time.Sleep(g.slow)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.starts = append(g.starts, time.Since(g.began))
	if err := g.broken[language]; err != nil {
		return nil, err
	}
	runtimes := g.runtime[language]
	if runtimes == nil {
		runtimes = []core.RuntimeID{core.RuntimeID(language + "1")}
	}
	g.living[language] = drivertest.New(drivertest.Described(language, runtimes...))
	return g.living[language], nil
}

func (g *garage) latest(language string) *drivertest.Fake {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.living[language]
}

func (g *garage) fleet(t *testing.T, onLost func(string, int), languages ...string) *driver.Fleet {
	t.Helper()
	var paths []string
	for _, l := range languages {
		paths = append(paths, "/drivers/"+driver.Prefix+l)
	}
	f, err := driver.OpenFleetWith(t.Context(), paths, driver.FleetOptions{
		Options: driver.Options{Log: slog.New(slog.DiscardHandler)}, OnLost: onLost,
	}, g.open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestFleetRestartsWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		var lost []int
		g.fleet(t, func(language string, generation int) {
			if language != "one" {
				t.Errorf("lost %q", language)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			lost = append(lost, generation)
		}, "one")
		for range 11 { // it dies as soon as it lives
			synctest.Wait()
			g.latest("one").Die()
			time.Sleep(11 * time.Second)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		ms := time.Millisecond
		want := []time.Duration{0, 0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10000 * ms, 10000 * ms, 10000 * ms}
		for i, start := range g.starts {
			death := time.Duration(max(0, i-1)) * 11 * time.Second
			if start-death != want[i] {
				t.Errorf("start %d came %v after the death, want %v", i, start-death, want[i])
			}
		}
		if len(g.starts) != len(want) || !slices.Equal(lost, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
			t.Errorf("%d starts, lost %v", len(g.starts), lost)
		}
	})
}

func TestFleetForgivesAfterASteadyLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		f := g.fleet(t, nil, "one")
		for range 5 {
			synctest.Wait()
			g.latest("one").Die()
			time.Sleep(30 * time.Second) // not a steady life
		}
		time.Sleep(time.Minute)
		g.latest("one").Die()
		died := time.Since(g.began)
		synctest.Wait()
		g.mu.Lock()
		if start := g.starts[len(g.starts)-1]; start != died {
			t.Errorf("after a minute of life it was started %v after its death", start-died)
		}
		g.mu.Unlock()
		if info := f.Snapshot(); info[0].Restarts != 6 || info[0].Error != "" || info[0].PID == 0 {
			t.Errorf("Snapshot: %+v", info)
		}
	})
}

func TestFleetWaitsForARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		f := g.fleet(t, nil, "one")
		_, _, first, err := f.Driver(t.Context(), "one1")
		if err != nil || first != 1 {
			t.Fatalf("generation %d, %v", first, err)
		}
		g.slow = time.Second
		g.latest("one").Die()
		synctest.Wait()
		began := time.Now()
		d, r, second, err := f.Driver(t.Context(), "one1")
		if err != nil || d == nil || r.ID != "one1" || second != 2 || time.Since(began) != time.Second {
			t.Errorf("after %v: %v %v %d %v", time.Since(began), d, r, second, err)
		}

		g.slow = time.Minute
		g.latest("one").Die()
		synctest.Wait()
		began = time.Now()
		_, _, _, err = f.Driver(t.Context(), "one1")
		if e := mustBe(t, err, core.KindUnavailable, core.FaultDriver, "one1", "signal: killed"); !e.Retryable || time.Since(began) != 2*time.Second {
			t.Errorf("after %v: retryable %v", time.Since(began), e.Retryable)
		}
		if info := f.Snapshot()[0]; !strings.Contains(info.Error, "signal: killed") || info.PID != 0 || len(info.Runtimes) != 1 {
			t.Errorf("Snapshot: %+v", info)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _, _, err = f.Driver(ctx, "one1")
		mustBe(t, err, core.KindTimeout, core.FaultWorker, "signal: killed")
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		_, _, _, err = f.Driver(ctx, "one1")
		mustBe(t, err, core.KindCanceled, core.FaultCaller)
	})
}

func TestFleetTellsWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		g.broken["bad"] = core.Errorf(core.KindUnsupported, core.FaultWorker, "the interpreter is missing")
		f := g.fleet(t, nil, "bad", "one", "two")
		_, _, _, err := f.Driver(t.Context(), "nine9")
		mustBe(t, err, core.KindUnsupported, core.FaultCaller, `"nine9"`, "there are one1, two1")
		_, _, _, err = f.Driver(t.Context(), "bad1")
		if e := mustBe(t, err, core.KindUnavailable, core.FaultWorker, "bad1", "the interpreter is missing"); !e.Retryable {
			t.Error("not retryable")
		}
		infos := f.Snapshot()
		if len(infos) != 3 || infos[0].Language != "bad" || infos[0].Error != "the interpreter is missing" || infos[0].Restarts != 0 || infos[1].Error != "" {
			t.Errorf("Snapshot: %+v", infos)
		}
		g.mu.Lock()
		delete(g.broken, "bad") // fixed, and found out by itself
		g.mu.Unlock()
		time.Sleep(10 * time.Second)
		if _, _, _, err := f.Driver(t.Context(), "bad1"); err != nil {
			t.Error(err)
		}
		// A driver that ran and does not start again is told of at once.
		g.mu.Lock()
		g.broken["one"] = errors.New("the disk is gone")
		g.mu.Unlock()
		g.latest("one").Die()
		synctest.Wait()
		began := time.Now()
		_, _, _, err = f.Driver(t.Context(), "one1")
		mustBe(t, err, core.KindUnavailable, core.FaultWorker, "the disk is gone")
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		none := newGarage().fleet(t, nil)
		_, _, _, err = none.Driver(t.Context(), "one1")
		mustBe(t, err, core.KindUnsupported, core.FaultCaller, "none on this machine")
	})
}

func TestFleetRuntimesClaimedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		g.runtime["alpha"] = []core.RuntimeID{"x1", "x2"}
		g.runtime["beta"] = []core.RuntimeID{"x2", "x3"}
		f := g.fleet(t, nil, "beta", "alpha")
		for id, language := range map[core.RuntimeID]string{"x1": "alpha", "x2": "alpha", "x3": "beta"} {
			if d, _, _, err := f.Driver(t.Context(), id); err != nil || d != core.Driver(g.latest(language)) {
				t.Errorf("%s is not from %s: %v", id, language, err)
			}
		}
		infos := f.Snapshot()
		if infos[0].Error != "" || !strings.Contains(infos[1].Error, "x2") || !strings.Contains(infos[1].Error, driver.Prefix+"alpha") || strings.Contains(infos[1].Error, "x3") {
			t.Errorf("Snapshot: %+v", infos)
		}
	})
}

func TestFleetRefusesAWrongName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := driver.OpenFleetWith(t.Context(), []string{"/drivers/" + driver.Prefix + "one.old"},
			driver.FleetOptions{Options: driver.Options{Log: slog.New(slog.DiscardHandler)}},
			func(context.Context, string) (driver.Life, error) {
				return drivertest.New(drivertest.Described("one", "one1")), nil
			})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if info := f.Snapshot()[0]; !strings.Contains(info.Error, `"one"`) || !strings.Contains(info.Error, "must be named "+driver.Prefix+"one") {
			t.Errorf("Snapshot: %+v", info)
		}
	})
}

func TestFleetClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		f := g.fleet(t, func(string, int) { t.Error("OnLost was called for Close") }, "one")
		f.Close()
		if !g.latest("one").Closed() {
			t.Error("the driver was not closed")
		}
		_, _, _, err := f.Driver(t.Context(), "one1")
		mustBe(t, err, core.KindUnavailable, core.FaultWorker, "stopping")
	})
}

func TestFleetOverTheWire(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "fake")
	install(t, dir, "plain")
	if err := os.WriteFile(filepath.Join(dir, driver.Prefix+"zbad"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other-program"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	type loss struct {
		language   string
		generation int
	}
	lost := make(chan loss, 1)
	f, err := driver.OpenFleet(t.Context(), dir, driver.FleetOptions{
		Options: driver.Options{Dir: shortDir(t), Log: slog.New(slog.DiscardHandler)},
		OnLost:  func(language string, generation int) { lost <- loss{language, generation} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	infos := f.Snapshot()
	if len(infos) != 3 || infos[0].Error != "" || infos[1].Error != "" || !strings.Contains(infos[2].Error, "exit status 1") {
		t.Fatalf("Snapshot: %+v", infos)
	}
	_, _, generation, err := f.Driver(t.Context(), "fake1")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(infos[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-lost:
		if got != (loss{"fake", generation}) {
			t.Errorf("OnLost was told %v", got)
		}
	case <-time.After(patience):
		t.Fatal("OnLost was not called")
	}
	d, _, next, err := f.Driver(t.Context(), "fake1")
	if err != nil || next == generation {
		t.Fatalf("after the restart: generation %d, %v", next, err)
	}
	if err := d.Preload(t.Context(), "a", "fake1", sandbox("a")); err != nil {
		t.Error(err)
	}
	if after := f.Snapshot()[0]; after.Restarts != 1 || after.PID == infos[0].PID || after.Error != "" {
		t.Errorf("Snapshot: %+v", after)
	}
}

func TestFleetOpening(t *testing.T) {
	_, err := driver.OpenFleet(t.Context(), "/opt/none", driver.FleetOptions{})
	mustBe(t, err, core.KindNotFound, core.FaultWorker, "/opt/none")

	dir := t.TempDir()
	install(t, dir, "mute")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = driver.OpenFleet(ctx, dir, driver.FleetOptions{Options: driver.Options{Dir: shortDir(t), Log: slog.New(slog.DiscardHandler)}})
	mustBe(t, err, core.KindTimeout, core.FaultWorker)
}

// Who has seen a call fail because the driver died must not get that driver again, however soon it asks.
func TestDeadDriverIsNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGarage()
		f := g.fleet(t, nil, "x")
		for range 100 {
			dead := g.latest("x")
			dead.Die()
			d, _, _, err := f.Driver(t.Context(), "x1")
			if err != nil || d == core.Driver(dead) {
				t.Fatalf("%v %v", d == core.Driver(dead), err)
			}
			time.Sleep(time.Hour) // a steady life
		}
		f.Close()
	})
}
