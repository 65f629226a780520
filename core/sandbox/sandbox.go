package sandbox

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Descriptors is the number of the worker's descriptors that one sandbox takes: its two streams, its
// endpoint, its process, the first process of its pid namespace, three lists and the number of its processes,
// its place at the gate, the listener of its filter, and its user namespace and network with two lists of its
// traces. A forked process leaves the gate when it is inside.
const Descriptors = 15

// readAfterEnd is how long an endpoint can be read from after the end of its process.
const readAfterEnd = time.Second

// Sandbox is one sandbox, from Create until its process has ended.
type Sandbox struct {
	host     *Host
	config   core.SandboxConfig
	spec     *specs.Spec // is enforced as it stands
	root     rootKey     // of its root directory
	cgroup   *cgroup
	orders   []byte
	give     []int     // descriptors that go with the orders, ours until they are sent
	output   []*Output // our ends of stdout and stderr
	read     bool      // somebody reads them, and closes them
	conn     net.Conn
	endpoint uint64        // inode of the other end of conn
	forks    *net.UnixConn // over which a zygote is asked to fork; nil when only its driver asks
	fit      int           // so many processes and threads were there when it was found fit last; for who holds the instance
	relay    io.Closer     // nil when nothing can be reached

	listener *os.File      // by which its processes ask for a network, nil when there is none to be had
	answered chan struct{} // closed when nobody asks any more
	network  io.Closer     // what Connect has made, nil before; who answers has it until answered is closed

	mu      sync.Mutex
	gate    *net.UnixConn
	pid     int
	pidfd   int
	first   int // pidfd of the first process of its pid namespace, once that was checked
	init    int // pid of that process when it is init; 0 before
	killed  bool
	settled bool

	ids      int    // range of ids, -1 for a forked process, which has some of its zygote's
	mapped   bool   // and they are those of its user namespace
	rootID   int    // id on the host that is root in its user namespace
	user     uint64 // inode of the user namespace that was made for a forked process
	own      *user  // of a zygote
	from     *user  // of an instance: its zygote's
	place    place  // of an instance
	left     bool   // with its cgroup, for the next one
	number   int    // that its process has in its pid namespace
	attested time.Time
	enter    time.Duration
	err      error         // why nobody came in
	in       chan struct{} // closed when enter or err is known
	done     chan struct{} // closed when the process has ended
	removed  chan struct{} // closed when nothing is left of the sandbox
	exit     core.Exit
}

// make makes all of it on the host. When it fails the caller discards the sandbox.
func (s *Sandbox) make() error {
	h, role := s.host, s.config.Role
	spec, err := h.newSpec(s.config)
	if err != nil {
		return err
	}
	s.spec = spec
	if s.root, err = keyOf(spec); err != nil {
		return err
	}
	if err = s.takePlace(); err != nil {
		return err
	}
	spec.Linux.CgroupsPath = s.cgroup.path
	filter, err := h.filters.of(role, s.connected(), s.config.Runtime.SystemCalls)
	if err != nil {
		return err
	}
	if s.orders, err = newOrders(spec, filter, role, h.landlock, s.connected()); err != nil {
		return err
	}
	s.orders = withPages(s.orders, s.config.Pages)
	if len(s.config.Registries) > 0 {
		s.order(networkOffset, networkRelay)
	}
	for range 2 {
		if err := s.openOutput(); err != nil {
			return err
		}
	}
	switch {
	case role == core.RoleInstance:
		return s.openEndpoint()
	case role == core.RoleZygote && s.config.Forks:
		return s.openForks()
	}
	return nil
}

// openOutput makes the pipe that becomes one of the process's streams.
func (s *Sandbox) openOutput() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	s.give = append(s.give, p[1])
	// It is the worker's, and still the process opens /dev/stdout to write to it.
	if err := unix.Fchmod(p[1], 0o622); err != nil {
		unix.Close(p[0])
		return err
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		unix.Close(p[0])
		return err
	}
	output, err := newOutput(os.NewFile(uintptr(p[0]), "output"))
	if err != nil {
		return err
	}
	s.output = append(s.output, output)
	return nil
}

// openEndpoint makes the socket pair over which events and results go.
func (s *Sandbox) openEndpoint() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.give = append(s.give, pair[1])
	var stat unix.Stat_t
	if err := unix.Fstat(pair[1], &stat); err != nil {
		unix.Close(pair[0])
		return err
	}
	s.endpoint = stat.Ino
	conn, err := connOf(pair[0])
	if err == nil {
		s.conn = conn // which is an interface, and not nil with a nil in it
	}
	return err
}

// openForks makes the socket pair over which core asks a zygote to fork.
func (s *Sandbox) openForks() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.give = append(s.give, pair[1])
	s.order(coreOffset, coreForks)
	s.forks, err = connOf(pair[0])
	return err
}

