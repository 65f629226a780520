package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// namespaces returns the user namespace and the network of a child.
func (c child) namespaces(t testing.TB) string {
	t.Helper()
	text := c.ask(t, "ls /proc/self/ns")
	return linesWith(text, "user ") + linesWith(text, "net ")
}

// opens has a child make a call that opens something, and returns the descriptor.
func (c child) opens(t testing.TB, number uintptr, args ...any) (fd int) {
	t.Helper()
	words, errno := fmt.Sprint("call ", number), 0
	for _, a := range args {
		words += fmt.Sprint(" ", a)
	}
	if _, err := fmt.Sscan(c.ask(t, words), &fd, &errno); err != nil || fd < 0 {
		t.Fatal(fd, unix.Errno(errno), err)
	}
	return fd
}

// send has a child send a descriptor over its endpoint, from which nobody takes it.
func (c child) send(t testing.TB, fd int) {
	t.Helper()
	const endpoint, taken = 4, 9 // by the probe
	coretest.Must(t, c.call(t, unix.SYS_DUP3, endpoint, taken, 0))
	if said := c.ask(t, fmt.Sprint("raw 1 1 ", fd)); strings.HasPrefix(said, "-") {
		t.Fatal(said)
	}
}

// version is the configuration of an instance of a version of a function.
func (h *rig) version(function string, version int) core.SandboxConfig {
	c := h.config(core.RoleInstance)
	c.Function, c.Version = function, version
	return c
}

