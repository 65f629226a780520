package sandbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// refused asserts that nobody came in, that the error says why, and that nothing is left.
func refused(t *testing.T, s *Sandbox, says string) {
	t.Helper()
	pid, _, err := s.Entered()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("process %d came in, error %v, which does not say %q", pid, err, says)
	}
	gone(t, s)
	if pid := s.pid; pid > 0 && len(members(s.cgroup.dirs[0])) > 0 {
		t.Error("a process is left in the cgroup")
	}
}

func TestGateRefusesStrangers(t *testing.T) {
	h := newRig(t)
	for what, first := range map[string]string{"an unknown name": "nobody", "no name": "", "garbage": "\x00\xff\x1b[0m", "a long name": strings.Repeat("x", 10000)} {
		file := h.dial(t, core.NodeID(first))
		if n, err := file.Read(make([]byte, 10)); n > 0 || err == nil {
			t.Errorf("%s: the gate answered", what)
		}
		file.Close()
	}
	if !strings.Contains(h.said.text(), "nobody is expected") {
		t.Error("nobody was told of a stranger")
	}
}

func TestGateRefusesPackets(t *testing.T) {
	h := newRig(t)
	for _, r := range []struct {
		what   string
		packet []byte
		says   string
	}{
		{"garbage", []byte("hello"), "a packet of 5 bytes"},
		{"nothing", nil, "went away"},
		{"entered without hello", note{Kind: kindEntered}.bytes(), "kind 5 out of turn"},
		{"core's own word", note{Kind: kindGo}.bytes(), "kind 2 out of turn"},
		{"a network unasked", note{Kind: kindNetwork}.bytes(), "kind 7 out of turn"},
		{"an unknown kind", note{Kind: 99}.bytes(), "kind 99 out of turn"},
		{"a failure", note{Kind: kindFailed, Err: int32(unix.EIO)}.bytes(), "input/output error"},
		{"a strange failure", note{Kind: kindFailed, Err: -1}.bytes(), "errno"},
		{"ids for somebody who has some", note{Kind: kindUser}.bytes(), "mapping ids"},
		{"hello without ids", note{Kind: kindHello}.bytes(), "HELLO with 0 descriptors"},
	} {
		s := h.create(t, h.config(core.RoleInstance))
		gate := h.dial(t, s.config.ID)
		if r.packet != nil {
			if _, err := gate.Write(r.packet); err != nil {
				t.Fatal(err)
			}
			if r.says == "mapping ids" { // once more, after it was told which
				if n, err := gate.Read(make([]byte, 256)); err != nil || n != binary.Size(note{}) {
					t.Fatal(n, err)
				}
				if _, err := gate.Write(r.packet); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			gate.Close()
		}
		t.Run(r.what, func(t *testing.T) { refused(t, s, r.says) })
		gate.Close()
	}
	for i, taken := range h.idSlots {
		if taken {
			t.Errorf("range %d of ids is not free again", i)
		}
	}
}

func TestGateAdmitsOneForASandbox(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	instance := h.fork(t, zygote, h.config(core.RoleInstance))

	second := h.dial(t, instance.config.ID) // the same name again
	defer second.Close()
	if n, err := second.Read(make([]byte, 10)); n > 0 || err == nil {
		t.Error("the gate let a second process come for a sandbox")
	}
	if _, err := h.Create(context.Background(), instance.config); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second sandbox of the same name: %v", err)
	}
	if instance.ask(t, "cat /proc/self/comm") == "" {
		t.Error("the first one does not live any more")
	}
	if got := members(instance.cgroup.dirs[0]); len(got) != 2 || !slices.Contains(got, instance.pid) {
		t.Errorf("members %v of the cgroup of process %d, and not itself and init", got, instance.pid)
	}
}

