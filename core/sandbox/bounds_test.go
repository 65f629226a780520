package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What is queued in sockets counts for who queues it, also with cgroup v1, which counts it apart from all
// other memory.
func TestSocketBuffersAreBounded(t *testing.T) {
	h := newRig(t)
	for role, c := range everyRole(t, h) {
		for kind, name := range map[int]string{unix.SOCK_STREAM: "TCP", unix.SOCK_DGRAM: "UDP"} {
			var queued, errno int64
			if _, err := fmt.Sscan(c.ask(t, fmt.Sprintf("buffers %d 64", kind)), &queued, &errno); err != nil || errno != 0 {
				t.Fatal(err, unix.Errno(errno))
			}
			bound := *c.spec.Linux.Resources.Memory.KernelTCP
			if queued > bound {
				t.Errorf("%s: %d MiB are queued in 64 sockets of %s, of %d", role, queued>>20, name, bound>>20)
			}
			if queued < 1<<20 {
				t.Errorf("%s: only %d bytes are queued in 64 sockets of %s", role, queued, name)
			}
		}
	}
}

// Allowances of the kernel's that count for a user, and that one process could use up for all others.
func TestAllowances(t *testing.T) {
	h := newRig(t)
	for role, c := range everyRole(t, h) {
		unlimited := strings.Repeat("\xff", 16)
		for what, test := range map[string]struct {
			most   int
			number uintptr
			args   []any
		}{
			"timers":             {maxSignals, unix.SYS_TIMER_CREATE, []any{unix.CLOCK_MONOTONIC, 0, "12345678"}},
			"message queues":     {0, unix.SYS_MQ_OPEN, []any{"queue", unix.O_CREAT | unix.O_RDWR, 0o600, 0}},
			"more locked memory": {0, unix.SYS_PRLIMIT64, []any{0, unix.RLIMIT_MEMLOCK, unlimited, 0}},
			"more timers":        {0, unix.SYS_PRLIMIT64, []any{0, unix.RLIMIT_SIGPENDING, unlimited, 0}},
		} {
			n := 0
			for n <= test.most && c.call(t, test.number, test.args...) == nil {
				n++
			}
			if n > test.most {
				t.Errorf("%s: %s are not refused after %d", role, what, test.most)
			}
		}
	}
}

// All sandboxes together have bounds, whatever each of them may use, and the worker has its own.
func TestBoundsOfAll(t *testing.T) {
	coretest.Requires(t, root)
	before := ownCgroups()
	tree, err := openCgroups(fmt.Sprintf("pipsqueak-sandbox-test-%d-bounds", os.Getpid()), Bounds{Sandboxes: 64 << 20, Processes: 99, Worker: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range tree.worker {
		if !slices.Contains(members(dir), os.Getpid()) {
			t.Errorf("this process is not in %s", dir)
		}
	}
	files := map[string]string{filepath.Join(tree.parents["memory"], "memory.limit_in_bytes"): "67108864", filepath.Join(tree.parents["pids"], "pids.max"): "99"}
	if !tree.unified {
		// The worker has eight times the share of the processors that all sandboxes have together.
		files[filepath.Join(tree.worker[0], "memory.limit_in_bytes")] = "1073741824"
		files[filepath.Join(tree.worker[1], "cpu.shares")], files[filepath.Join(tree.parents["cpu"], "cpu.shares")] = "8192", "1024"
	} else {
		files = map[string]string{filepath.Join(tree.parents[""], "memory.max"): "67108864", filepath.Join(tree.parents[""], "pids.max"): "99"}
		for _, dir := range tree.worker {
			files[filepath.Join(dir, "memory.max")] = "1073741824"
			files[filepath.Join(dir, "cpu.weight")], files[filepath.Join(tree.parents[""], "cpu.weight")] = "800", "100"
		}
	}
	for file, want := range files {
		if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("%s is %s, %v, and not %s", file, text, err, want)
		}
	}
	if err := tree.clear(); err != nil {
		t.Error(err)
	}
	if after := ownCgroups(); tree.delegated == "" && !slices.Equal(after, before) {
		t.Errorf("afterwards it is in %q, and before it was in %q", after, before)
	}
	for _, dir := range tree.worker {
		if _, err := os.Stat(dir); tree.back && err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

// ownCgroups returns the lines of /proc/self/cgroup without hierarchies that workers mount, and unmount
// again, which may be others' that run beside.
func ownCgroups() []string {
	text, _ := os.ReadFile("/proc/self/cgroup")
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.Contains(line, ":name=pipsqueak-") })
}

// A zygote has as much memory as its config says, and more once it is allowed, but never less.
func TestAllow(t *testing.T) {
	h := newRig(t)
	config := h.config(core.RoleZygote)
	config.Limits.Memory = 32 << 20
	c := h.launch(t, config)
	c.Allow(128 << 20)
	c.Allow(16 << 20)
	if got := c.ask(t, "fill 150000000"); got != "filled" { // with the room of its files
		t.Error(got)
	}
	if _, err := c.try("fill 100000000"); err == nil {
		t.Error("a zygote has more memory than it may have")
	}
	<-c.Done()
	if !c.Exit().OutOfMemory {
		t.Errorf("%+v", c.Exit())
	}
	c.Allow(1 << 30) // of one that has ended: nothing happens
}
