package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// zygoteOfCore launches a zygote that waits for core to ask it for forks.
func (h *rig) zygoteOfCore(t testing.TB) child {
	t.Helper()
	config := h.config(core.RoleZygote)
	config.Forks = true
	z := h.launch(t, config)
	z.ask(t, "zygote")
	return z
}

// forkOfCore has a zygote fork an instance, which obeys its endpoint.
func (h *rig) forkOfCore(t testing.TB, zygote child) child {
	t.Helper()
	s := h.createBelow(t, zygote, h.config(core.RoleInstance))
	if err := s.Fork(t.Context()); err != nil {
		t.Fatal(err)
	}
	return child{s, s.Endpoint().(*net.UnixConn), nil, 0}
}

// TestFork has core ask a zygote for instances, several at once, and looks at what they have open.
func TestFork(t *testing.T) {
	h := newRig(t)
	z := h.zygoteOfCore(t)
	var all sync.WaitGroup
	for range 8 {
		s := h.createBelow(t, z, h.config(core.RoleInstance))
		all.Go(func() {
			if err := s.Fork(t.Context()); err != nil {
				t.Error(err)
			}
			if pid, enter, err := s.Entered(); pid <= 0 || enter <= 0 || err != nil {
				t.Errorf("process %d entered in %v, error %v", pid, enter, err)
			}
		})
	}
	all.Wait()
	c := h.forkOfCore(t, z)
	if open := c.ask(t, "ls /proc/self/fd"); strings.Count(open, "\n") != 6 || strings.Count(open, "socket:") != 2 { // 3 and 4 are its endpoint, 5 the directory
		t.Errorf("an instance has this open:\n%s", open)
	}
	if got := c.ask(t, "cat /proc/self/status"); !strings.Contains(got, "CapEff:\t0000000000000000") || !strings.Contains(got, "NoNewPrivs:\t1") {
		t.Error(got)
	}
}

// TestForkRefused has core ask zygotes that cannot fork, and checks that the error says why, and whether the
// zygote forks afterwards.
func TestForkRefused(t *testing.T) {
	h := newRig(t)
	for what, r := range map[string]struct {
		spoil func(z child)
		says  string
		heals bool
	}{
		"threads": {func(z child) { z.ask(t, "stop"); z.ask(t, "thread"); z.ask(t, "zygote") }, "fork of a process with threads", false},
		"ended":   {func(z child) { z.Kill(); gone(t, z.Sandbox) }, "no zygote", false},
		"busy":    {func(z child) { z.ask(t, "stop") }, "timeout", false},
		"garbage": {func(z child) {
			_, _ = z.forks.Write([]byte("fork"))
			_, _ = z.forks.Write(note{Kind: kindFork}.bytes())
		}, "", true},
	} {
		t.Run(what, func(t *testing.T) {
			z := h.zygoteOfCore(t)
			r.spoil(z)
			s := h.createBelow(t, z, h.config(core.RoleInstance))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			began := time.Now()
			err := s.Fork(ctx)
			if (err == nil) != r.heals || err != nil && !strings.Contains(err.Error(), r.says) {
				t.Errorf("%v, want %q", err, r.says)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("it took %v", took)
			}
			if err != nil {
				refused(t, s, r.says)
			}
		})
	}
	z := h.launch(t, h.config(core.RoleZygote)) // that its driver alone asks
	s := h.createBelow(t, z, h.config(core.RoleInstance))
	if err := s.Fork(t.Context()); err == nil || !strings.Contains(err.Error(), "no zygote") {
		t.Error(err)
	}
}

// TestForkKilled kills sandboxes before and while core asks for their processes. The zygote goes on.
func TestForkKilled(t *testing.T) {
	h := newRig(t)
	z := h.zygoteOfCore(t)
	for i := range 100 {
		s := h.createBelow(t, z, h.config(core.RoleInstance))
		var both sync.WaitGroup
		both.Go(func() {
			if i > 0 {
				time.Sleep(time.Duration(i) * 50 * time.Microsecond)
			}
			s.Kill()
		})
		if i == 0 {
			both.Wait()
		}
		if err := s.Fork(t.Context()); i == 0 && err == nil {
			t.Error("a process has come into a sandbox that was killed before")
		}
		both.Wait()
		gone(t, s)
	}
	h.forkOfCore(t, z)
}

// room leaves a process room for so many more descriptors. It returns how many it has open, and what ends
// that.
func room(t *testing.T, pid, more int) (open func() int, end func()) {
	t.Helper()
	open = func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		coretest.Must(t, err)
		return len(entries)
	}
	user, err := userOf(pid)
	coretest.Must(t, err)
	limit := func(n int) {
		cmd := exec.Command("prlimit", "--pid", strconv.Itoa(pid), fmt.Sprintf("--nofile=%d:", n))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}} // root may lack the capability
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	free := 0
	for err := error(nil); err == nil; free++ {
		_, err = os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, free))
	}
	limit(free - 1 + more)
	return open, func() { limit(512) }
}

// A zygote that has no descriptors left for a fork says so at once, keeps none of those that came, and forks
// when there are some again.
func TestForkWithoutDescriptors(t *testing.T) {
	h := newRig(t)
	z := h.zygoteOfCore(t)
	h.forkOfCore(t, z) // so that it has opened what it will keep
	for _, more := range []int{0, 1} {
		open, end := room(t, z.pid, more)
		was := open()
		for range 3 {
			var ends [2]*os.File
			for i := range ends {
				var err error
				ends[i], err = os.Open("/dev/null")
				coretest.Must(t, err)
			}
			began := time.Now()
			if got := z.ask(t, `{"op":"fork"}`, ends[0], ends[1]); !strings.Contains(got, "exhausted") || !strings.Contains(got, "Too many open files") {
				t.Errorf("with %d: %s", more, got)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("with %d it took %v", more, took)
			}
		}
		if is := open(); is != was {
			t.Errorf("with %d it has %d descriptors, and had %d", more, is, was)
		}
		end()
		h.forkOfCore(t, z)
	}
}

// A keeper that has no descriptors left for a place says so at once, and is not taken for broken.
func TestPlaceWithoutDescriptors(t *testing.T) {
	h := newRig(t)
	z := h.launch(t, h.config(core.RoleZygote))
	u, err := h.users.of(z.config.ID)
	coretest.Must(t, err)
	for len(u.ready) < readyPlaces { // else the keeper is asked beside this
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // one more may wait to be taken
	_, end := room(t, z.cmd.Process.Pid, 0)
	began := time.Now()
	if p, err := u.make(u.ids.one()); err == nil || !strings.Contains(err.Error(), "too many open files") || time.Since(began) > patience/2 {
		t.Errorf("%+v, %v after %v", p, err, time.Since(began))
	}
	end()
	h.fork(t, z, h.config(core.RoleInstance))
}