// What a zygote can try that has been taken over by what it has imported.
func TestGateRefusesLies(t *testing.T) {
	h := newRig(t)
	start := func(t *testing.T) (child, *Sandbox, *os.File) {
		zygote := h.launch(t, h.config(core.RoleZygote))
		s := h.createBelow(t, zygote, h.config(core.RoleInstance))
		return zygote, s, h.dial(t, s.config.ID)
	}
	t.Run("the zygote itself enters", func(t *testing.T) {
		zygote, s, gate := start(t)
		_, theirs := pair(t)
		_, _ = zygote.try("enter", theirs, gate)
		refused(t, s, "not in the user namespace that was made for it")
		gone(t, zygote.Sandbox) // its process was the one at the gate
	})
	t.Run("a child without a pid namespace", func(t *testing.T) {
		zygote, s, gate := start(t)
		control, theirs := pair(t)
		zygote.ask(t, "fork plain", theirs, gate)
		_, _ = child{s, control, nil, 0}.try(fmt.Sprintf("raw %d", kindHello))
		refused(t, s, "not in the user namespace that was made for it")
		if _, _, err := zygote.Entered(); err != nil || zygote.ask(t, "cat /proc/self/comm") == "" {
			t.Error("the zygote does not live any more")
		}
	})
	t.Run("a second child in the same namespaces", func(t *testing.T) {
		zygote, s, gate := start(t)
		control, theirs := pair(t)
		zygote.ask(t, "fork twice", theirs, gate)
		_, _ = child{s, control, nil, 0}.try(fmt.Sprintf("raw %d", kindHello))
		refused(t, s, "not number 2 of a pid namespace")
	})
	t.Run("another zygote forks", func(t *testing.T) {
		_, s, gate := start(t)
		_, theirs := pair(t)
		other := h.launch(t, h.config(core.RoleZygote))
		if answer := other.ask(t, "fork into", theirs, gate); answer != fmt.Sprintf("-1 %d", unix.EPERM) {
			t.Errorf("it joins what was made for another one: %s", answer)
		}
		refused(t, s, "went away")
	})
	t.Run("a child asks for ids", func(t *testing.T) {
		zygote, s, gate := start(t)
		if answer := zygote.ask(t, fmt.Sprintf("raw %d", kindUser), gate); strings.HasPrefix(answer, "-1") {
			t.Fatal(answer)
		}
		refused(t, s, "kind 1 out of turn")
		if left := members(zygote.cgroup.dirs[0]); !slices.Contains(left, zygote.pid) {
			t.Errorf("the zygote, process %d, left its cgroup: %v", zygote.pid, left)
		}
	})
	for what, kind := range map[string]int{"hello again": kindHello, "ids after hello": kindUser, "core's word after hello": kindOrders} {
		t.Run(what, func(t *testing.T) {
			zygote, s, gate := start(t)
			control, theirs := pair(t)
			zygote.ask(t, "fork raw", theirs, gate)
			c := child{s, control, nil, 0}
			c.ask(t, fmt.Sprintf("raw %d", kindHello))
			_, _ = c.try(fmt.Sprintf("raw %d", kind))
			refused(t, s, fmt.Sprintf("kind %d out of turn", kind))
		})
	}
	t.Run("entered by another one", func(t *testing.T) {
		zygote, s, gate := start(t)
		control, theirs := pair(t)
		copied, err := unix.Dup(int(gate.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		zygote.ask(t, "fork raw", theirs, gate)
		child{s, control, nil, 0}.ask(t, fmt.Sprintf("raw %d", kindHello))
		zygote.ask(t, fmt.Sprintf("raw %d", kindEntered), os.NewFile(uintptr(copied), "gate"))
		refused(t, s, "kind 5 out of turn")
	})
	for what, r := range map[string]struct{ lie, says string }{
		"hello without a pidfd":             {"0", "HELLO with 0 descriptors"},
		"hello with a file":                 {"1", "no pidfd of the first process"},
		"hello with too many":               {"2", "HELLO with 2 descriptors"},
		"hello with itself":                 {"itself", "no pidfd of the first process"},
		"hello with another one's init":     {"another", "another pid namespace"},
		"hello with an init that has ended": {"ended", "no pidfd of the first process"},
	} {
		t.Run(what, func(t *testing.T) {
			zygote, s, gate := start(t)
			lie, pidfd := r.lie, 0
			if lie == "another" || lie == "ended" { // the zygote has it from the last child
				_, theirs := pair(t)
				other := h.createBelow(t, zygote, h.config(core.RoleInstance))
				var number, errno int
				fmt.Sscan(zygote.ask(t, "fork into", theirs, h.dial(t, other.config.ID)), &number)
				fmt.Sscan(zygote.ask(t, fmt.Sprintf("call %d %d 0", unix.SYS_PIDFD_OPEN, number-1)), &pidfd, &errno)
				if _, _, err := other.Entered(); err != nil || pidfd <= 0 {
					t.Fatal(err, errno)
				}
				if lie == "ended" {
					other.Kill()
					gone(t, other)
				}
			}
			control, theirs := pair(t)
			zygote.ask(t, "fork raw", theirs, gate)
			c := child{s, control, nil, 0}
			if lie == "itself" {
				var errno int
				fmt.Sscan(c.ask(t, fmt.Sprintf("call %d 2 0", unix.SYS_PIDFD_OPEN)), &pidfd, &errno)
			}
			words := fmt.Sprintf("raw %d %s", kindHello, lie)
			if pidfd > 0 {
				words = fmt.Sprintf("raw %d 1 %d", kindHello, pidfd)
			}
			_, _ = c.try(words)
			refused(t, s, r.says)
		})
	}
	t.Run("descriptors", func(t *testing.T) {
		zygote := h.launch(t, h.config(core.RoleZygote))
		full(t, h, zygote)
		before := descriptors(t)
		for range 30 {
			s := h.createBelow(t, zygote, h.config(core.RoleInstance))
			zygote.ask(t, fmt.Sprintf("raw %d 16", kindEntered), h.dial(t, s.config.ID))
			refused(t, s, "with descriptors")
		}
		soon(t, "the descriptors of those who were refused are closed", func() bool { return descriptors(t) <= before+3 })
	})
	t.Run("a failure with a terminal's codes", func(t *testing.T) {
		zygote, s, gate := start(t)
		zygote.ask(t, fmt.Sprintf("raw %d", kindFailed), gate)
		refused(t, s, "a lie??[31m")
	})
}

// A process can die, or be silent, at each step.
func TestGateLosesProcesses(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	for _, r := range []struct {
		what string
		step func(t *testing.T, c child)
		says string
	}{
		{"before hello", func(t *testing.T, c child) { _, _ = c.try("exit 3") }, "went away"},
		{"after hello", func(t *testing.T, c child) {
			c.ask(t, fmt.Sprintf("raw %d", kindHello))
			_, _ = c.try("exit 3")
		}, ""},
		{"silent, then killed", func(t *testing.T, c child) {
			soon(t, "it is at the gate", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.gate != nil })
			c.Kill()
		}, ""},
		{"silent after hello, then killed", func(t *testing.T, c child) {
			c.ask(t, fmt.Sprintf("raw %d", kindHello))
			soon(t, "it is attested", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.pidfd >= 0 })
			c.Kill()
		}, ""},
	} {
		t.Run(r.what, func(t *testing.T) {
			s := h.createBelow(t, zygote, h.config(core.RoleInstance))
			control, theirs := pair(t)
			zygote.ask(t, "fork raw", theirs, h.dial(t, s.config.ID))
			r.step(t, child{s, control, nil, 0})
			refused(t, s, r.says)
			control.Close()
		})
	}
	t.Run("a driver that says nothing", func(t *testing.T) {
		conn, err := net.Dial("unixpacket", h.gatePath())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		h.fork(t, zygote, h.config(core.RoleInstance)) // others are served meanwhile
	})
	t.Run("a zygote goes, and its children with it", func(t *testing.T) {
		instance := h.fork(t, zygote, h.config(core.RoleInstance))
		zygote.Kill()
		gone(t, instance.Sandbox)
		gone(t, zygote.Sandbox)
	})
}

