package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// idRange is how many ids a user namespace has. The first is the root of the namespace.
const idRange = 1 << 16

// firstID is the first id on the host that worker hands out. systemd documents 0x70000000 and up as free of any use
// (systemd.io/UIDS-GIDS): above the container range, below the ids that break programs which take ids for signed.
const firstID = 0x70000000

// idRanges is how many user namespaces fit until ids would become negative for those programs.
const idRanges = (0x7fffffff - firstID) / idRange

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
	err = raw.Control(func(fd uintptr) {
		// Set on the listener, so that it holds for packets that come before accept: connections inherit it.
		fail = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		// Linux ≥ 6.5 also hands out the sender's pidfd; before, it is opened by the attested number.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
	})
	return gate, errors.Join(err, fail)
}

// admit serves one connection at the gate. Its first packet names the sandbox and comes from the driver, which is the only
// one that can reach the socket; all others come from the process that is to enter.
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

// peer is one packet with what the kernel says of its sender. The pidfd is -1 where the kernel gives none.
type peer struct {
	note  note
	pid   int
	uid   uint32 // as the host has it
	pidfd int
	first int // with HELLO: what it has sent as the pidfd of the first process of its pid namespace; else -1
}

// close closes the descriptors.
func (p peer) close() {
	closeFD(p.pidfd)
	closeFD(p.first)
}

func readPeer(conn *net.UnixConn) (peer, error) {
	p := peer{pidfd: -1, first: -1}
	packet, oob := make([]byte, 256), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(packet, oob)
	if errors.Is(err, io.EOF) {
		return p, errors.New("the process went away at the gate")
	}
	if err != nil {
		return p, err
	}
	a, err := parseAncillary(oob[:oobn])
	if err != nil {
		return p, err
	}
	switch p.note, err = parseNote(packet[:n]); {
	case err != nil:
		err = fmt.Errorf("a packet of %d bytes at the gate: %w", n, err)
	case p.note.Kind == kindHello && len(a.descriptors) != 1:
		err = fmt.Errorf("HELLO with %d descriptors at the gate, and not the pidfd of a first process", len(a.descriptors))
	case p.note.Kind != kindHello && len(a.descriptors) > 0:
		err = errors.New("a packet with descriptors at the gate")
	case a.pid <= 0:
		err = errors.New("the kernel does not say who is at the gate")
	}
	if err != nil {
		a.close()
		return p, err
	}
	p.pid, p.uid, p.pidfd = a.pid, a.uid, a.pidfd
	if p.note.Kind == kindHello {
		p.first = a.descriptors[0]
	}
	return p, nil
}

// receive leads a process through the gate. It returns when the process is inside or has failed to get there.
func (s *Sandbox) receive(conn *net.UnixConn) error {
	s.mu.Lock()
	killed := s.killed
	if !killed {
		s.gate = conn
	}
	s.mu.Unlock()
	if killed {
		return errors.Join(errKilled, conn.Close())
	}
	for {
		p, err := readPeer(conn)
		if err != nil {
			return err
		}
		switch {
		case p.note.Kind == kindUser && s.ids < 0 && s.pid == 0:
			err = s.mapIDs(p)
		case p.note.Kind == kindHello && s.pid == 0:
			err = s.attest(p)
		case p.note.Kind == kindNetwork && p.pid == s.pid && s.network() == networkRelay && s.relay == nil:
			err = s.openRelay(p)
		case p.note.Kind == kindEntered && p.pid == s.pid:
			p.close()
			s.enter = time.Since(s.attested)
			if s.ids < 0 {
				return conn.Close() // a forked process needs it no more; a keeper watches it for the worker's end
			}
			if err := conn.SetDeadline(time.Time{}); err != nil || s.config.Role != core.RoleZygote {
				return err
			}
			return s.host.networks.follow(conn, s.pid, s.done)
		case p.note.Kind == kindFailed:
			p.close()
			return fmt.Errorf("%s: %w", p.note.step(), unix.Errno(p.note.Err))
		default:
			p.close()
			return fmt.Errorf("packet of kind %d out of turn at the gate", p.note.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// mapIDs gives the launcher's user namespace a range of ids that no other user namespace and no user of the host has.
func (s *Sandbox) mapIDs(p peer) error {
	p.close()
	slot, err := s.host.takeIDs()
	if err != nil {
		return err
	}
	s.ids = slot
	line := []byte("0 " + strconv.Itoa(firstID+slot*idRange) + " " + strconv.Itoa(idRange) + "\n")
	for _, file := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", p.pid, file), line, 0); err != nil {
			return fmt.Errorf("mapping ids: %w", err)
		}
	}
	// After the maps: the kernel takes them but once, and from a user namespace right below the host's. So whoever has been
	// given them is a launcher, and no process of a sandbox gets out of its cgroup this way.
	if err := s.cgroup.attach(p.pid); err != nil {
		return err
	}
	answer := note{Kind: kindGo}
	if s.config.Role == core.RoleInstaller {
		answer.Err = 1
	}
	_, err = s.gate.Write(answer.bytes())
	return err
}

var errKilled = errors.New("the sandbox was killed before the process was in it")

// attest takes the process at the gate for the sandbox's own: from here on it can be measured, watched and killed.
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
		closeFD(p.first)
		return errKilled
	}
	return s.letIn(p)
}

