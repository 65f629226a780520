package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What happens when the worker is short of descriptors or memory?

// TestFewDescriptors sends a worker more than its descriptors allow. Each event is answered soon, by its
// result or as one too many, and no zygote is blamed for it.
func TestFewDescriptors(t *testing.T) {
	system(t)
	data := t.TempDir()
	w, err := launch(exec.Command("prlimit", "--nofile=300:400", filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	w.deploy(t, "f", files{"handler.py": "import time\n\ndef handler(event, context):\n    time.sleep(0.05)\n    return event\n", "pipsqueak.yaml": "reuse: false\n"})
	forkStart(t, w, "f", `{}`)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.cmd.Process.Pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max open files 400 400") {
		t.Errorf("the worker has not raised its limit: %v\n%s", err, limits)
	}
	zygotes := func() (ids []core.NodeID) {
		for _, n := range w.snapshot(t).Nodes {
			if n.Role == core.RoleZygote {
				ids = append(ids, n.ID)
			}
		}
		return ids
	}
	before := zygotes()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 400 {
		group.Go(func() {
			a, err := w.do(ctx, http.MethodPost, "/run/f", strings.NewReader(`{}`))
			outcome := fmt.Sprint(err)
			if err == nil {
				outcome = fmt.Sprint(a.status)
				if a.status != http.StatusOK {
					if f := decode[struct{ Error core.Error }](t, a).Error; f.Kind != core.KindExhausted || !f.Retryable {
						outcome = a.String()
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			answers[outcome]++
		})
	}
	group.Wait()
	t.Logf("answers: %v", answers)
	if answers["200"] == 0 || answers["503"] == 0 || answers["200"]+answers["429"]+answers["503"] != 400 {
		t.Errorf("answers: %v", answers)
	}
	if after := zygotes(); !slices.Equal(before, after) {
		t.Errorf("zygotes before %v, and after %v", before, after)
	}
	if a := w.run(t, "f", `{}`); a.status != http.StatusOK || a.header.Get("Pipsqueak-Start") != "fork" {
		t.Errorf("after all: %v", a)
	}
}

// TestMemoryOfService runs a worker in a cgroup with little memory, as with MemoryMax=: the budget goes by
// it, and an instance that is killed by it is not told to be over its own limit.
func TestMemoryOfService(t *testing.T) {
	system(t)
	const limit = 512 << 20
	name := fmt.Sprintf("integration-service-%d", os.Getpid())
	dir, file := filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes"
	unified := false
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		unified, dir, file = true, filepath.Join("/sys/fs/cgroup", name), "memory.max"
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, patience, "the cgroup is empty", func() bool {
			_ = os.Remove(filepath.Join(dir, "worker"))
			return os.Remove(dir) == nil
		})
	})
	if unified { // as systemd marks it with Delegate=yes
		if err := syscall.Setxattr(dir, "trusted.delegate", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(fmt.Sprint(limit)), 0); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	w, err := launch(exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs"; exec "$@"`, dir, filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	if got := w.snapshot(t).Budget; got != limit/4*3 {
		t.Errorf("the budget is %d of %d", got, limit)
	}
	w.deploy(t, "eats", files{"handler.py": "def handler(event, context):\n    return len(bytearray(event << 20).replace(b'\\0', b'x')) >> 20\n", "pipsqueak.yaml": "memory_mb: 4096\n"})
	if got := result[int](t, w, "eats", `10`); got != 10 {
		t.Error(got)
	}
	before := w.leaves(t, "eats")
	if f := w.run(t, "eats", `1000`).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable); !f.Retryable {
		t.Errorf("%+v, of %v", f, before)
	}
	if got := result[int](t, w, "eats", `10`); got != 10 {
		t.Errorf("afterwards: %d", got)
	}
}
