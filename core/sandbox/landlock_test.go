package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

var landlock = coretest.Need{Name: "Landlock of version 6", Met: func() error {
	version, err := landlockVersion()
	if err == nil && version < landlockWhole {
		err = fmt.Errorf("it has version %d", version)
	}
	return err
}}

// landlocked starts an instance and an installer under a version of Landlock, and makes the mounts of the
// instance writable, from outside.
func landlocked(t *testing.T, version uint32) (instance, installer child) {
	t.Helper()
	h := newRig(t)
	if version < h.landlock {
		h.landlock = version
	}
	instance = h.fork(t, h.launch(t, h.config(core.RoleZygote)), h.config(core.RoleInstance))
	for _, mounted := range []string{core.CodeDir, "/opt/probe", "/"} {
		out, err := exec.Command("nsenter", "-t", strconv.Itoa(instance.pid), "-m", "mount", "-o", "remount,bind,rw", mounted).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	config := h.config(core.RoleInstaller)
	out := t.TempDir()
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	config.Mounts = []core.Mount{{Source: out, Target: core.OutDir, Writable: true}}
	return instance, h.launch(t, config)
}

// opened opens a file as a program does that writes to it.
func opened(t *testing.T, c child, path string) error {
	t.Helper()
	return c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
}

// The mounts of an instance keep it from writing. Here they are taken down, and what has kept it is Landlock:
// without that it writes.
func TestLandlockHoldsWithoutMounts(t *testing.T) {
	coretest.Requires(t, root, coretest.Compiler(), landlock)
	for _, version := range []uint32{0, 2, 3, 5, 6, 7} {
		t.Run(strconv.Itoa(int(version)), func(t *testing.T) {
			instance, _ := landlocked(t, version)
			var want error
			if version > 0 {
				want = unix.EACCES
			}
			if err := opened(t, instance, core.CodeDir+"/open"); !errors.Is(err, want) {
				t.Errorf("its code: %v, not %v", err, want)
			}
			if err := instance.call(t, unix.SYS_TRUNCATE, core.CodeDir+"/open", 1); version >= 3 && !errors.Is(err, unix.EACCES) || version == 0 && err != nil {
				t.Errorf("a shorter file of its code: %v", err)
			}
			// Read and changed as always.
			for _, path := range []string{"/etc/passwd", core.CodeDir + "/open", "/proc/self/status", "/usr/bin/env"} {
				if err := instance.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
					t.Errorf("reading %s: %v", path, err)
				}
			}
			for _, path := range []string{"/dev/null", "/dev/zero", "/proc/self/comm", "/proc/self/oom_score_adj"} {
				if err := opened(t, instance, path); err != nil {
					t.Errorf("writing to %s: %v", path, err)
				}
			}
		})
	}
}

func TestLandlockLetsProgramsWork(t *testing.T) {
	coretest.Requires(t, root, coretest.Compiler(), landlock)
	for _, version := range []uint32{2, 3, 5, 6, 7} {
		t.Run(strconv.Itoa(int(version)), func(t *testing.T) {
			instance, installer := landlocked(t, version)
			for who, c := range map[string]struct {
				child
				dirs []string
			}{"an instance": {instance, []string{core.ScratchDir}}, "an installer": {installer, []string{core.ScratchDir, core.OutDir}}} {
				for _, dir := range c.dirs {
					for _, r := range []struct {
						number uintptr
						args   []any
					}{
						{unix.SYS_MKDIRAT, []any{unix.AT_FDCWD, dir + "/a", 0o777}},
						{unix.SYS_MKDIRAT, []any{unix.AT_FDCWD, dir + "/b", 0o777}},
						{unix.SYS_OPENAT, []any{unix.AT_FDCWD, dir + "/a/f", unix.O_CREAT | unix.O_RDWR | unix.O_CLOEXEC, 0o666}},
						{unix.SYS_TRUNCATE, []any{dir + "/a/f", 10}},
						{unix.SYS_LINKAT, []any{unix.AT_FDCWD, dir + "/a/f", unix.AT_FDCWD, dir + "/b/linked", 0}},
						{unix.SYS_RENAMEAT, []any{unix.AT_FDCWD, dir + "/a/f", unix.AT_FDCWD, dir + "/b/moved"}},
						{unix.SYS_SYMLINKAT, []any{"f", unix.AT_FDCWD, dir + "/a/s"}},
						{unix.SYS_MKNODAT, []any{unix.AT_FDCWD, dir + "/a/fifo", unix.S_IFIFO | 0o600, 0}},
						{unix.SYS_UNLINKAT, []any{unix.AT_FDCWD, dir + "/b/moved", 0}},
					} {
						if err := c.call(t, r.number, r.args...); err != nil {
							t.Errorf("version %d, %s: system call %d %v: %v", version, who, r.number, r.args, err)
						}
					}
				}
				if text := c.ask(t, "terminal"); !strings.HasPrefix(text, "/dev/pts/") {
					t.Errorf("version %d, %s has no terminal: %s", version, who, text)
				}
			}
		})
	}
}