// A place serves the next instance of the same version of the same function below the same zygote, unless
// anything in it is different.
func TestPlaceAgain(t *testing.T) {
	h := newRig(t)
	h.connect = func(core.SandboxConfig, func(func() error) error) (io.Closer, error) { return io.NopCloser(nil), nil }
	zygote, other := h.launch(t, h.config(core.RoleZygote)), h.launch(t, h.config(core.RoleZygote))
	first := h.version("f", 1)
	for what, r := range map[string]struct {
		does  func(c child)
		next  core.SandboxConfig
		from  child
		again bool
	}{
		"nothing":             {func(child) {}, h.version("f", 1), zygote, true},
		"a socket in vain":    {func(c child) { c.ask(t, "dial 127.0.0.1 1") }, h.version("f", 1), zygote, false}, // a packet and its refusal
		"a packet to itself":  {func(c child) { c.ask(t, "buffers 2 1") }, h.version("f", 1), zygote, false},
		"what others read":    {func(c child) { c.ask(t, "buffers 1 1") }, h.version("f", 1), zygote, false},
		"a socket on its way": {func(c child) { c.send(t, c.opens(t, unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)) }, h.version("f", 1), zygote, false},
		"a server on its way": {func(c child) {
			server := c.opens(t, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
			coretest.Must(t, c.call(t, unix.SYS_LISTEN, server, 1))
			c.send(t, server)
		}, h.version("f", 1), zygote, false},
		"processes that stay":     {func(c child) { c.ask(t, "leave 1") }, h.version("f", 1), zygote, true},
		"a crash":                 {func(c child) { _, _ = c.try("crash") }, h.version("f", 1), zygote, true},
		"another version's turn":  {func(child) {}, h.version("f", 2), zygote, false},
		"another function's turn": {func(child) {}, h.version("g", 1), zygote, false},
		"another zygote's turn":   {func(child) {}, h.version("f", 1), other, false},
	} {
		t.Run(what, func(t *testing.T) {
			first.ID = h.config(core.RoleInstance).ID
			c := h.fork(t, zygote, first)
			was := c.namespaces(t)
			r.does(c)
			c.Kill()
			gone(t, c.Sandbox)
			r.next.ID = h.config(core.RoleInstance).ID
			next := h.fork(t, r.from, r.next)
			if is := next.namespaces(t); (is == was) != r.again {
				t.Errorf("%s, and the next one's are %s", was, is)
			}
			next.ask(t, "buffers 2 1") // so that no later case finds it
			next.Kill()
			gone(t, next.Sandbox)
		})
	}
	connected := h.version("f", 1)
	connected.Network = core.NetworkEgress
	c := h.fork(t, zygote, connected)
	was := c.namespaces(t)
	coretest.Must(t, c.call(t, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, 0))
	c.Kill()
	gone(t, c.Sandbox)
	connected.ID = h.config(core.RoleInstance).ID
	if is := h.fork(t, zygote, connected).namespaces(t); is == was {
		t.Error("a network that had an interface is used again")
	}
}

// A cgroup goes with its place, unless a count in it is not a new one's, or more memory is charged to it.
func TestCgroupAgain(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	version := func(n int) core.SandboxConfig {
		c := h.version("f", n)
		c.Limits.Memory = 64 << 20 // and as much for files
		return c
	}
	shared, err := os.MkdirTemp("/dev/shm", "sandbox-test-")
	coretest.Must(t, err)
	defer os.RemoveAll(shared)
	write := func(c child, bytes int) {
		cmd := exec.Command("sh", "-c", `read go; head -c "$1" /dev/zero >"$0"`, filepath.Join(shared, "file"), strconv.Itoa(bytes))
		in, err := cmd.StdinPipe()
		coretest.Must(t, err)
		coretest.Must(t, cmd.Start())
		coretest.Must(t, c.cgroup.attach(cmd.Process.Pid))
		in.Close()
		_ = cmd.Wait() // read has failed, or there was no room
	}
	for n, r := range []struct {
		what  string
		does  func(c child)
		again bool
	}{
		{"nothing", func(child) {}, true},
		{"memory that it had", func(c child) { c.ask(t, "fill 4000000") }, true},
		{"processes that stay", func(c child) { c.ask(t, "leave 3") }, true},
		{"files that stay in memory", func(c child) { write(c, 8<<20) }, false},
		{"files that it has no room for", func(c child) { write(c, 256<<20) }, false},
		{"files on their way to core", func(c child) {
			file := c.opens(t, unix.SYS_MEMFD_CREATE, "@attack", 0)
			coretest.Must(t, c.call(t, unix.SYS_FALLOCATE, file, 0, 0, 8<<20))
			c.send(t, file)
		}, false},
		{"an end for want of memory", func(c child) { _, _ = c.try("fill 200000000") }, false},
		{"a process too many", func(c child) {
			for range maxPids {
				c.ask(t, "leave 1")
			}
		}, false},
	} {
		t.Run(r.what, func(t *testing.T) {
			c := h.fork(t, zygote, version(n))
			r.does(c)
			c.Kill()
			gone(t, c.Sandbox)
			next := h.fork(t, zygote, version(n))
			if again := next.cgroup == c.cgroup; again != r.again {
				t.Errorf("used again: %t", again)
			}
			if _, err := os.Stat(c.cgroup.dirs[0]); (err == nil) != r.again {
				t.Errorf("the first one's is left: %v", err)
			}
			compareResources(t, next, next.spec)
			if path := next.spec.Linux.CgroupsPath; !strings.HasSuffix(next.cgroup.manager.Path("memory"), path) {
				t.Errorf("it is said to be %s", path)
			}
			_, _ = next.try("fill 200000000")
			<-next.Done()
			if exit := next.Exit(); !exit.OutOfMemory || exit.Starved || exit.Crowded {
				t.Errorf("the next one, with too much memory, ended with %+v", exit)
			}
		})
	}
}

// Few places are kept, and none when their zygote has ended.
func TestPlacesAreClosed(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	var all []child
	for range 2 * keptPlaces {
		all = append(all, h.fork(t, zygote, h.version("f", 1)))
	}
	for _, c := range all {
		c.Kill()
		gone(t, c.Sandbox)
	}
	from, err := h.users.of(zygote.config.ID)
	coretest.Must(t, err)
	kept := func() int {
		from.left.mu.Lock()
		defer from.left.mu.Unlock()
		return len(from.left.places)
	}
	if n := kept(); n != keptPlaces {
		t.Errorf("%d places are kept", n)
	}
	zygote.Kill()
	gone(t, zygote.Sandbox)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for kept() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if kept() > 0 {
		t.Errorf("%d places are left", kept())
	}
	late := noPlace
	if late.network, err = unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	from.left.keep(placeKey{"f", 1, 0}, late)
	if err := unix.Close(late.network); !errors.Is(err, unix.EBADF) {
		t.Errorf("a place that is left after that stays open: %v", err)
	}
}

// watched is a cgroup's manager that sees whether a mutex is held while the cgroup is removed.
type watched struct {
	cgroups.Manager
	mu      *sync.Mutex
	removed *int
	t       *testing.T
}

func (w watched) Destroy() error {
	*w.removed++
	if !w.mu.TryLock() {
		w.t.Error("a cgroup is removed while a start that looks for a place would wait")
		return nil
	}
	w.mu.Unlock()
	return nil
}

// To remove a cgroup takes milliseconds, for which no start waits: of a place too many, of those that a
// zygote leaves, and of one that comes late.
func TestPlacesAreClosedWithoutTheMutex(t *testing.T) {
	l, removed := new(left), 0
	keep := func() {
		p := noPlace
		p.cgroup = &cgroup{manager: watched{mu: &l.mu, removed: &removed, t: t}, leave: func() {}}
		l.keep(placeKey{"f", 1, 0}, p)
	}
	for range keptPlaces + 1 {
		keep()
	}
	if removed != 1 {
		t.Errorf("%d places went for one too many", removed)
	}
	l.close()
	keep()
	if removed != keptPlaces+2 || l.take(placeKey{"f", 1, 0}) != noPlace {
		t.Errorf("%d of %d places were closed", removed, keptPlaces+2)
	}
}
