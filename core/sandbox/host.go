// Package sandbox makes, measures and kills the place where a process lives: a cgroup, namespaces, a root
// directory, and a private scratch directory. A Spec of the OCI runtime-spec describes each sandbox, and is
// enforced as it stands.
//
// A sandbox is made before its process. A zygote without privileges forks the process, or the launcher starts
// it. The process comes to the gate by itself, and carries out its orders on itself (enter/enter.h has the
// protocol). This package does the steps that need power over the host, at the other end of the gate.
//
// Mutex order: Sandbox.mu before Host.mu, which guards the names and ids of all sandboxes. The mutexes of the
// places which instances have left, of the groups of cgroups, of the reaper, of users, of ids, of filters, of
// a keeper and of an Output are taken alone. None but a keeper's is held while the caller waits for a
// process; signals and epoll do not block.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Store knows where code and packages lie on the host.
type Store interface {
	CodePath(digest string) (string, error)
	PackagePath(runtime core.RuntimeID, digest string) (string, error)
}

// Config configures a Host.
type Config struct {
	Dir  string // of its own, for its socket and its mounts; emptied at the start
	Name string // of the worker's cgroup; two workers of one machine have different ones
	Bounds
	Store Store
	// Output is called with each stream ("stdout", "stderr") of each process, in a goroutine of its own. It
	// must read until the end, or the process blocks.
	Output func(config core.SandboxConfig, stream string, output *Output)
	// Relay is called for each sandbox with Registries before its program runs, and its result closed when
	// the sandbox has ended. Listen listens on a TCP address of the sandbox's own network.
	Relay func(config core.SandboxConfig, listen func(address string) (net.Listener, error)) (io.Closer, error)
	// Connect is called for an instance with a network when a process of it makes its first socket, and again
	// after it has failed. Its result is closed when the instance has ended. Within runs a function in the
	// sandbox's own network. Without Connect nobody has a network.
	Connect func(config core.SandboxConfig, within func(func() error) error) (io.Closer, error)
	Log     *slog.Logger
}

// Host makes sandboxes on this machine.
type Host struct {
	dir     string
	store   Store
	output  func(core.SandboxConfig, string, *Output)
	relay   func(core.SandboxConfig, func(string) (net.Listener, error)) (io.Closer, error)
	connect func(core.SandboxConfig, func(func() error) error) (io.Closer, error)
	log     *slog.Logger
	gate    *net.UnixListener
	spare   *os.File // gives its descriptor to who is turned away at the gate; serve's alone
	serving sync.WaitGroup
	roots   *roots
	cgroups *cgroupTree
	reaper  *reaper
	// exitWait is how long the parent of a process that has ended may take to reap it.
	exitWait time.Duration
	system   []specs.Mount
	masked   []string
	filters  filters
	// landlock is the version of Landlock that processes use, 0 if the kernel has none that is of use.
	landlock uint32
	users    users

	mu       sync.Mutex
	awaited  map[core.NodeID]*Sandbox // whose process has not come yet
	alive    map[core.NodeID]*Sandbox // nil while it is being made
	idSlots  [idRanges]bool
	nextSlot int // begins anywhere, so that the workers of one machine mostly have different ids
}

// turnAwayWait is how long somebody is waited for who is to be turned away.
const turnAwayWait = 50 * time.Millisecond

// Open prepares the machine for sandboxes. It needs root. It ends the processes of an earlier worker of that
// name and directory, and removes everything else that the worker has left. The caller closes the Host.
func Open(config Config) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, core.Errorf(core.KindUnsupported, core.FaultWorker, "sandboxes are made by root: start the worker as root (sudo)")
	}
	h := &Host{dir: config.Dir, store: config.Store, output: config.Output, relay: config.Relay, connect: config.Connect, log: config.Log,
		filters: filters{known: map[string][]byte{}}, nextSlot: rand.IntN(idRanges), awaited: map[core.NodeID]*Sandbox{}, alive: map[core.NodeID]*Sandbox{},
		users: users{known: map[core.NodeID]*user{}}}
	if err := h.open(config.Name, config.Bounds); err != nil {
		return nil, errors.Join(core.Errorf(core.KindUnsupported, core.FaultWorker,
			"this machine cannot make sandboxes: %w (pipsqueak doctor reports more)", err), h.Close())
	}
	return h, nil
}

