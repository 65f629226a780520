package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/relay"
)

var root = coretest.Root()

// TestMain has the programs that the tests share in one directory.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		panic(err)
	}
	programs.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// programs are the launcher and testdata/probe.c.
var programs struct {
	sync.Once
	dir string
}

func launcher() string { return filepath.Join(programs.dir, "launch") }

// rig is a host with what it needs, for one test.
type rig struct {
	*Host
	name  string
	store string // directory of all code and packages
	said  *lines

	mu      sync.Mutex
	next    int
	refused []string // addresses, by relays
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (h *rig) CodePath(digest string) (string, error) {
	return filepath.Join(h.store, digest), nil
}
func (h *rig) PackagePath(_ core.RuntimeID, digest string) (string, error) {
	return h.CodePath(digest)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	coretest.Requires(t, root, coretest.Compiler())
	programs.Do(func() {
		coretest.CompileC(t, launcher(), "enter/enter.c", "enter/init.c", "enter/fork.c", "enter/landlock.c", "enter/launch.c", "enter/keep.c")
		if err := os.Mkdir(filepath.Join(programs.dir, "shown"), 0o755); err != nil {
			t.Fatal(err)
		}
		coretest.CompileC(t, filepath.Join(programs.dir, "shown/probe"), "testdata/probe.c", "-Ienter/watch", "enter/enter.c", "enter/init.c", "enter/fork.c", "enter/landlock.c",
			"enter/loop/zygote.c")
	})
	h := &rig{name: fmt.Sprintf("pipsqueak-sandbox-test-%d", os.Getpid()), store: t.TempDir(), said: &lines{}}
	for _, name := range []string{"code", "p1"} {
		if err := os.Mkdir(filepath.Join(h.store, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.store, name, "open"), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(h.store, name, "open"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	h.Host, err = Open(Config{Dir: filepath.Join(t.TempDir(), "run"), Name: h.name, Store: h, Relay: h.openRelay, Log: slog.New(slog.NewTextHandler(h.said, nil)),
		Output: func(_ core.SandboxConfig, _ string, output *Output) { _, _ = io.Copy(h.said, output) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if text := h.said.text(); t.Failed() && text != "" {
			t.Log(text)
		}
		for _, dir := range cgroupDirs(h.name) {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is left", dir)
			}
		}
		if _, err := os.Stat(h.dir); err == nil {
			t.Errorf("%s is left", h.dir)
		}
	})
	return h
}

func (h *rig) openRelay(config core.SandboxConfig, listen func(string) (net.Listener, error)) (io.Closer, error) {
	addresses, err := relay.Addresses(config.Registries)
	if err != nil {
		return nil, err
	}
	return relay.Open(addresses, listen, func(address string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.refused = append(h.refused, address)
	}, func(string, error) {})
}

func cgroupDirs(name string) []string {
	one, _ := filepath.Glob("/sys/fs/cgroup/" + name)
	each, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	return append(one, each...)
}

func (h *rig) config(role core.Role) core.SandboxConfig {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	c := core.SandboxConfig{ID: core.NodeID("n" + strconv.Itoa(h.next)), Role: role, Limits: core.DefaultLimits(),
		Runtime: core.Runtime{ID: "probe", Mounts: []core.Mount{{Source: filepath.Join(programs.dir, "shown"), Target: "/opt/probe"}}}}
	if role == core.RoleInstance {
		c.Code, c.Function = "code", "f"
		c.Packages = core.NewSet(core.Package{Name: "p", Version: "1", Digest: "p1"})
	}
	return c
}

func (h *rig) create(t testing.TB, config core.SandboxConfig) *Sandbox {
	t.Helper()
	s, err := h.Create(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		gone(t, s)
	})
	return s
}

// createBelow makes the sandbox of a fork.
func (h *rig) createBelow(t testing.TB, zygote child, config core.SandboxConfig) *Sandbox {
	t.Helper()
	config.Parent = zygote.config.ID
	return h.create(t, config)
}

// child is a process with the probe's loop. Its sandbox is nil for one outside.
type child struct {
	*Sandbox
	control *net.UnixConn
	cmd     *exec.Cmd // of a launched one: its keeper
	number  int       // of a forked one, as its zygote has it
}

// ask has the process do something and returns what it answers; descriptors go with the words and are closed
// here.
func (c child) ask(t testing.TB, words string, files ...*os.File) string {
	t.Helper()
	answer, err := c.try(words, files...)
	if err != nil {
		t.Fatalf("%s: %v", words, err)
	}
	return answer
}

func (c child) try(words string, files ...*os.File) (string, error) {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if _, _, err := c.control.WriteMsgUnix([]byte(words), unix.UnixRights(fds...), nil); err != nil {
		return "", err
	}
	for _, f := range files {
		f.Close()
	}
	_ = c.control.SetReadDeadline(time.Now().Add(patience))
	answer := make([]byte, 1<<17)
	n, err := c.control.Read(answer)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return string(answer[:n]), err
}

// call has it make a system call; an errno is returned as such.
func (c child) call(t testing.TB, number uintptr, args ...any) error {
	t.Helper()
	words := "call " + strconv.Itoa(int(number))
	for _, a := range args {
		if s, isString := a.(string); isString {
			a = "@" + s
		}
		words += fmt.Sprintf(" %v", a)
	}
	var result, errno int
	if _, err := fmt.Sscan(c.ask(t, words), &result, &errno); err != nil {
		t.Fatal(err)
	}
	if result < 0 {
		return unix.Errno(errno)
	}
	return nil
}

// pair returns both ends of a control socket, theirs as a file.
func pair(t testing.TB) (*net.UnixConn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(fds[0]), "control")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "control")
}

// dial connects to the gate as a driver does, for the sandbox of that name.
func (h *rig) dial(t testing.TB, id core.NodeID) *os.File {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: h.gatePath(), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(id)); err != nil {
		t.Fatal(err)
	}
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(int(file.Fd()), false); err != nil {
		t.Fatal(err)
	}
	return file
}

