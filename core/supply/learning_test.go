package supply

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// After a deploy the packages are probed, and zygotes import what they may from then on; what a probe has
// seen holds for the next function.
func TestPrepareLater(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.Modules = map[string]drivertest.Module{"good": {Took: time.Second}, "threads": {Threads: 2}, "broken": {Err: errors.New("no such file")}}
		w.needs(locked("good", "1"), locked("threads", "1"), locked("broken", "1"))
		w.Resolution.Imports = []string{"good", "threads", "broken"}
		fn := w.must(t, "f", "all")
		for _, module := range fn.Imports {
			if !strings.HasSuffix(fn.Apart[module], unprobed) {
				t.Errorf("when it is deployed %s is apart for %q", module, fn.Apart[module])
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		now, _ := w.store.Get("f")
		if now.Apart["good"] != "" || !strings.Contains(now.Apart["threads"], "starts 2 threads") || now.Apart["broken"] == "" {
			t.Errorf("it has apart %q", now.Apart)
		}
		if !slices.Contains(now.Imports, "good") || slices.Contains(now.Imports, "broken") {
			t.Errorf("it imports %q", now.Imports)
		}
		was := w.was("try", "drain")
		if !slices.Contains(was, "preload f") || !slices.Contains(was, "correct f 1") {
			t.Errorf("what lives was asked %q", was)
		}
		probes := w.count(drivertest.Preload)
		if probes == 0 {
			t.Error("nothing was probed")
		}
		next := w.must(t, "g", "all")
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.count(drivertest.Preload) != probes || waits(&next) {
			t.Errorf("probed again: %d times, not %d; apart %q", w.count(drivertest.Preload), probes, next.Apart)
		}
	})
}

// A deploy that is to be ready waits for all of that, and says what it waits for.
func TestPrepareNow(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.Modules = map[string]drivertest.Module{"p": {Took: time.Second}}
		w.needs(locked("p", "1"))
		w.Resolution.Imports, w.unready = []string{"p"}, "its zygote is not made yet"
		var verbs []string
		request := core.DeployRequest{Name: "f", Ready: true, Archive: archive(t, map[string]string{"needs.txt": "p"})}
		fn, err := w.Deploy(t.Context(), request, func(p core.Progress) {
			if !slices.Contains(verbs, p.Verb) {
				verbs = append(verbs, p.Verb)
			}
		})
		if err != nil || waits(&fn) || fn.Unready != w.unready {
			t.Errorf("%+v, %v", fn, err)
		}
		if want := []string{"resolve", "install", "probe", "preload", "import"}; !slices.Equal(verbs, want) {
			t.Errorf("it says %q, want %q", verbs, want)
		}
	})
}

// What an instance has imported besides is tried once, by however many instances it is told, and corrects the
// deployed version.
func TestLoaded(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"))
		fn := w.must(t, "f", "p")
		time.Sleep(time.Minute)
		synctest.Wait()
		w.was()
		tried := w.count(drivertest.Preload)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { w.Loaded(&fn, []string{"p.lazy", "nobodys"}) })
		}
		all.Wait()
		if now, _ := w.store.Get("f"); !slices.Equal(now.Loaded, []string{"p.lazy"}) {
			t.Errorf("it is known to load %q", now.Loaded)
		}
		if n := w.count(drivertest.Preload) - tried; n != 1 {
			t.Errorf("tried %d times", n)
		}
		w.mu.Lock()
		w.down = core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver starts again").Again()
		w.mu.Unlock()
		w.Loaded(&fn, []string{"p.later"})
		w.mu.Lock()
		w.down = nil
		w.mu.Unlock()
		for range 2 {
			w.Loaded(&fn, []string{"p.later"})
		}
		if now, _ := w.store.Get("f"); !slices.Equal(now.Loaded, []string{"p.lazy", "p.later"}) || w.count(drivertest.Preload)-tried != 2 {
			t.Errorf("after its driver was down, it is known to load %q, tried %d times", now.Loaded, w.count(drivertest.Preload)-tried)
		}
		if was := w.was(); !slices.Equal(was, []string{"preload f", "correct f 1", "preload f", "correct f 1"}) {
			t.Errorf("what lives was asked %q", was)
		}
		next := w.must(t, "f", "p")
		if !slices.Equal(next.Loaded, []string{"p.lazy", "p.later"}) {
			t.Errorf("the next version is known to load %q", next.Loaded)
		}
		w.Loaded(&fn, []string{"p.other"})
		if now, _ := w.store.Get("f"); now.Version != 2 || slices.Contains(now.Loaded, "p.other") && now.Loaded == nil {
			t.Errorf("%+v", now)
		}
	})
}

// What goes on in the background ends with the supply, and nothing begins afterwards.
func TestCloseEndsLearning(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.Arrange(drivertest.Preload, drivertest.Behaviour{Hang: true})
		w.needs(locked("p", "1"))
		fn := w.must(t, "f", "p")
		began := time.Now()
		w.Supply.Close()
		if time.Since(began) > time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
		before := len(w.Calls())
		w.Loaded(&fn, []string{"p.lazy"})
		w.prepareLater(fn, nil)
		w.watchLater(fn)
		synctest.Wait()
		if now := len(w.Calls()); now != before {
			t.Errorf("%d calls after the end", now-before)
		}
		if _, ok := w.learning.enter(); ok {
			t.Error("work begins after the end")
		}
	})
}

// The next worker goes on where one has ended before it was done.
func TestStartGoesOn(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"))
		w.Resolution.Imports = []string{"p"}
		w.learning.cancel() // as if it had ended with the deploy
		fn := w.must(t, "f", "p")
		synctest.Wait()
		if !waits(&fn) || w.count(drivertest.Preload) > 0 {
			t.Fatalf("%+v", fn)
		}
		w.learning.ctx, w.learning.cancel = context.WithCancel(context.Background())
		w.Teach()
		w.Start()
		time.Sleep(time.Minute)
		synctest.Wait()
		if now, _ := w.store.Get("f"); waits(&now) || now.Apart != nil || w.count(drivertest.Preload) == 0 {
			t.Errorf("%+v", now)
		}
	})
}
