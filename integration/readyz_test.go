package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does a worker say that it can start functions when it can, and only then?

// readyz asks whether the worker is ready.
func (w *worker) readyz(t testing.TB) (status int, now core.Readiness) {
	t.Helper()
	a := w.ask(t, http.MethodGet, "/readyz", nil)
	return a.status, decode[core.Readiness](t, a)
}

// waitReady waits until the worker is ready, or until that part is in the way, for that reason.
func (w *worker) waitReady(t testing.TB, part, why string) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("the worker is ready, or not because of %q", part), func() bool {
		status, now := w.readyz(t)
		if part == "" {
			return status == http.StatusOK && now.Ready
		}
		return status == http.StatusServiceUnavailable && !now.Ready && strings.Contains(now.Parts[part], why)
	})
}

// TestReadyWithoutDriver takes a driver away: the worker is not ready, says which language it cannot start,
// and is ready when the driver is back.
func TestReadyWithoutDriver(t *testing.T) {
	system(t)
	dir, name := t.TempDir(), "pipsqueak-driver-python"
	for _, one := range []string{name, "libexec"} {
		if err := os.Symlink(filepath.Join(programs(t), one), filepath.Join(dir, one)); err != nil {
			t.Fatal(err)
		}
	}
	w := startWorker(t, t.TempDir(), "--drivers", dir)
	w.waitReady(t, "", "")
	pid := w.snapshot(t).Drivers[0].PID
	if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	kill9(t, pid)
	w.waitReady(t, "python", name)
	if a := w.ask(t, http.MethodGet, "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("it is alive: %v", a)
	}
	if text := string(w.ask(t, http.MethodGet, "/metrics", nil).body); !strings.Contains(text, `pipsqueak_ready{part="python"} 0`) || !strings.Contains(text, `pipsqueak_ready{part="disk"} 1`) {
		t.Error("the metrics do not say so")
	}
	if err := os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	w.waitReady(t, "", "")
}

// TestReadyWithFullDisk fills the disk.
func TestReadyWithFullDisk(t *testing.T) {
	w, data := smallDisk(t, 24)
	w.waitReady(t, "", "")
	empty := fill(t, data)
	w.waitReady(t, "disk", "full")
	empty()
	w.waitReady(t, "", "")
}

// TestReadyWhileStopping stops a worker under load. Until the running event has ended, whoever comes learns
// that the worker is about to end.
func TestReadyWhileStopping(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "running", handlerFile(sleeper))
	w.deploy(t, "others", handlerFile(echo))
	w.waitReady(t, "", "")
	pending := inFlight(t, w, "running", `{"s": 4}`)
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.waitReady(t, "draining", "the worker is stopping")
	w.run(t, "others", `1`).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
	w.put(t, "others", handlerFile(echo)).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
	if a := w.ask(t, http.MethodGet, "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("it is alive: %v", a)
	}
	if a := <-pending; a.status != http.StatusOK {
		t.Errorf("the event that ran: %v", a)
	}
	<-w.done
	if w.err != nil {
		t.Errorf("the worker ended with %v", w.err)
	}
}
