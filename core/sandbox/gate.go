package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// gateDeadline bounds how long a process may stand at the gate, from the first packet of its driver on.
const gateDeadline = 20 * time.Second

// openGate listens where drivers bring their processes.
func openGate(path string) (*net.UnixListener, error) {
	gate, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	raw, err := gate.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fail error
	// Set on the listener, so that it holds for packets that come before accept: connections inherit it.
	err = raw.Control(func(fd uintptr) { fail = attestPeers(int(fd)) })
	return gate, errors.Join(err, fail)
}

// attestPeers has the kernel report who sends each packet to a socket.
func attestPeers(fd int) error {
	// Linux ≥ 6.5 also hands out the sender's pidfd; before, it is opened by the attested number.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
}

// admit serves one connection at the gate. Its first packet names the sandbox and comes from the driver,
// which is the only one that can reach the socket; all others come from the process that is to enter.
func (h *Host) admit(conn *net.UnixConn, deadline time.Duration) {
	_ = conn.SetDeadline(time.Now().Add(deadline))
	packet := make([]byte, 256)
	n, err := conn.Read(packet)
	if err != nil {
		conn.Close()
		return
	}
	s := h.expected(core.NodeID(packet[:n]))
	if s == nil {
		h.log.Warn("enter", "node", string(packet[:n]), "err", "nobody is expected at the gate by that name")
		conn.Close()
		return
	}
	s.settle(s.receive(conn))
}

// receive leads a process through the gate, whose connection its driver has opened. It returns when the
// process is inside or has failed to get there.
func (s *Sandbox) receive(conn *net.UnixConn) error {
	if err := s.stand(conn); err != nil {
		return err
	}
	return s.attend(conn)
}

// stand takes the connection of the process, and gives a zygote on it what its fork needs.
func (s *Sandbox) stand(conn *net.UnixConn) error {
	s.mu.Lock()
	killed := s.killed
	if !killed {
		s.gate = conn
	}
	s.mu.Unlock()
	switch {
	case killed:
		return errors.Join(errKilled, conn.Close())
	case s.config.Parent != "":
		return s.invite()
	}
	return nil
}

