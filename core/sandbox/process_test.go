package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// exits are known from Linux 6.15 on.
var exits = coretest.Need{Name: "Linux 6.15", Met: func() error {
	if !tryExit(context.Background()) {
		return errors.New("the kernel does not tell how a process ended")
	}
	return nil
}}

func TestExits(t *testing.T) {
	coretest.Requires(t, exits)
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	for _, r := range []struct {
		how  string
		want core.Exit
	}{
		{"exit 0", core.Exit{Known: true}},
		{"exit 7", core.Exit{Known: true, Code: 7}},
		{"exit 255", core.Exit{Known: true, Code: 255}},
		{"crash", core.Exit{Known: true, Signal: int(unix.SIGILL)}},
		{"kill", core.Exit{Known: true, Signal: int(unix.SIGKILL)}},
	} {
		c := h.fork(t, zygote, h.config(core.RoleInstance))
		if r.how == "kill" {
			c.Kill()
		} else if _, err := c.try(r.how); err == nil {
			t.Errorf("%s: it answers", r.how)
		}
		<-c.Done()
		if got := c.Exit(); got != r.want {
			t.Errorf("%s: %+v and not %+v", r.how, got, r.want)
		}
	}
	if _, err := zygote.try("exit 9"); err == nil {
		t.Error("the zygote answers")
	}
	<-zygote.Done()
	if got := zygote.Exit(); got != (core.Exit{Known: true, Code: 9}) {
		t.Errorf("a zygote's end: %+v", got)
	}
}

// unreaped returns a process that has ended while its parent, the keeper, is stopped, and a function that
// lets that go on.
func unreaped(t *testing.T, h *rig) (child, func()) {
	t.Helper()
	c := h.launch(t, h.config(core.RoleZygote))
	if err := c.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() { _ = c.cmd.Process.Signal(unix.SIGCONT) }
	t.Cleanup(goOn)
	_, _ = c.try("exit 7")
	return c, goOn
}

// A machine that does much else may take its time until a parent runs, and reaps its child.
func TestExitIsKnownFromASlowParent(t *testing.T) {
	coretest.Requires(t, exits)
	h := newRig(t)
	c, goOn := unreaped(t, h)
	time.Sleep(60 * time.Millisecond)
	goOn()
	<-c.Done()
	if got := c.Exit(); got != (core.Exit{Known: true, Code: 7}) {
		t.Errorf("%+v", got)
	}
}

// A kernel that says nothing is not asked for long: each end of an instance would wait.
func TestExitThatIsNotTold(t *testing.T) {
	h := newRig(t)
	h.exitWait = exitWaitUntold
	c, _ := unreaped(t, h)
	began := time.Now()
	<-c.Done()
	if took := time.Since(began); c.Exit() != (core.Exit{}) || took > exitWait {
		t.Errorf("%+v after %v", c.Exit(), took)
	}
}

func TestExitIsUnknownWhenNobodyWaits(t *testing.T) {
	h := newRig(t)
	c, _ := unreaped(t, h)
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the sandbox waits for a parent to wait")
	}
	if got := c.Exit(); got != (core.Exit{}) {
		t.Errorf("%+v", got)
	}
}

func TestOutOfMemory(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	config := h.config(core.RoleInstance)
	config.Limits.Memory = 16 << 20
	c := h.fork(t, zygote, config)
	if got := c.ask(t, "fill 4000000"); got != "filled" {
		t.Error(got)
	}
	if _, err := c.try("fill 64000000"); err == nil {
		t.Error("a process has more memory than its limit")
	}
	<-c.Done()
	if !c.Exit().OutOfMemory {
		t.Errorf("%+v", c.Exit())
	}
	other := h.fork(t, zygote, h.config(core.RoleInstance))
	other.Kill()
	<-other.Done()
	if other.Exit().OutOfMemory {
		t.Error("a sibling was out of memory as well")
	}
}

