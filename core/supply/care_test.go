package supply

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestSample damages a package that a function has, one that none has, and code. Nobody asks for a
// verification: each is found when it is its turn, told of and kept from everybody, and what can be done
// without a driver is done.
func TestSample(t *testing.T) {
	w, log := advised(t, nil, "")
	w.down = core.Errorf(core.KindUnsupported, core.FaultCaller, "no driver has the runtime lang1")
	w.care.sample() // of nothing

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
		w.care.next = nil
		for range 8 { // four packages and four codes, unless one has been removed
			w.care.sample()
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
	// What is known to be damaged is not reported again, and only the hourly round tries to repair it.
	reported := strings.Count(log.String(), "msg=quarantine")
	everything()
	if again := strings.Count(log.String(), "msg=quarantine"); again != reported {
		t.Errorf("%d lines about what is damaged, and %d after another look:\n%s", reported, again, log)
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