// connOf returns a socket as a connection, and takes the descriptor, also when it fails.
func connOf(fd int) (*net.UnixConn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// await lets the process come, and has somebody read what it prints.
func (s *Sandbox) await() {
	for i, stream := range []string{"stdout", "stderr"} {
		output := s.output[i]
		go func() {
			defer output.close()
			s.host.output(s.config, stream, output)
		}()
	}
	s.read = true
	h := s.host
	h.mu.Lock()
	defer h.mu.Unlock()
	h.awaited[s.config.ID], h.alive[s.config.ID] = s, s
}

// discard frees what the sandbox holds on the host, and its name last. There is no process in it, or not any
// more.
func (s *Sandbox) discard() error {
	h := s.host
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if s.ids >= 0 {
			h.idSlots[s.ids] = false
		}
		delete(h.alive, s.config.ID)
	}()
	s.closeGiven()
	s.leave(false)
	if s.own != nil && s.own.ready == nil { // it never came in
		s.own.close()
	}
	if !s.read {
		for _, output := range s.output {
			output.close()
		}
	}
	if s.forks != nil {
		s.forks.Close()
	}
	var err error
	if s.cgroup != nil && !s.left {
		err = s.cgroup.remove()
	}
	switch {
	case s.conn == nil:
	case s.pid == 0:
		s.conn.Close()
	default:
		// An answer may still be in it, and who reads it may not have had a turn. That its process has ended
		// he reads too.
		time.AfterFunc(readAfterEnd, func() { s.conn.Close() })
	}
	return err
}

// awaitFirst waits until the first process of the namespace has ended, and with it all others. It does when
// the process has, and when whoever forked that has reaped it. It returns false if it gave up.
func (s *Sandbox) awaitFirst() bool {
	gone := make(chan struct{})
	if s.first < 0 || s.host.reaper.watch(s.first, func() { close(gone) }) != nil {
		return false
	}
	select {
	case <-gone:
		return true
	case <-time.After(readAfterEnd):
		return false
	}
}

func (s *Sandbox) closeGiven() {
	for _, fd := range s.give {
		unix.Close(fd)
	}
	s.give = nil
}

// Door returns the sandbox as a driver sees it.
func (s *Sandbox) Door() core.Door { return core.Door{ID: s.config.ID, Gate: s.host.gatePath()} }

// Entered returns the pid of the process that came through the gate, as the kernel attested it, and how long
// it took to enter. It waits a moment for a process that is on its way. If nobody came in, the error says
// why.
func (s *Sandbox) Entered() (pid int, enter time.Duration, err error) {
	select {
	case <-s.in:
	case <-time.After(time.Second):
		return 0, 0, core.Errorf(core.KindInternal, core.FaultDriver, "no process came through the gate of %s", s.config.ID)
	}
	return s.pid, s.enter, s.err
}

// Endpoint returns the socket to the process of an instance, nil for other roles. The sandbox closes it a
// second after its process has ended.
func (s *Sandbox) Endpoint() net.Conn { return s.conn }

// Done is closed when the process has ended, by itself or by Kill.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

// Exit returns how the process ended. It is complete once Done is closed.
func (s *Sandbox) Exit() core.Exit { return s.exit }

// Usage measures the memory of the sandbox's processes. It takes milliseconds for a large sandbox.
func (s *Sandbox) Usage() (core.Usage, error) { return usageOf(members(s.cgroup.dirs[0])) }

// Allow lets the processes of a zygote's sandbox use so many bytes of memory, besides those in files, if that
// is more than before.
func (s *Sandbox) Allow(bytes int64) {
	config := s.config
	config.Limits.Memory = bytes
	s.mu.Lock()
	defer s.mu.Unlock()
	allowed := s.spec.Linux.Resources.Memory
	wanted := resources(config).Memory
	if s.killed || *wanted.Limit <= *allowed.Limit {
		return
	}
	if err := s.cgroup.manager.Set(s.host.cgroups.memory(*wanted.Limit)); err != nil {
		s.host.log.Warn("fork", "node", s.config.ID, "err", err)
	}
	*allowed = *wanted
}

// Kill ends everything in the sandbox: with the first process of its pid namespace the kernel ends all
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
		s.signal()
	case s.gate != nil:
		s.gate.Close() // at the gate: it leaves with an error
	default:
		s.host.expected(s.config.ID)
		go s.settle(errKilled)
	}
}

// signal ends the process, and with the first one of its namespace all others. The caller holds mu.
func (s *Sandbox) signal() {
	for _, fd := range []int{s.first, s.pidfd} {
		if fd >= 0 {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
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
	if err != nil {
		s.killed = true
		s.signal() // also when Kill came before the process was known and could only close the gate
	}
	s.mu.Unlock()
	if err != nil {
		doing := fmt.Sprint("entering the sandbox of ", s.config.ID)
		s.err = cmp.Or(core.Shortage(doing, err), core.Errorf(core.KindInternal, core.FaultDriver, "%s: %w", doing, err))
	}
	close(s.in)
	if err == nil {
		return
	}
	if !attested {
		s.ended()
	}
}

// ended frees what the sandbox held. It is called once: by the reaper, or by settle when there never was a
// process.
func (s *Sandbox) ended() {
	<-s.in // the gate may still be giving it its descriptors
	if s.pidfd >= 0 {
		reapOrphan(s.pidfd)
		s.exit = exitOf(s.pidfd, s.host.exitWait)
	}
	s.exit.OutOfMemory, s.exit.Starved = s.cgroup.outOfMemory()
	s.exit.Crowded = s.cgroup.refusals() > 0
	if s.relay != nil {
		s.relay.Close()
	}
	s.disconnect()
	close(s.done)
	s.leave(s.awaitFirst())
	s.mu.Lock()
	s.killed = true
	if s.first >= 0 {
		reapOrphan(s.first)
	}
	closeFD(s.pidfd)
	closeFD(s.first)
	s.pidfd, s.first = -1, -1
	if s.gate != nil {
		s.gate.Close()
	}
	s.mu.Unlock()
	if err := s.discard(); err != nil {
		s.host.log.Warn("evict", "node", s.config.ID, "err", err)
	}
	close(s.removed)
}
