package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does everything end when nobody else reaps?

// TestNobodyReaps has a worker be the first process of its pid namespace, as in a container without an init:
// whatever is orphaned below it, by the end of a driver or of a keeper, is reaped, and a sandbox ends
// although nobody reaps for it. What ran there is not blamed on the handler.
func TestNobodyReaps(t *testing.T) {
	system(t)
	data := t.TempDir()
	w, err := launch(exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			t.Logf("log of the worker:\n%s", w.logs)
		}
	})
	serve := descendants(w.cmd.Process.Pid)[1]
	w.deploy(t, "f", handlerFile(sleeper))
	result[string](t, w, "f", `{"s": 0}`)
	groups := trace{namespaces: map[string]bool{}, groups: map[string]uint64{}}
	for range 3 {
		pending := inFlight(t, w, "f", `{"s": 30}`)
		for _, pid := range descendants(serve) {
			groups.addGroups(pid)
			if _, parent, _, _ := stat(pid); isLauncher(pid) && !isLauncher(parent) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // a keeper, or a launcher that has ended
					t.Fatalf("kill -9 %d: %v", pid, err)
				}
			}
		}
		select {
		case a := <-pending:
			a.expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
		case <-time.After(20 * time.Second):
			t.Error("no answer 20 s after the keeper was killed")
		}
		result[string](t, w, "f", `{"s": 0}`)
	}
	for _, pid := range descendants(serve) {
		if strings.Contains(commandLine(pid), "pipsqueak-driver-python") {
			kill9(t, pid)
		}
	}
	result[string](t, w, "f", `{"s": 0}`)
	var left []string
	eventually(t, patience, "everything that has ended is reaped", func() bool {
		left = nil
		for _, pid := range allPIDs() {
			if state, parent, _, ok := stat(pid); ok && parent == serve && (state == "Z" || commandLine(pid) == "init") {
				left = append(left, fmt.Sprint(pid, " ", state, " ", commandLine(pid)))
			}
		}
		return len(left) == 0
	})
	if err := syscall.Kill(serve, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.done:
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	if left := groups.left(); w.err != nil || len(groups.groups) == 0 || len(left) > 0 {
		t.Errorf("it ended with %v, and of %d cgroups has left:\n%s", w.err, len(groups.groups), strings.Join(left, "\n"))
	}
}

func isLauncher(pid int) bool { return strings.Contains(commandLine(pid), "/pipsqueak-enter ") }
