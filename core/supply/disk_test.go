package supply

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBytesIn(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "large"), 4<<20)
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	empty := bytesIn(dir)
	write(t, filepath.Join(dir, "below", "file"), 1<<20)
	if err := errors.Join(os.Link(filepath.Join(dir, "below", "file"), filepath.Join(dir, "again")), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if got := bytesIn(dir) - empty; got < 1<<20 || got > 1<<20+64<<10 {
		t.Errorf("%d bytes and not 1 MiB", got)
	}
	if got := bytesIn(filepath.Join(dir, "none")); got != 0 {
		t.Errorf("%d bytes in nothing", got)
	}
}

func TestDiskWatch(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "before"), 2<<20)
	if err := watchDisk("f", dir, 1<<20, func() { t.Error("killed") }).stop(); err != nil {
		t.Errorf("an installation that takes nothing: %v", err)
	}
	ended := make(chan struct{})
	w := watchDisk("f", dir, 1<<20, func() { close(ended) })
	write(t, filepath.Join(dir, "after"), 2<<20)
	expectEnd(t, w, ended, core.KindInstall, core.FaultCaller, "more than 1 MiB of disk")

	ended = make(chan struct{})
	w = &diskWatch{function: "f", dir: dir, limit: 1 << 40, floor: 1 << 61, stopped: make(chan struct{}), verdict: make(chan error, 1)}
	go w.run(func() { close(ended) })
	expectEnd(t, w, ended, core.KindExhausted, core.FaultWorker, "disk of the worker is full")
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