// launch starts a probe from nothing, in the sandbox.
func (h *rig) launch(t testing.TB, config core.SandboxConfig) child {
	t.Helper()
	c := h.startLauncher(t, h.create(t, config))
	c.inside(t)
	return c
}

// inside waits until the process is in its sandbox. Who starts one by a driver knows that it has come, and
// waits less.
func (c child) inside(t testing.TB) {
	t.Helper()
	select {
	case <-c.in:
	case <-time.After(patience):
	}
	if _, _, err := c.Entered(); err != nil {
		t.Fatal(err)
	}
}

func (h *rig) startLauncher(t testing.TB, s *Sandbox) child {
	t.Helper()
	control, theirs := pair(t)
	gate := h.dial(t, s.config.ID)
	defer theirs.Close()
	defer gate.Close()
	cmd := exec.Command(launcher(), "/opt/probe/probe")
	cmd.Env, cmd.Stderr, cmd.ExtraFiles = []string{}, h.said, []*os.File{theirs, gate}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	return child{s, control, cmd, 0}
}

// fork forks an instance's process from a zygote's.
func (h *rig) fork(t testing.TB, zygote child, config core.SandboxConfig) child {
	t.Helper()
	s := h.createBelow(t, zygote, config)
	control, theirs := pair(t)
	var number int
	if answer := zygote.ask(t, "fork into", theirs, h.dial(t, config.ID)); strings.HasPrefix(answer, "-1") {
		_, _, err := s.Entered()
		t.Fatal(answer, err)
	} else if _, err := fmt.Sscan(answer, &number); err != nil {
		t.Fatal(err)
	}
	c := child{s, control, nil, number}
	c.inside(t)
	return c
}

// outside starts a probe that is in no sandbox.
func outside(t testing.TB) child {
	t.Helper()
	control, theirs := pair(t)
	defer theirs.Close()
	cmd := exec.Command(filepath.Join(programs.dir, "shown/probe"))
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		control.Close() // then it ends
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the probe outside did not end")
			_ = cmd.Process.Kill()
		}
	})
	return child{nil, control, cmd, 0}
}

// patience is how long processes may take for what they have to do, on a machine that does much else. Nothing
// takes that long when it works.
const patience = 30 * time.Second

// gone waits until nothing is left of the sandbox.
func gone(t testing.TB, s *Sandbox) {
	t.Helper()
	select {
	case <-s.removed:
	case <-time.After(patience):
		t.Fatalf("the sandbox of %s does not end", s.config.ID)
	}
}

// soon waits until it is so.
func soon(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