// letIn gives the process its orders, and takes the first process of its namespace for what ends it.
func (s *Sandbox) letIn(p peer) error {
	if err := s.cgroup.attach(p.pid); err != nil {
		closeFD(p.first)
		return err
	}
	if s.network() == networkMake && s.ids < 0 {
		if fd := s.host.networks.take(p.pid); fd >= 0 {
			s.joinNetwork(fd)
		}
	}
	root, err := s.host.roots.copyFor(s.spec, s.root, rootOf(p.uid))
	if err != nil {
		closeFD(p.first)
		return err
	}
	s.give = append([]int{root}, s.give...)
	_, _, err = s.gate.WriteMsgUnix(s.orders, unix.UnixRights(s.give...), nil)
	s.closeGiven()
	first := 0
	if err == nil {
		first, err = checkFirst(p.pid, p.first, s.own()) // last, for the process is busy with its orders meanwhile
	}
	if err != nil {
		closeFD(p.first)
		return err
	}
	s.mu.Lock()
	s.first = p.first
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

// rootOf returns the user of the host that is root in the user namespace of another one.
func rootOf(uid uint32) int {
	if uid < firstID {
		return 0
	}
	return int(uid) - (int(uid)-firstID)%idRange
}

// own is the pid that the process of the sandbox has in its pid namespace: the first one is init. An installer is the first itself, for then
// what it runs as its own user cannot end it.
func (s *Sandbox) own() int {
	if s.config.Role == core.RoleInstaller {
		return 1
	}
	return 2
}

// checkFirst refuses a process that has another pid than own in a pid namespace of its own, such as the zygote itself, or whose namespace does
// not have as its first process the one that the pidfd is of: to kill that one would not kill all that it forks. It returns the first one's pid.
func checkFirst(pid, pidfd, own int) (first int, err error) {
	numbers, err := pidsIn(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	if len(numbers) < 2 || numbers[len(numbers)-1] != own {
		return 0, fmt.Errorf("process %d at the gate is not number %d of a pid namespace of its own", pid, own)
	}
	its, err := pidsIn(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd)) // nothing when it is no pidfd, or of a process that has ended
	if err != nil {
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

// pidsIn returns the numbers that a process has in its pid namespaces, the outermost first, as a file of /proc says.
func pidsIn(file string) (numbers []int, err error) {
	text, err := os.ReadFile(file)
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
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// network returns what the orders say of the network namespace.
func (s *Sandbox) network() uint32 { return binary.NativeEndian.Uint32(s.orders[networkOffset:]) }

func (s *Sandbox) orderNetwork(what uint32) {
	binary.NativeEndian.PutUint32(s.orders[networkOffset:], what)
}

// joinNetwork changes the orders: to join a namespace instead of making one.
func (s *Sandbox) joinNetwork(fd int) {
	s.orderNetwork(networkJoin)
	s.give = slices.Insert(s.give, 2, fd) // after the two streams, and the root that comes before all
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