func TestGateHasADeadline(t *testing.T) {
	h := newRig(t)
	s := h.create(t, h.config(core.RoleInstance))
	for _, first := range []string{"", string(s.config.ID)} {
		ours, theirs := pair(t)
		conn, err := net.FileConn(theirs)
		if err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		if first != "" {
			if _, err := ours.Write([]byte(first)); err != nil {
				t.Fatal(err)
			}
		}
		h.admit(conn.(*net.UnixConn), 50*time.Millisecond) // returns: it does not wait for ever
		_ = ours.SetReadDeadline(time.Now().Add(patience))
		if _, err := ours.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("a driver that said %q is still connected: %v", first, err)
		}
	}
	refused(t, s, "timeout")
}

// Kill comes at any time: around the driver's connection, the launcher's steps, and the end.
func TestKillAtAnyTime(t *testing.T) {
	h := newRig(t)
	for i := range 60 {
		s := h.create(t, h.config(core.RoleZygote))
		if i == 0 {
			s.Kill()
			refused(t, s, "killed before")
			continue
		}
		var killed sync.WaitGroup
		killed.Go(func() {
			time.Sleep(time.Duration(i) * 100 * time.Microsecond)
			s.Kill()
			s.Kill()
		})
		c := h.startLauncher(t, s)
		killed.Wait()
		gone(t, s)
		s.Kill()
		<-s.Done()
		c.control.Close()
	}
	for i := range 200 { // the connection and the kill at the same moment
		s := h.create(t, h.config(core.RoleInstance))
		var both sync.WaitGroup
		both.Go(func() {
			gate := h.dial(t, s.config.ID)
			defer gate.Close()
			_, _ = gate.Write(note{Kind: kindFailed}.bytes())
		})
		both.Go(func() {
			for range i % 50 {
				runtime.Gosched()
			}
			s.Kill()
		})
		both.Wait()
		gone(t, s)
	}
}

