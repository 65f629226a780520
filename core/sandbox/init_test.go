package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// generations starts an instance below a root zygote, and one below a zygote that was forked from it.
func generations(t *testing.T, h *rig) map[string][2]child {
	t.Helper()
	root := h.launch(t, h.config(core.RoleZygote))
	second := h.fork(t, root, h.config(core.RoleZygote))
	third := h.fork(t, second, h.config(core.RoleZygote))
	out := map[string][2]child{}
	for name, zygote := range map[string]child{"a root zygote": root, "a zygote of it": second, "a zygote of that": third} {
		out[name] = [2]child{zygote, h.fork(t, zygote, h.config(core.RoleInstance))}
	}
	return out
}

func TestInitReapsOrphans(t *testing.T) {
	h := newRig(t)
	for name, pair := range generations(t, h) {
		for _, c := range pair { // also what is imported may leave processes behind
			if got := c.ask(t, "orphans 300"); got != "0 failed" {
				t.Errorf("below %s, of 300 processes that were left behind %s", name, got)
			}
		}
	}
}

// Processes are no strangers to signals that they send themselves.
func TestSignalsToOneself(t *testing.T) {
	coretest.Requires(t, exits)
	h := newRig(t)
	for name, pair := range generations(t, h) {
		for words, want := range map[string]unix.Signal{"abort": unix.SIGABRT, "signal 15": unix.SIGTERM, "signal 10": unix.SIGUSR1, "crash": unix.SIGILL} {
			zygote := pair[0]
			c := h.fork(t, zygote, h.config(core.RoleInstance))
			if _, err := c.try(words); err == nil {
				t.Errorf("below %s, a process survives %q", name, words)
				continue
			}
			<-c.Done()
			if got := c.Exit(); got != (core.Exit{Known: true, Signal: int(want)}) {
				t.Errorf("below %s, after %q: %+v", name, words, got)
			}
		}
	}
}

// What a process has started ends with it, whether it ends by itself or is killed, and also with the zygote's
// end.
func TestNothingOutlivesTheProcess(t *testing.T) {
	h := newRig(t)
	for _, how := range []string{"exit 0", "crash", "kill", "zygote"} {
		zygote := h.launch(t, h.config(core.RoleZygote))
		c := h.fork(t, zygote, h.config(core.RoleInstance))
		for range 5 {
			c.ask(t, "leave 1")
		}
		left := members(c.cgroup.dirs[0])
		if len(left) != 7 {
			t.Errorf("%v are in the sandbox of a process with init and five children", left)
		}
		switch how {
		case "kill":
			c.Kill()
		case "zygote":
			_, _ = zygote.try("exit 1")
		default:
			_, _ = c.try(how)
		}
		gone(t, c.Sandbox)
		for _, pid := range left {
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && !strings.Contains(string(text), "State:\tZ") {
				t.Errorf("after %q process %d lives on:\n%s", how, pid, text)
			}
		}
	}
}

// Init is a process of the zygote's, in the zygote's directories. Nobody else looks into it, nor its own
// zygote.
func TestNobodyLooksIntoInit(t *testing.T) {
	h := newRig(t)
	for name, pair := range generations(t, h) {
		for i, c := range pair {
			for _, file := range []string{"environ", "maps", "auxv"} {
				if text := c.ask(t, "cat /proc/1/"+file); text != "error: Permission denied" && text != "error: Operation not permitted" && text != "empty" {
					t.Errorf("below %s, %d reads /proc/1/%s: %.100q", name, i, file, text)
				}
			}
			for _, file := range []string{"mem", "root/tmp", "cwd/tmp", "fd/0", "exe", "ns/mnt"} {
				if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/1/"+file, unix.O_RDONLY, 0); !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
					t.Errorf("below %s, %d opens /proc/1/%s: %v", name, i, file, err)
				}
			}
			if got := c.ask(t, "ls /proc/1/fd"); strings.Contains(got, "/") {
				t.Errorf("below %s, %d sees the descriptors of init: %s", name, i, got)
			}
			if err := c.call(t, unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0); !errors.Is(err, unix.EPERM) {
				t.Errorf("below %s, %d traces init: %v", name, i, err)
			}
			for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP, unix.SIGTERM} {
				_ = c.call(t, unix.SYS_KILL, 1, int(signal))
			}
			if c.ask(t, "cat /proc/self/comm") == "" || len(words(t, c, "NSpid")) == 0 {
				t.Errorf("below %s, %d has ended its sandbox", name, i)
			}
			if got := c.ask(t, "cat /proc/1/cmdline"); !strings.HasPrefix(got, "init") {
				t.Errorf("the first process is %q", got)
			}
		}
	}
}

// No process has the pid of one that it was forked from, near or far, for by that libraries notice a fork;
// nor have the first processes that an instance forks.
func TestPidsChange(t *testing.T) {
	h := newRig(t)
	own := func(c child) string { return words(t, c, "NSpid")[0] }
	var before []string
	zygote := h.launch(t, h.config(core.RoleZygote))
	for range 4 {
		mine, its := own(zygote), own(h.fork(t, zygote, h.config(core.RoleInstance)))
		if number, err := strconv.Atoi(mine); err != nil || number < 10000 || slices.Contains(before, mine) || its != "2" {
			t.Errorf("a zygote with the pid %s, below %q, has forked an instance with the pid %s", mine, before, its)
		}
		before, zygote = append(before, mine), h.fork(t, zygote, h.config(core.RoleZygote))
	}
}
