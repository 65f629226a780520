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

// visitor is one packet with what the kernel says of its sender. The pidfd is -1 where the kernel gives none.
type visitor struct {
	note  note
	pid   int
	pidfd int
}

func readVisitor(conn *net.UnixConn) (visitor, error) {
	v := visitor{pidfd: -1}
	packet, oob := make([]byte, 256), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(packet, oob)
	if errors.Is(err, io.EOF) {
		return v, errors.New("the process went away at the gate")
	}
	if err != nil {
		return v, err
	}
	a, err := parseAncillary(oob[:oobn])
	if err != nil {
		return v, err
	}
	switch v.note, err = parseNote(packet[:n]); {
	case err != nil:
		err = fmt.Errorf("a packet of %d bytes at the gate: %w", n, err)
	case len(a.descriptors) > 0:
		err = errors.New("a packet with descriptors at the gate")
	case a.pid <= 0:
		err = errors.New("the kernel does not say who is at the gate")
	}
	if err != nil {
		a.close()
		return v, err
	}
	v.pid, v.pidfd = a.pid, a.pidfd
	return v, nil
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
		v, err := readVisitor(conn)
		if err != nil {
			return err
		}
		switch {
		case v.note.Kind == kindUser && s.ids < 0 && s.pid == 0:
			err = s.mapIDs(v)
		case v.note.Kind == kindHello && s.pid == 0:
			err = s.attest(v)
		case v.note.Kind == kindNetwork && v.pid == s.pid && s.network() == networkRelay && s.relay == nil:
			err = s.openRelay(v)
		case v.note.Kind == kindEntered && v.pid == s.pid:
			closeFD(v.pidfd)
			s.enter = time.Since(s.attested)
			if s.ids < 0 {
				return conn.Close() // a forked process needs it no more; a keeper watches it for the worker's end
			}
			if err := conn.SetDeadline(time.Time{}); err != nil || s.config.Role != core.RoleZygote {
				return err
			}
			return s.host.networks.follow(conn, s.pid, s.done)
		case v.note.Kind == kindFailed:
			closeFD(v.pidfd)
			return fmt.Errorf("%s: %w", v.note.step(), unix.Errno(v.note.Err))
		default:
			closeFD(v.pidfd)
			return fmt.Errorf("packet of kind %d out of turn at the gate", v.note.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// mapIDs gives the launcher's user namespace a range of ids that no other user namespace and no user of the host has.
func (s *Sandbox) mapIDs(v visitor) error {
	closeFD(v.pidfd)
	slot, err := s.host.takeIDs()
	if err != nil {
		return err
	}
	s.ids = slot
	line := []byte("0 " + strconv.Itoa(firstID+slot*idRange) + " " + strconv.Itoa(idRange) + "\n")
	for _, file := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", v.pid, file), line, 0); err != nil {
			return fmt.Errorf("mapping ids: %w", err)
		}
	}
	// After the maps: the kernel takes them but once, and from a user namespace right below the host's. So whoever has been
	// given them is a launcher, and no process of a sandbox gets out of its cgroup this way.
	if err := s.cgroup.attach(v.pid); err != nil {
		return err
	}
	_, err = s.gate.Write(note{Kind: kindGo}.bytes())
	return err
}

var errKilled = errors.New("the sandbox was killed before the process was in it")

// attest takes the process at the gate for the sandbox's own: from here on it can be measured, watched and killed.
func (s *Sandbox) attest(v visitor) error {
	s.attested = time.Now()
	if v.pidfd < 0 {
		fd, err := unix.PidfdOpen(v.pid, 0)
		if err != nil {
			return fmt.Errorf("pidfd of process %d: %w", v.pid, err)
		}
		v.pidfd = fd
	}
	if err := s.host.reaper.watch(v.pidfd, s.ended); err != nil {
		unix.Close(v.pidfd)
		return err
	}
	s.mu.Lock()
	killed := s.killed
	s.pid, s.pidfd = v.pid, v.pidfd
	s.mu.Unlock()
	if killed {
		return errKilled
	}
	if err := s.cgroup.attach(v.pid); err != nil {
		return err
	}
	if s.network() == networkMake && s.ids < 0 {
		if fd := s.host.networks.take(v.pid); fd >= 0 {
			s.joinNetwork(fd)
		}
	}
	_, _, err := s.gate.WriteMsgUnix(s.orders, unix.UnixRights(s.give...), nil)
	s.closeGiven()
	if err != nil {
		return err
	}
	return checkFirst(v.pid) // last, for the process is busy with its orders meanwhile
}

// checkFirst refuses a process that is not the first one of a pid namespace, such as the zygote itself: to kill it would not
// kill all that it forks.
func checkFirst(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(text, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if numbers := bytes.Fields(line); len(numbers) < 2 || string(numbers[len(numbers)-1]) != "1" {
		return fmt.Errorf("process %d at the gate is not the first one of a pid namespace", pid)
	}
	return nil
}

// network returns what the orders say of the network namespace.
func (s *Sandbox) network() uint32 { return binary.NativeEndian.Uint32(s.orders[networkOffset:]) }

func (s *Sandbox) orderNetwork(what uint32) {
	binary.NativeEndian.PutUint32(s.orders[networkOffset:], what)
}

// joinNetwork changes the orders: to join a namespace instead of making one.
func (s *Sandbox) joinNetwork(fd int) {
	s.orderNetwork(networkJoin)
	s.give = slices.Insert(s.give, 3, fd) // after the root and the two streams
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