func TestCloseWithProcessesAlive(t *testing.T) {
	coretest.Requires(t, root, coretest.Compiler())
	before := runtime.NumGoroutine()
	fds := descriptors(t)
	t.Run("host", func(t *testing.T) {
		h := newRig(t)
		zygote := h.launch(t, h.config(core.RoleZygote))
		h.fork(t, zygote, h.config(core.RoleInstance))
		h.launch(t, h.config(core.RoleInstaller))
		s := h.create(t, h.config(core.RoleInstance)) // nobody comes
		h.create(t, h.config(core.RoleInstance))
		gate := h.dial(t, s.config.ID) // silent
		defer gate.Close()
	}) // its cleanup closes
	soon(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	soon(t, "all descriptors are closed", func() bool { return descriptors(t) <= fds })
}

func TestNothingLeaks(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	round := func() {
		config := h.config(core.RoleInstance)
		config.Parent = zygote.config.ID
		s, err := h.Create(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := pairOf(t)
		zygote.ask(t, "fork into", theirs, h.dial(t, s.config.ID))
		if _, _, err := s.Entered(); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		ours.Close()
		gone(t, s)
	}
	for range 20 {
		round() // what is made once is there
	}
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	for range 200 {
		round()
	}
	for range 200 {
		s, err := h.Create(context.Background(), h.config(core.RoleInstance))
		if err != nil {
			t.Fatal(err)
		}
		s.Kill()
		gone(t, s)
	}
	soon(t, fmt.Sprintf("no more goroutines than %d", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines+1 })
	soon(t, fmt.Sprintf("no more descriptors than %d", fds), func() bool { return descriptors(t) <= fds+1 })
}

func pairOf(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
}
