package worker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/sched"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// TestSample damages a package that a function has, one that none has, and code. Nobody asks for a verification: each is found when it is
// its turn, told of and kept from everybody, and what can be done without a driver is done.
func TestSample(t *testing.T) {
	w, log := advised(t, nil, "")
	var err error
	if w.fleet, err = driver.OpenFleet(t.Context(), t.TempDir(), driver.FleetOptions{}); err != nil {
		t.Fatal(err)
	}
	w.house = &house{store: w.store, live: map[core.NodeID]living{}}
	w.tree = tree.New(tree.Config{Log: w.log, Deployed: w.store.Deployed}, fleetDrivers{w.fleet}, w.house)
	w.sched = sched.New(sched.Config{MaxInstances: 1, Log: w.log, Deployed: w.store.Deployed}, w.tree)
	w.keeper.ctx = t.Context()
	t.Cleanup(func() {
		w.sched.Close(context.Background())
		if err := w.tree.Close(context.Background()); err != nil {
			t.Error(err)
		}
		w.fleet.Close()
	})
	w.sample() // of nothing

	whole, used, unused, coded := put(t, w, "whole", ""), put(t, w, "used", ""), put(t, w, "unused", ""), put(t, w, "coded", "")
	if err := w.store.Delete("unused"); err != nil {
		t.Fatal(err)
	}
	flip := func(path string, err error) {
		t.Helper()
		path = filepath.Join(path, "x")
		text, readErr := os.ReadFile(path)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		text[0] ^= 1
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flip(w.store.PackagePath(used.Runtime, used.Packages[0].Digest))
	flip(w.store.PackagePath(unused.Runtime, unused.Packages[0].Digest))
	flip(w.store.CodePath(coded.Code))
	everything := func() {
		w.keeper.next = nil
		for range 8 { // four packages and four codes, unless one has been removed
			w.sample()
		}
	}
	everything()

	refused := func(fn core.Function) error { return w.store.Refused(fn.Runtime, fn.Code, fn.Packages) }
	for _, fn := range []core.Function{used, coded} {
		if err := refused(fn); !core.IsKind(err, core.KindUnavailable) || !strings.Contains(err.Error(), "x has other contents") {
			t.Errorf("%s is damaged: %v", fn.Name, err)
		}
	}
	if err := refused(whole); err != nil {
		t.Errorf("what is whole: %v", err)
	}
	if _, ok := w.store.Find("lang1", unused.Packages[0]); ok || len(w.store.Damaged()) != 3 {
		t.Errorf("what nobody uses is known: %v; damaged are %v", ok, w.store.Damaged())
	}
	for _, want := range []string{`package="used==1" `, `functions=[used]`, `no driver has the runtime`, `deploy coded again`, `it was removed: no function uses it`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	}
	if strings.Contains(log.String(), "whole==1") {
		t.Errorf("the log speaks of what is whole:\n%s", log)
	}
	// What is whole again is found to be.
	flip(w.store.PackagePath(used.Runtime, used.Packages[0].Digest))
	flip(w.store.CodePath(coded.Code))
	everything()
	for _, fn := range []core.Function{used, coded} {
		if err := refused(fn); err != nil {
			t.Errorf("%s is whole again: %v", fn.Name, err)
		}
	}
	// Nothing is held any longer.
	if err := w.store.Delete("whole"); err != nil {
		t.Fatal(err)
	}
	if dropped, err := w.store.Drop(whole.Packages[0].Digest); err != nil || !dropped {
		t.Errorf("what nobody uses cannot be dropped: %v %v", dropped, err)
	}
}
