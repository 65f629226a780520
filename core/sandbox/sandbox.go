// Package sandbox makes, measures and kills the place a process lives in: a cgroup, namespaces, a root directory, a private
// scratch. A sandbox is described by an OCI runtime-spec Spec, written to its bundle directory, and what the Spec says is
// what is enforced.
//
// A sandbox is made before its process. The process comes to the gate by itself, forked by an unprivileged zygote or
// started by the launcher, and carries out on itself what its orders say (enter/enter.h has the protocol). What needs power
// over the host is done here, at the other end of the gate.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Store tells where code and packages lie on the host.
type Store interface {
	CodePath(digest string) (string, error)
	PackagePath(digest string) (string, error)
}

// Config is what a Host needs.
type Config struct {
	Dir   string // of its own, for sockets and bundles; emptied at the start
	Name  string // of the worker's cgroup; two workers of one machine have different ones
	Store Store
	// Output is called with each stream ("stdout", "stderr") of each process, in a goroutine of its own. It must read until
	// the end, or the process blocks.
	Output func(config core.SandboxConfig, stream string, output io.Reader)
	Log    *slog.Logger
}

// Host makes sandboxes on this machine.
type Host struct {
	dir      string
	store    Store
	output   func(core.SandboxConfig, string, io.Reader)
	log      *slog.Logger
	gate     *net.UnixListener
	roots    *roots
	cgroups  *cgroupTree
	reaper   *reaper
	system   []specs.Mount
	seccomp  map[core.Role]*specs.LinuxSeccomp
	filters  map[core.Role][]byte
	uids     atomic.Uint32
	networks networks

	mu       sync.Mutex
	awaited  map[core.NodeID]*Sandbox // whose process has not come yet
	alive    map[*Sandbox]struct{}
	idSlots  [idRanges]bool
	nextSlot int
}

// Open prepares the machine for sandboxes. It needs root, and ends and removes what an earlier worker of that name and
// directory has left. The caller closes the Host.
func Open(config Config) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, core.Errorf(core.KindUnsupported, core.FaultWorker, "sandboxes are made by root: start the worker as root (sudo)")
	}
	h := &Host{dir: config.Dir, store: config.Store, output: config.Output, log: config.Log,
		filters: map[core.Role][]byte{}, awaited: map[core.NodeID]*Sandbox{}, alive: map[*Sandbox]struct{}{},
		networks: networks{keepers: map[uint64]chan int{}}}
	if err := h.open(config.Name); err != nil {
		return nil, errors.Join(core.Errorf(core.KindUnsupported, core.FaultWorker,
			"this machine cannot make sandboxes: %w (pipsqueak doctor tells more)", err), h.Close())
	}
	return h, nil
}

func (h *Host) open(name string) error {
	var err error
	if h.cgroups, err = openCgroups(name); err != nil {
		return err
	}
	if err := os.RemoveAll(h.dir); err != nil {
		return err
	}
	for _, dir := range []string{h.dir, h.rootsDir(), h.bundle(""), filepath.Join(h.dir, "mods")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	var links map[string]string
	h.system, links = systemMounts()
	if h.roots, err = openRoots(h.rootsDir(), links); err != nil {
		return err
	}
	if err := h.roots.do(func() error { return favorDynamicMods(filepath.Join(h.dir, "mods"), name) }); err != nil {
		h.log.Warn("favordynmods", "err", err, "effect", "starts after a quiet moment take some milliseconds longer")
	}
	if h.seccomp, err = seccompProfiles(); err != nil {
		return err
	}
	for role, profile := range h.seccomp {
		var inherited *specs.LinuxSeccomp
		if role == core.RoleInstance {
			inherited = h.seccomp[core.RoleZygote]
		}
		if h.filters[role], err = assembleFilter(profile, inherited); err != nil {
			return fmt.Errorf("seccomp filter for a %s: %w", role, err)
		}
	}
	if h.reaper, err = openReaper(); err != nil {
		return err
	}
	if h.gate, err = openGate(h.gatePath()); err != nil {
		return err
	}
	go h.serve()
	return nil
}

func (h *Host) rootsDir() string             { return filepath.Join(h.dir, "roots") }
func (h *Host) gatePath() string             { return filepath.Join(h.dir, "gate") }
func (h *Host) bundle(id core.NodeID) string { return filepath.Join(h.dir, "bundles", string(id)) }

func (h *Host) serve() {
	for {
		conn, err := h.gate.AcceptUnix()
		if err != nil {
			return // closed
		}
		go h.admit(conn)
	}
}

// Close ends every sandbox, waits for the processes, and removes what the Host has made. It may be called once.
func (h *Host) Close() error {
	h.mu.Lock()
	var all []*Sandbox
	for s := range h.alive {
		all = append(all, s)
	}
	h.mu.Unlock()
	for _, s := range all {
		s.Kill()
	}
	for _, s := range all {
		<-s.done
		<-s.removed
	}
	var err error
	if h.gate != nil {
		err = h.gate.Close()
	}
	if h.reaper != nil {
		unix.Close(h.reaper.epoll)
	}
	if h.roots != nil {
		h.roots.close()
	}
	if h.cgroups != nil {
		err = errors.Join(err, h.cgroups.clear())
	}
	return errors.Join(err, os.RemoveAll(h.dir))
}

func (h *Host) expected(id core.NodeID) *Sandbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.awaited[id]
	delete(h.awaited, id)
	return s
}

