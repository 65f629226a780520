package worker

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// count returns how often a method of the driver was called.
func (w *world) count(method drivertest.Method) (n int) {
	for _, c := range w.Calls() {
		if c.Method == method {
			n++
		}
	}
	return n
}

// A package that two functions have is installed once, however they come, and the second lock of the same manifest is the first one.
func TestDeploysShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.needs(locked("p", "1"), locked("q", "2"))
		w.during = func(drivertest.Method) { time.Sleep(time.Second) } // everything of one goes on beside the other
		functions := make([]core.Function, 3)
		var all sync.WaitGroup
		for i, name := range []string{"a", "b", "c"} {
			all.Go(func() {
				var err error
				if functions[i], err = w.deploy(t, name, "p q"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.count(drivertest.Install); n != 1 {
			t.Errorf("installed %d times", n)
		}
		for _, fn := range functions {
			if len(fn.Packages) != 2 || !slices.Equal(fn.Packages, functions[0].Packages) || fn.Version != 1 {
				t.Errorf("%+v", fn)
			}
		}
		resolved := w.count(drivertest.Resolve)
		lock, err := w.Lock(t.Context(), core.DeployRequest{Archive: archive(t, map[string]string{"needs.txt": "p q"})}, nil)
		if err != nil || len(lock.Packages) != 2 || w.count(drivertest.Resolve) != resolved+1 {
			t.Errorf("%+v, %v", lock, err)
		}
	})
}

// A deploy that fails with much to say says the beginning of it in the worker's log, and the function's log gets all of it.
func TestRefusedAtLength(t *testing.T) {
	w := newWorld(t, nil)
	put(t, w, "f", "")
	b := w.newBatch("", nil)
	b.function = "f"
	b.end(core.Errorf(core.KindInstall, core.FaultCaller, "%s", strings.Repeat("error\n", 100000)))
	if w.log.Len() > 2*maxRefusal || !strings.Contains(w.log.String(), "bytes left out") {
		t.Errorf("%d bytes in the worker's log", w.log.Len())
	}
	if notes := w.was(); len(notes) != 1 || !strings.HasPrefix(notes[0], "note f: a deploy failed: error\nerror\n") {
		t.Errorf("in the function's log: %.1000q", notes)
	}
}