func (h *Host) open(name string, bounds Bounds) error {
	var err error
	if h.cgroups, err = openCgroups(name, bounds); err != nil {
		return err
	}
	if err := os.RemoveAll(h.dir); err != nil {
		return err
	}
	for _, dir := range []string{h.dir, h.rootsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	var links map[string]string
	h.system, links = systemMounts()
	h.masked = maskedPaths()
	if version, _ := landlockVersion(); version >= landlockNeeded {
		h.landlock = version
	}
	if h.roots, err = openRoots(h.rootsDir(), links); err != nil {
		return err
	}
	if err := h.roots.do(func() error { return favorDynamicMods(filepath.Join(h.rootsDir(), "mods"), name) }); err != nil {
		h.log.Warn("favordynmods", "err", err, "effect", "starts after a quiet moment take some milliseconds longer")
	}
	if _, err := h.filters.of(core.RoleInstance, false, nil); err != nil {
		return fmt.Errorf("seccomp filters: %w", err)
	}
	if h.reaper, err = openReaper(); err != nil {
		return err
	}
	if h.exitWait = exitWaitUntold; tryExit(context.Background()) {
		h.exitWait = exitWait
	}
	if h.gate, err = openGate(h.gatePath()); err != nil {
		return err
	}
	if h.spare, err = os.Open(os.DevNull); err != nil {
		return err
	}
	h.serving.Go(h.serve)
	return nil
}

func (h *Host) rootsDir() string { return filepath.Join(h.dir, "roots") }
func (h *Host) gatePath() string { return filepath.Join(h.dir, "gate") }

func (h *Host) serve() {
	for {
		conn, err := h.gate.AcceptUnix()
		switch {
		case err == nil:
			go h.admit(conn, gateDeadline)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			h.turnAway(err)
		}
	}
}

// turnAway tells the next one at the gate that the worker has no descriptor for it, and lets it go. Without
// that its driver would be taken to hang.
func (h *Host) turnAway(short error) {
	h.spare.Close()
	defer func() { h.spare, _ = os.Open(os.DevNull) }()  // without one the next time, everybody waits until there is one
	_ = h.gate.SetDeadline(time.Now().Add(turnAwayWait)) // it may be that nobody is there
	conn, err := h.gate.AcceptUnix()
	_ = h.gate.SetDeadline(time.Time{}) // both fail only when it is closed
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(turnAwayWait))
	packet := make([]byte, 256)
	n, err := conn.Read(packet)
	if s := h.expected(core.NodeID(packet[:n])); err == nil && s != nil {
		s.settle(fmt.Errorf("at the gate: %w", short))
	}
}

// Close ends every sandbox, waits for the processes, and removes what the Host has made. It may be called
// once.
func (h *Host) Close() error {
	h.mu.Lock()
	var all []*Sandbox
	for _, s := range h.alive {
		if s != nil {
			all = append(all, s)
		}
	}
	h.mu.Unlock()
	for _, s := range all {
		s.Kill()
	}
	for _, s := range all {
		<-s.removed
	}
	var err error
	if h.gate != nil {
		err = h.gate.Close()
		h.serving.Wait()
		h.spare.Close()
	}
	if h.reaper != nil {
		err = errors.Join(err, h.reaper.close())
	}
	if h.roots != nil {
		err = errors.Join(err, h.roots.close())
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

// takeIDs returns a free range of ids. They are handed out in turn, so that a range rests long before it is
// used again.
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
	return 0, core.Errorf(core.KindExhausted, core.FaultWorker,
		"all %d ranges of user ids are in use; try again later", idRanges).Again()
}

// Create makes a sandbox, ready for its process to enter. The caller ends it with Kill.
func (h *Host) Create(_ context.Context, config core.SandboxConfig) (*Sandbox, error) {
	s := &Sandbox{host: h, config: config, pidfd: -1, first: -1, ids: -1, number: 2, place: noPlace,
		in: make(chan struct{}), done: make(chan struct{}), removed: make(chan struct{})}
	h.mu.Lock()
	_, taken := h.alive[config.ID]
	if !taken {
		h.alive[config.ID] = nil
	}
	h.mu.Unlock()
	if taken {
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "there is a sandbox of %s already", config.ID)
	}
	if err := s.make(); err != nil {
		doing := fmt.Sprint("making the sandbox of ", config.ID)
		short, err := core.Shortage(doing, err), errors.Join(err, s.discard())
		return nil, cmp.Or(short, core.Errorf(core.KindInternal, core.FaultWorker, "%s: %w", doing, err))
	}
	s.await()
	return s, nil
}