// takeIDs returns a free range of ids. They are handed out in turn, so that a range rests long before it is used again.
func (h *Host) takeIDs() (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range idRanges {
		slot := h.nextSlot
		h.nextSlot = (slot + 1) % idRanges
		if !h.idSlots[slot] {
			h.idSlots[slot] = true
			return slot, nil
		}
	}
	return 0, core.Errorf(core.KindExhausted, core.FaultWorker, "all %d ranges of user ids are in use", idRanges)
}

// Sandbox is one sandbox, from Create until its process has ended.
type Sandbox struct {
	host   *Host
	config core.SandboxConfig
	cgroup *cgroup
	orders []byte
	give   []int // descriptors that go with the orders, ours until they are sent
	conn   net.Conn

	mu      sync.Mutex
	gate    *net.UnixConn
	pid     int
	pidfd   int
	killed  bool
	settled bool

	ids      int // range of ids, -1 for a forked process, which lives in its zygote's
	attested time.Time
	enter    time.Duration
	err      error         // why nobody came in
	in       chan struct{} // closed when enter or err is known
	done     chan struct{} // closed when the process has ended
	removed  chan struct{} // closed when nothing is left of the sandbox
	exit     core.Exit
}

// Create makes a sandbox, ready for its process to enter. The caller ends it with Kill.
func (h *Host) Create(_ context.Context, config core.SandboxConfig) (*Sandbox, error) {
	s := &Sandbox{host: h, config: config, pidfd: -1, ids: -1,
		in: make(chan struct{}), done: make(chan struct{}), removed: make(chan struct{})}
	if err := s.make(); err != nil {
		s.closeGiven()
		if s.cgroup != nil {
			err = errors.Join(err, s.cgroup.remove())
		}
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "making a sandbox for %s: %w", config.ID, err)
	}
	h.mu.Lock()
	h.awaited[config.ID] = s
	h.alive[s] = struct{}{}
	h.mu.Unlock()
	return s, nil
}

func (s *Sandbox) make() error {
	h := s.host
	var uid uint32
	if s.config.Role != core.RoleZygote {
		uid = 1 + h.uids.Add(1)%(idRange-2)
	}
	spec, err := h.newSpec(s.config, uid, string(s.config.ID))
	if err != nil {
		return err
	}
	if s.cgroup, err = h.cgroups.create(string(s.config.ID), spec.Linux.Resources); err != nil {
		return err
	}
	if s.orders, err = newOrders(spec, h.filters[s.config.Role], s.config.Role); err != nil {
		return err
	}
	root, err := h.roots.copyFor(spec)
	if err != nil {
		return err
	}
	s.give = append(s.give, root)
	for _, stream := range []string{"stdout", "stderr"} {
		if err := s.openOutput(stream); err != nil {
			return err
		}
	}
	if s.config.Role == core.RoleInstance {
		if err := s.openEndpoint(); err != nil {
			return err
		}
	}
	return s.writeBundle(spec)
}