func TestUsage(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	measure := func(c child) core.Usage {
		u, err := c.Usage()
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	zygote.ask(t, "fill 30000000")
	alone := measure(zygote)
	c := h.fork(t, zygote, h.config(core.RoleInstance))
	shared := measure(c)
	if alone.Private < 30e6 || shared.Proportional < 14e6 || shared.Private > 5e6 {
		t.Errorf("the zygote has %+v, its child %+v", alone, shared)
	}
	c.ask(t, "fill 20000000")
	// Of the shared part a kernel with large folios may say for a while that it is the child's alone.
	if more := measure(c); more.Private < shared.Private+19e6 || more.Proportional < 33e6 {
		t.Errorf("%+v, and with 20 MB more %+v", shared, more)
	}
	c.Kill()
	gone(t, c.Sandbox)
	if u := measure(c); u != (core.Usage{}) {
		t.Errorf("after its end %+v", u)
	}
	if u, err := usageOf([]int{1 << 30}); err != nil || u != (core.Usage{}) {
		t.Errorf("of no process: %+v, %v", u, err)
	}
	own, err := usageOf([]int{os.Getpid()})
	twice, err2 := usageOf([]int{os.Getpid(), os.Getpid()})
	if err != nil || err2 != nil || twice.Private < own.Private*3/2 {
		t.Errorf("%+v, of two of its like %+v: %v, %v", own, twice, err, err2)
	}
}

func TestReaperClosed(t *testing.T) {
	r, err := openReaper()
	if err != nil {
		t.Fatal(err)
	}
	pidfd := -1
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	ended := make(chan struct{}, 2)
	if err := r.watch(pidfd, func() { ended <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := r.watch(-1, nil); err == nil {
		t.Error("no process is watched")
	}
	_ = cmd.Process.Kill()
	<-ended
	_ = cmd.Wait()
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if err := r.watch(pidfd, nil); err == nil {
		t.Error("a closed reaper watches")
	}
	if len(ended) > 0 || len(r.ended) > 0 {
		t.Error("an end was told twice, or is still to come")
	}
}

func TestCgroupsOfV2(t *testing.T) {
	unified := &cgroupTree{unified: true, countsSwap: true, parents: map[string]string{"": "/sys/fs/cgroup/w"}}
	v1 := &cgroupTree{parents: map[string]string{"memory": "/sys/fs/cgroup/memory/a/w"}}
	for tree, want := range map[*cgroupTree]string{unified: "/w/ns-a/n1", v1: "/a/w/n1"} {
		if got := tree.path("ns-a", "n1"); got != want {
			t.Errorf("%s and not %s", got, want)
		}
	}
	for role, want := range map[core.Role]map[string]int64{
		core.RoleZygote:    {"pids": maxPids + 1, "memory": 320 << 20, "swap": 320 << 20, "quota": 100_000, "period": 100_000},
		core.RoleInstance:  {"pids": maxPids + 1, "memory": 512 << 20, "swap": 512 << 20, "quota": 100_000, "period": 100_000},
		core.RoleInstaller: {"pids": installerPids + 1, "memory": 2 * installerMemory, "swap": 2 * installerMemory, "quota": 100_000 * int64(runtime.NumCPU()), "period": 100_000},
	} {
		r := resources(core.SandboxConfig{Role: role, Limits: core.DefaultLimits()})
		for _, swap := range []bool{true, false} {
			got := map[string]int64{}
			limits := (&cgroupTree{countsSwap: swap}).limits(r)
			for name, value := range map[string]int64{"memory": limits.Memory, "swap": limits.MemorySwap, "quota": limits.CpuQuota,
				"period": int64(limits.CpuPeriod), "pids": *limits.PidsLimit} {
				if value != 0 {
					got[name] = value
				}
			}
			expected := maps.Clone(want)
			if !swap {
				delete(expected, "swap")
			}
			if !maps.Equal(got, expected) {
				t.Errorf("%s: %v and not %v", role, got, expected)
			}
		}
	}
}

// What an earlier worker has left is ended and removed, also below its cgroups.
func TestCgroupsAreCleared(t *testing.T) {
	coretest.Requires(t, root)
	name := fmt.Sprintf("pipsqueak-sandbox-test-%d-cleared", os.Getpid())
	tree, err := openCgroups(name, Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := tree.create("ns-a", "left", resources(core.SandboxConfig{Role: core.RoleInstance, Limits: core.DefaultLimits()}))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.attach(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if got := members(c.dirs[0]); len(got) != 1 || got[0] != cmd.Process.Pid {
		t.Errorf("members %v", got)
	}
	if err := os.Mkdir(filepath.Join(c.dirs[0], "below"), 0o755); err != nil {
		t.Error(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	again, err := openCgroups(name, Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the process ended with %v", err)
	}
	for _, dir := range c.dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	if err := again.clear(); err != nil {
		t.Error(err)
	}
	if left := cgroupDirs(name); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// What an instance has said can still be read when it is gone: it may have ended because it said that it
// cannot go on.
func TestLastWords(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	c := h.fork(t, zygote, h.config(core.RoleInstance))
	const said = "farewell"
	if err := c.call(t, unix.SYS_WRITE, 4, said, len(said)); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	gone(t, c.Sandbox)
	heard, err := io.ReadAll(c.Endpoint())
	if string(heard) != said || err != nil {
		t.Errorf("after its end an instance is heard to have said %q: %v", heard, err)
	}
}

// A kill for want of memory around the worker is not the function's own limit.
func TestStarved(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	file := filepath.Join(h.cgroups.parents["memory"], "memory.limit_in_bytes")
	if h.cgroups.unified {
		file = filepath.Join(h.cgroups.parents[""], "memory.max")
	}
	if err := os.WriteFile(file, []byte("33554432"), 0); err != nil {
		t.Fatal(err)
	}
	c := h.fork(t, zygote, h.config(core.RoleInstance))
	if _, err := c.try("fill 64000000"); err == nil {
		t.Error("a process has more memory than the cgroup around all")
	}
	<-c.Done()
	if exit := c.Exit(); exit.OutOfMemory || !exit.Starved {
		t.Errorf("%+v", exit)
	}
}

// Without a descriptor for who comes to the gate the sandbox says at once that the worker is short of them,
// and the gate works on.
func TestNoDescriptors(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	s, err := h.Create(t.Context(), h.config(core.RoleInstance))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	settled(t)
	restore := exhaust(t, 1)
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Connect(conn, &unix.SockaddrUnix{Name: h.gatePath()}), unix.Send(conn, []byte(s.config.ID), 0))
	}
	_, _, entering := s.Entered()
	_, making := h.Create(t.Context(), h.config(core.RoleInstance))
	restore()
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(conn)
	for _, err := range []error{entering, making} {
		if e := core.AsError(err); e == nil || e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !e.Retryable {
			t.Errorf("%+v", e)
		}
	}
	for left := range 14 { // whatever it is that fails, nothing is left of it
		restore := exhaust(t, left)
		s, err := h.Create(t.Context(), h.config(core.RoleInstance))
		restore()
		if err == nil {
			s.Kill()
		} else if !core.IsKind(err, core.KindExhausted) {
			t.Errorf("with %d descriptors: %v", left, err)
		}
	}
	if got := h.fork(t, zygote, h.config(core.RoleInstance)).ask(t, "fill 1000"); got != "filled" {
		t.Error(got)
	}
}

// settled waits until the network namespaces are there that are made ahead, and counts what this process has
// open then.
func settled(t *testing.T) int {
	t.Helper()
	for last := -1; ; time.Sleep(200 * time.Millisecond) {
		now := descriptors(t)
		if now == last {
			return now
		}
		last = now
	}
}

// exhaust takes all descriptors of this process but some until the returned function is called.
func exhaust(t *testing.T, left int) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for _, fd := range taken[:left] {
		unix.Close(fd)
	}
	return func() {
		for _, fd := range taken[left:] {
			unix.Close(fd)
		}
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
}

// An instance costs the worker no more descriptors than are reckoned for it. One of those that are counted
// here is the driver's.
func TestDescriptors(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	h.fork(t, zygote, h.config(core.RoleInstance)).ask(t, "fill 1")
	const n = 10
	before := settled(t)
	for range n {
		h.fork(t, zygote, h.config(core.RoleInstance)).ask(t, "fill 1")
	}
	time.Sleep(200 * time.Millisecond)
	if each := float64(descriptors(t)-before) / n; each > Descriptors {
		t.Errorf("an instance has %.1f descriptors, and is reckoned with %d", each, Descriptors)
	} else {
		t.Logf("an instance has %.1f descriptors, one of them the driver's", each)
	}
}
