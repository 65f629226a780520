package supply

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMeasure(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "large"), 4<<20)
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	empty, _, _ := measure(dir)
	write(t, filepath.Join(dir, "below", "file"), 1<<20)
	if err := errors.Join(os.Link(filepath.Join(dir, "below", "file"), filepath.Join(dir, "again")), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if got, special, _ := measure(dir); got-empty < 1<<20 || got-empty > 1<<20+64<<10 || special != "" {
		t.Errorf("%d bytes and not 1 MiB, and %q", got-empty, special)
	}
	if got, _, _ := measure(filepath.Join(dir, "none")); got != 0 {
		t.Errorf("%d bytes in nothing", got)
	}
}

func TestDiskWatch(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "before"), 2<<20)
	if err := watchDisk("f", dir, 1<<20, 0, func() { t.Error("killed") }).stop(); err != nil {
		t.Errorf("an installation that takes nothing: %v", err)
	}
	ended := make(chan struct{})
	w := watchDisk("f", dir, 1<<20, 0, func() { close(ended) })
	write(t, filepath.Join(dir, "after"), 2<<20)
	expectEnd(t, w, ended, core.KindInstall, core.FaultCaller, "more than 1 MiB of disk")

	ended = make(chan struct{})
	w = watchDisk("f", dir, 1<<40, 1<<61, func() { close(ended) })
	expectEnd(t, w, ended, core.KindExhausted, core.FaultWorker, "disk of the worker is full")
}

// Deploys leave a part of the disk free, however small each of them is.
func TestCheckRoom(t *testing.T) {
	dir := t.TempDir()
	if err := checkRoom(dir, 1); err != nil {
		t.Error(err)
	}
	err := checkRoom(dir, 1<<61)
	if e := core.AsError(err); err == nil || e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !strings.Contains(e.Message, "disk of the worker is full") {
		t.Error(err)
	}
	if got := kept(0, 1<<30); got != 1<<30/20 {
		t.Errorf("of 1 GiB %d are left", got)
	}
	if got := kept(0, 1<<50); got != keptFree {
		t.Errorf("of a large disk %d are left", got)
	}
}

// Whoever opens a fifo waits until somebody writes to it: a driver that examines what was made would wait
// until its time is over.
func TestDiskWatchFindsFifos(t *testing.T) {
	t.Parallel()
	dir, ended := t.TempDir(), make(chan struct{})
	if err := unix.Mkfifo(filepath.Join(dir, "module.so"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, watchDisk("f", dir, 1<<40, 0, func() { close(ended) }), ended, core.KindInstall, core.FaultCaller, `has made "module.so", which is a fifo;`)
}

func expectEnd(t *testing.T, w *diskWatch, ended chan struct{}, kind core.Kind, fault core.Fault, says string) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Errorf("it goes on, and not %s", says)
	}
	err := w.stop()
	if e := core.AsError(err); err == nil || e.Kind != kind || e.Fault != fault || !strings.Contains(e.Message, says) {
		t.Errorf("%v, which does not say %q", err, says)
	}
}