// openOutput makes the pipe that becomes the process's stream.
func (s *Sandbox) openOutput(stream string) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return err
	}
	s.give = append(s.give, p[1])
	output := os.NewFile(uintptr(p[0]), stream)
	go func() {
		defer output.Close()
		s.host.output(s.config, stream, output)
	}()
	return nil
}

// openEndpoint makes the socket pair over which events and results go.
func (s *Sandbox) openEndpoint() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.give = append(s.give, pair[1])
	file := os.NewFile(uintptr(pair[0]), "endpoint")
	defer file.Close()
	s.conn, err = net.FileConn(file)
	return err
}

func (s *Sandbox) writeBundle(spec *specs.Spec) error {
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	dir := s.host.bundle(s.config.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
}

func (s *Sandbox) closeGiven() {
	for _, fd := range s.give {
		unix.Close(fd)
	}
	s.give = nil
}

// Ref returns the sandbox as a driver sees it.
func (s *Sandbox) Ref() core.Sandbox { return core.Sandbox{ID: s.config.ID, Gate: s.host.gatePath()} }

// Entered returns who came through the gate, as the kernel attested it, and how long entering took from there. It waits a
// moment for a process that is on its way; when nobody came in, the error says why.
func (s *Sandbox) Entered() (pid int, enter time.Duration, err error) {
	select {
	case <-s.in:
	case <-time.After(time.Second):
		return 0, 0, core.Errorf(core.KindInternal, core.FaultDriver, "no process came through the gate of %s", s.config.ID)
	}
	return s.pid, s.enter, s.err
}

// Endpoint returns the socket to the process of an instance, nil for other roles. It is closed with the sandbox.
func (s *Sandbox) Endpoint() net.Conn { return s.conn }

// Done is closed when the process has ended, by itself or by Kill.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

// Exit returns how the process ended. It is complete once Done is closed.
func (s *Sandbox) Exit() core.Exit { return s.exit }

// Usage measures the memory of the sandbox's processes, which takes milliseconds for a large one.
func (s *Sandbox) Usage() (core.Usage, error) { return usageOf(members(s.cgroup.dirs[0])) }

// Kill ends everything in the sandbox: its process is the first of a pid namespace, and with that one the kernel ends all
// others. It returns at once; Done follows. It may be called many times.
func (s *Sandbox) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed {
		return
	}
	s.killed = true
	switch {
	case s.pidfd >= 0:
		_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
	case s.gate != nil:
		s.gate.Close() // at the gate: it leaves with an error
	default:
		s.host.expected(s.config.ID)
		go s.settle(errors.New("the sandbox was killed before a process came"))
	}
}

// settle records that the process came in, or why not. Without a process the sandbox is at its end.
func (s *Sandbox) settle(err error) {
	s.mu.Lock()
	if s.settled {
		s.mu.Unlock()
		return
	}
	s.settled = true
	attested := s.pidfd >= 0
	s.mu.Unlock()
	if err != nil {
		s.err = core.Errorf(core.KindInternal, core.FaultDriver, "entering the sandbox of %s: %w", s.config.ID, err)
	}
	close(s.in)
	if err == nil {
		return
	}
	if attested {
		s.Kill()
	} else {
		s.ended()
	}
}

// ended frees what the sandbox held. It is called once: by the reaper, or by settle when there never was a process.
func (s *Sandbox) ended() {
	<-s.in // the gate may still be giving it its descriptors
	if s.pidfd >= 0 {
		s.exit = exitOf(s.pidfd)
	}
	s.exit.OutOfMemory = s.cgroup.outOfMemory()
	close(s.done)
	s.mu.Lock()
	s.killed = true
	closeFD(s.pidfd)
	s.pidfd = -1
	if s.gate != nil {
		s.gate.Close()
	}
	s.mu.Unlock()
	s.closeGiven()
	err := errors.Join(s.cgroup.remove(), os.RemoveAll(s.host.bundle(s.config.ID)))
	if err != nil {
		s.host.log.Warn("evict", "node", s.config.ID, "err", err)
	}
	if s.conn != nil {
		s.conn.Close() // last, for an answer may still be on its way out of it
	}
	s.host.mu.Lock()
	if s.ids >= 0 {
		s.host.idSlots[s.ids] = false
	}
	delete(s.host.alive, s)
	s.host.mu.Unlock()
	close(s.removed)
}
