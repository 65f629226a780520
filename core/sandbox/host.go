// Package sandbox makes, measures and kills the place a process lives in: a cgroup, namespaces, a root directory, a private
// scratch. A sandbox is described by an OCI runtime-spec Spec, and what the Spec says is
// what is enforced.
//
// A sandbox is made before its process. The process comes to the gate by itself, forked by an unprivileged zygote or
// started by the launcher, and carries out on itself what its orders say (enter/enter.h has the protocol). What needs power
// over the host is done here, at the other end of the gate.
//
// Mutex order: Sandbox.mu before Host.mu, which guards the names and ids of all sandboxes. The mutexes of the reaper, of networks
// and of an Output are taken alone. None is held while the caller waits for a process; signals and epoll do not block.
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
	"sync/atomic"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Store tells where code and packages lie on the host.
type Store interface {
	CodePath(digest string) (string, error)
	PackagePath(runtime core.RuntimeID, digest string) (string, error)
}

// Config is what a Host needs.
type Config struct {
	Dir   string // of its own, for its socket and its mounts; emptied at the start
	Name  string // of the worker's cgroup; two workers of one machine have different ones
	Store Store
	// Output is called with each stream ("stdout", "stderr") of each process, in a goroutine of its own. It must read until
	// the end, or the process blocks.
	Output func(config core.SandboxConfig, stream string, output *Output)
	// Relay is called for each sandbox with Registries before its program runs, and its result closed when the sandbox has ended. Listen
	// listens on a TCP address of the sandbox's own network.
	Relay func(config core.SandboxConfig, listen func(address string) (net.Listener, error)) (io.Closer, error)
	Log   *slog.Logger
}

// Host makes sandboxes on this machine.
type Host struct {
	dir      string
	store    Store
	output   func(core.SandboxConfig, string, *Output)
	relay    func(core.SandboxConfig, func(string) (net.Listener, error)) (io.Closer, error)
	log      *slog.Logger
	gate     *net.UnixListener
	spare    *os.File // gives its descriptor to who is turned away at the gate; serve's alone
	serving  sync.WaitGroup
	roots    *roots
	cgroups  *cgroupTree
	reaper   *reaper
	system   []specs.Mount
	masked   []string
	seccomp  map[core.Role]*specs.LinuxSeccomp
	filters  map[core.Role][]byte
	uids     atomic.Uint32
	networks networks

	mu       sync.Mutex
	awaited  map[core.NodeID]*Sandbox // whose process has not come yet
	alive    map[core.NodeID]*Sandbox // nil while it is being made
	idSlots  [idRanges]bool
	nextSlot int // begins anywhere, so that the workers of one machine mostly have different ids
}

// turnAwayWait is how long somebody is waited for who is to be turned away.
const turnAwayWait = 50 * time.Millisecond

// Open prepares the machine for sandboxes. It needs root, and ends and removes what an earlier worker of that name and
// directory has left. The caller closes the Host.
func Open(config Config) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, core.Errorf(core.KindUnsupported, core.FaultWorker, "sandboxes are made by root: start the worker as root (sudo)")
	}
	h := &Host{dir: config.Dir, store: config.Store, output: config.Output, relay: config.Relay, log: config.Log,
		filters: map[core.Role][]byte{}, nextSlot: rand.IntN(idRanges), awaited: map[core.NodeID]*Sandbox{}, alive: map[core.NodeID]*Sandbox{},
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
	for _, dir := range []string{h.dir, h.rootsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	var links map[string]string
	h.system, links = systemMounts()
	h.masked = maskedPaths()
	if h.roots, err = openRoots(h.rootsDir(), links); err != nil {
		return err
	}
	if err := h.roots.do(func() error { return favorDynamicMods(filepath.Join(h.rootsDir(), "mods"), name) }); err != nil {
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

// turnAway tells the next one at the gate that the worker has no descriptor for it, and lets it go. Without that its driver would be taken
// to hang.
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

// Close ends every sandbox, waits for the processes, and removes what the Host has made. It may be called once.
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

// newUID returns a uid for a process that is not a zygote: neither root's, nor that of nobody, as which files of the host appear.
// Two processes below a zygote have the same one only after all others were used.
func (h *Host) newUID() uint32 { return 1 + h.uids.Add(1)%(idRange-3) }

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
	return 0, core.Errorf(core.KindExhausted, core.FaultWorker,
		"all %d ranges of user ids are in use; try again later", idRanges).Again()
}

// Create makes a sandbox, ready for its process to enter. The caller ends it with Kill.
func (h *Host) Create(_ context.Context, config core.SandboxConfig) (*Sandbox, error) {
	s := &Sandbox{host: h, config: config, pidfd: -1, first: -1, ids: -1,
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