// attend follows the process from its first packet until it is inside or has failed to get there.
func (s *Sandbox) attend(conn *net.UnixConn) error {
	forked := s.config.Parent != ""
	for {
		p, err := readPeer(conn)
		if err != nil {
			return err
		}
		switch {
		case p.note.Kind == kindUser && !forked && s.ids < 0:
			err = s.takeIDs(p)
		case p.note.Kind == kindUser && !forked && !s.mapped:
			err = s.mapIDs(p)
		case p.note.Kind == kindHello && s.pid == 0 && (forked || s.mapped):
			err = s.attest(p)
		case p.note.Kind == kindNetwork && p.pid == s.pid && s.orderedNetwork() == networkRelay && s.relay == nil:
			err = s.openRelay(p)
		case p.note.Kind == kindEntered && p.pid == s.pid:
			closeFD(p.pidfd)
			s.enter = time.Since(s.attested)
			return errors.Join(s.listen(p.given), s.giveSecrets(), s.entered(conn))
		case p.note.Kind == kindFailed:
			p.close()
			return p.failure()
		default:
			p.close()
			return fmt.Errorf("packet of kind %d out of turn at the gate", p.note.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// entered leaves the gate to the keeper of a launched process, which watches it for the worker's end. A
// forked one needs it no more.
func (s *Sandbox) entered(conn *net.UnixConn) error {
	if s.ids < 0 {
		if s.own != nil {
			s.host.users.follow(s.config.ID, s.own, s.done)
			s.leave(false)
		} else if err := s.place.note(s.pid, s.pidfd); err != nil {
			s.host.log.Debug("enter", "node", s.config.ID, "err", err) // it is not used again
		}
		return conn.Close()
	}
	if err := conn.SetDeadline(time.Time{}); err != nil || s.config.Role != core.RoleZygote {
		return err
	}
	file, err := os.Open(userNamespace(s.pid))
	if err != nil {
		return err
	}
	s.own = &user{file: file, keeper: &keeper{conn: conn}, number: s.number, root: s.rootID, ids: newIDs(idRange - ownID), free: func() {}}
	s.host.users.follow(s.config.ID, s.own, s.done)
	return nil
}

// rootNumber is the pid that a root zygote has in its pid namespace. A zygote that is forked has the next one
// after that of its parent, so none has the pid of one of its ancestors: libraries notice a fork by a changed
// pid, and let siblings share their random streams where there is no change (OpenSSL 3 does:
// openssl_get_fork_id is getpid). Instances are number 2, and what they fork themselves comes after that: a
// zygote's is one that hardly any of these gets.
const rootNumber = 20000

// takeIDs tells a launcher, which is still root of the host, who is to own its user namespace, and which
// number its program is to have. An installer is the first process itself, for then what it runs as its own
// user cannot end init.
func (s *Sandbox) takeIDs(p peer) (err error) {
	p.close()
	if s.ids, err = s.host.takeIDs(); err != nil {
		return err
	}
	s.rootID = rootID(s.ids)
	switch s.config.Role {
	case core.RoleInstaller:
		s.number = 1
	case core.RoleZygote:
		s.number = rootNumber
	}
	answer := note{Kind: kindGo, Err: int32(s.number)}
	copy(answer.Step[:], strconv.Itoa(s.rootID+1))
	_, err = s.gate.Write(answer.bytes())
	return err
}

// mapIDs gives the launcher's user namespace a range of ids that no other user namespace and no user of the
// host has.
func (s *Sandbox) mapIDs(p peer) error {
	p.close()
	line := fmt.Appendf(nil, "0 %d %d\n", s.rootID, idRange)
	for _, file := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", p.pid, file), line, 0); err != nil {
			return fmt.Errorf("mapping ids: %w", err)
		}
	}
	// After the maps: the kernel takes them but once, and from a user namespace right below the host's. So
	// whoever has been given them is a launcher, and no process of a sandbox gets out of its cgroup this way.
	if err := s.cgroup.attach(p.pid); err != nil {
		return err
	}
	s.mapped = true
	_, err := s.gate.Write(note{Kind: kindGo}.bytes())
	return err
}

// invite gives the zygote what its fork is to be in, before that is there to ask for it. Only a process of
// that zygote's user can join it.
func (s *Sandbox) invite() error {
	from, err := s.host.users.of(s.config.Parent)
	if err != nil {
		return err
	}
	if s.config.Role == core.RoleZygote {
		if s.own, s.place, err = from.below(); err == nil {
			s.number = s.own.number
		}
	} else {
		s.from = from
		if s.place.user < 0 {
			s.place, err = from.place()
		}
	}
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(s.place.user, &stat); err != nil {
		return err
	}
	s.user, s.rootID = stat.Ino, from.root
	s.order(networkOffset, networkJoin)
	_, _, err = s.gate.WriteMsgUnix(note{Kind: kindUser, Err: int32(s.number)}.bytes(), unix.UnixRights(s.place.user), nil)
	return err
}

var errKilled = errors.New("the sandbox was killed before the process was in it")

// attest takes the process at the gate for the sandbox's own: from here on it can be measured, watched and
// killed.
func (s *Sandbox) attest(p peer) error {
	s.attested = time.Now()
	if p.pidfd < 0 {
		fd, err := unix.PidfdOpen(p.pid, 0)
		if err != nil {
			p.close()
			return fmt.Errorf("pidfd of process %d: %w", p.pid, err)
		}
		p.pidfd = fd
	}
	if err := s.host.reaper.watch(p.pidfd, s.ended); err != nil {
		p.close()
		return err
	}
	s.mu.Lock()
	killed := s.killed
	s.pid, s.pidfd = p.pid, p.pidfd
	s.mu.Unlock()
	if killed {
		closeFD(p.given)
		return errKilled
	}
	return s.letIn(p)
}

// letIn gives the process its orders, and takes the first process of its namespace for what ends it.
func (s *Sandbox) letIn(p peer) error {
	if err := s.cgroup.attach(p.pid); err != nil {
		closeFD(p.given)
		return err
	}
	if s.ids < 0 {
		info, err := os.Stat(userNamespace(p.pid))
		if err == nil && inodeOf(info) != s.user {
			err = fmt.Errorf("process %d at the gate is not in the user namespace that was made for it", p.pid)
		}
		if err != nil {
			closeFD(p.given)
			return err
		}
	}
	var root int
	var err error
	if storage, has := storageOf(s.spec); has {
		root, err = s.host.roots.copyWith(s.spec, s.root, s.rootID, userNamespace(p.pid), storage)
	} else {
		root, err = s.host.roots.copyFor(s.spec, s.root, s.rootID)
	}
	if err != nil {
		closeFD(p.given)
		return err
	}
	s.give = append([]int{root}, s.give...)
	given := s.give
	if s.place.network >= 0 {
		given = slices.Insert(slices.Clone(given), 3, s.place.network) // after the root and the two streams
	}
	_, _, err = s.gate.WriteMsgUnix(s.orders, unix.UnixRights(given...), nil)
	s.closeGiven()
	first := 0
	if err == nil {
		first, err = checkFirst(p, s.number) // last, for the process is busy with its orders meanwhile
	}
	if err != nil {
		closeFD(p.given)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return s.reason()
		}
		return err
	}
	s.mu.Lock()
	s.first = p.given
	if first != p.pid {
		s.init = first
	}
	killed := s.killed
	s.mu.Unlock()
	switch {
	case killed:
		return errKilled
	case first == p.pid:
		return nil
	}
	return s.cgroup.attach(first)
}

// reason returns why a process that has ended at the gate did so, if it said that.
func (s *Sandbox) reason() error {
	p, err := readPeer(s.gate)
	if err != nil {
		return err
	}
	p.close()
	if p.note.Kind != kindFailed {
		return errors.New("the process went away at the gate")
	}
	return p.failure()
}

// checkFirst refuses a process that has another pid than own in a pid namespace of its own, such as the
// zygote itself, or whose namespace does not have as its first process the one that it has given a pidfd of:
// to kill that one would not kill all that it forks. It returns the first one's pid.
func checkFirst(p peer, own int) (first int, err error) {
	pid := p.pid
	numbers, err := pidsOf(p.pidfd)
	if err != nil {
		return 0, err
	}
	if len(numbers) < 2 || numbers[len(numbers)-1] != own {
		return 0, fmt.Errorf("process %d at the gate is not number %d of a pid namespace of its own", pid, own)
	}
	its, err := pidsOf(p.given)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return 0, err
	}
	if len(its) != len(numbers) || its[len(its)-1] != 1 {
		return 0, fmt.Errorf("process %d at the gate has brought no pidfd of the first process of its pid namespace", pid)
	}
	var namespaces [2]string
	for i, p := range []int{pid, its[0]} {
		if namespaces[i], err = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p)); err != nil {
			return 0, err
		}
	}
	if namespaces[0] != namespaces[1] {
		return 0, fmt.Errorf("process %d at the gate has brought a pidfd of another pid namespace's first process", pid)
	}
	return its[0], nil
}

// pidsOf returns the numbers that a process has in its pid namespaces, the outermost first, by a pidfd: none
// if it is a descriptor of something else, ESRCH if the process has ended.
func pidsOf(pidfd int) (numbers []int, err error) {
	text, err := readShort(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(text, []byte("NSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	for _, word := range bytes.Fields(line) {
		n, err := strconv.Atoi(string(word))
		if err != nil {
			return nil, err
		}
		if n < 0 {
			return nil, unix.ESRCH
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// orderedNetwork returns the orders about the network namespace.
func (s *Sandbox) orderedNetwork() uint32 {
	return binary.NativeEndian.Uint32(s.orders[networkOffset:])
}

// order changes the orders at a place.
func (s *Sandbox) order(offset int, what uint32) {
	binary.NativeEndian.PutUint32(s.orders[offset:], what)
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
