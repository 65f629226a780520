package tree

import (
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Whoever asks learns whether processes can be made. One is made for that only when none was for a minute, or
// when making one has failed.
func TestShown(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		made := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.created }
		asks := func(told string) {
			t.Helper()
			if err := tr.Shown("lang1"); (err == nil) != (told == "") || err != nil && !strings.Contains(err.Error(), told) {
				t.Errorf("shown: %v; want %q", err, told)
			}
		}
		asks("no process of lang1 was made yet")
		asks("no process of lang1 was made yet")
		rest(time.Second)
		asks("")
		if made() != 2 || len(tr.Snapshot()) != 1 {
			t.Errorf("%d processes were made, and %d are left: it takes a root zygote and a fork", made(), len(tr.Snapshot()))
		}
		for range 59 {
			rest(time.Second)
			asks("")
		}
		if made() != 2 {
			t.Errorf("%d processes were made in a minute", made())
		}
		rest(2 * time.Second)
		asks("")
		rest(time.Second)
		if made() != 3 {
			t.Errorf("%d processes were made after a minute", made())
		}
		for range 5 {
			rest(30 * time.Second)
			n, _, _ := mustStart(t, tr, fn("f"))
			n.Kill()
			asks("")
		}
		rest(time.Second)
		if made() != 8 {
			t.Errorf("%d processes were made, though starts show that they can be", made()-3)
		}

		w.mu.Lock()
		w.hook = func(verb string, _ *box) error {
			return core.Errorf(core.KindUnsupported, core.FaultWorker, "no more processes")
		}
		w.mu.Unlock()
		if _, _, _, err := tr.Start(t.Context(), fn("f"), ""); err == nil {
			t.Error("a process was made")
		}
		asks("") // that may have been the function's
		rest(time.Second)
		asks("no more processes")
		w.mu.Lock()
		w.hook = nil
		w.mu.Unlock()
		rest(time.Second)
		asks("no more processes")
		rest(time.Second)
		asks("")

		w.mu.Lock()
		w.generation++
		w.mu.Unlock()
		tr.DriverLost(1)
		asks("no process of lang1 was made yet")
		rest(time.Second)
		asks("")
	})
}

// There is room for an instance in the place of what is idle, and none beside what is busy.
func TestRoom(t *testing.T) {
	within(t, 30<<20, func(t *testing.T, w *world, tr *Tree) {
		if !tr.Room() {
			t.Error("an empty tree has no room")
		}
		w.usage.Proportional = 20 << 20
		n, _, _ := mustStart(t, tr, fn("f"))
		rest(time.Minute)
		if tr.Room() {
			t.Error("there is room beside a busy instance")
		}
		if !n.Release(time.Now()) || !tr.Room() {
			t.Error("there is no room in the place of an idle instance")
		}
	})
}