// A process of the same user in the same network and pid namespaces is out of reach when it is not the
// sandbox's own.
func TestLandlockScopes(t *testing.T) {
	coretest.Requires(t, root, coretest.Compiler(), landlock)
	for _, version := range []uint32{0, landlockWhole} {
		t.Run(strconv.Itoa(int(version)), func(t *testing.T) {
			instance, _ := landlocked(t, version)
			var want error
			if version > 0 {
				want = unix.EPERM
			}
			before := pids(t, instance)
			uid := words(t, instance, "Uid")[0]
			other := exec.Command("nsenter", "-t", strconv.Itoa(instance.pid), "-U", "-p", "-m", "--setuid", uid, "--setgid", words(t, instance, "Gid")[0], "sleep", "60")
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			var stranger int
			for deadline := time.Now().Add(patience); stranger == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				for _, pid := range pids(t, instance) {
					if !slices.Contains(before, pid) && strings.Contains(instance.ask(t, fmt.Sprintf("cat /proc/%d/comm", pid)), "sleep") {
						stranger = pid
					}
				}
			}
			if err := instance.call(t, unix.SYS_KILL, stranger, 0); stranger == 0 || !errors.Is(err, want) {
				t.Errorf("version %d: a signal to process %d, a stranger: %v, not %v", version, stranger, err, want)
			}
			if err := instance.call(t, unix.SYS_KILL, 2, 0); err != nil {
				t.Errorf("version %d: a signal to itself: %v", version, err)
			}
			_ = other.Process.Kill() // the stranger itself ends with the sandbox
			_ = other.Wait()
		})
	}
}

// pids are the numbers of the processes that a process sees.
func pids(t *testing.T, c child) (out []int) {
	t.Helper()
	for line := range strings.Lines(c.ask(t, "ls /proc")) {
		name, _, _ := strings.Cut(line, " ")
		if pid, err := strconv.Atoi(strings.TrimSpace(name)); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

func TestDoctorSaysWhichLandlock(t *testing.T) {
	for _, r := range []struct {
		version uint32
		err     error
		status  core.Status
		says    string
	}{
		{0, unix.ENOSYS, core.StatusWarn, "none (function not implemented): only mounts"},
		{1, nil, core.StatusWarn, "version 1, which cannot be used"},
		{2, nil, core.StatusWarn, "version 2: files have a second wall, signals and abstract sockets have not"},
		{6, nil, core.StatusOK, "version 6, a second wall"},
		{9, nil, core.StatusOK, "version 9, a second wall"},
	} {
		f := landlockFinding(r.version, r.err)
		if f.Status != r.status || !strings.HasPrefix(f.Detail, r.says) || (f.Fix == "") != (r.status == core.StatusOK) {
			t.Errorf("version %d, %v: %+v", r.version, r.err, f)
		}
	}
}
