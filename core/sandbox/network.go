package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyNetworks is how many network namespaces a keeper makes ahead. Making one takes 0.5–0.7 ms, a quarter of a start, and
// waits for the kernel's network lock; joining one takes some microseconds.
const readyNetworks = 8

// networks has network namespaces made ahead by the keepers of launched processes, each for the children of its user
// namespace: only there may they be joined, and none is ever used twice.
type networks struct {
	mu      sync.Mutex
	keepers map[uint64]chan int // by inode of the user namespace: descriptors of network namespaces
}

// follow starts to have namespaces made by the keeper behind conn, until ended is closed or conn is. pid is a process in its
// user namespace.
func (n *networks) follow(conn *net.UnixConn, pid int, ended <-chan struct{}) error {
	user, err := userNamespace(pid)
	if err != nil {
		return err
	}
	ready := make(chan int, readyNetworks)
	n.mu.Lock()
	n.keepers[user] = ready
	n.mu.Unlock()
	go func() {
		for {
			fd, err := makeNetwork(conn)
			if err != nil {
				break
			}
			select {
			case ready <- fd:
				continue
			case <-ended:
				unix.Close(fd)
			}
			break
		}
		n.mu.Lock()
		delete(n.keepers, user)
		close(ready)
		n.mu.Unlock()
		for fd := range ready {
			unix.Close(fd)
		}
	}()
	return nil
}

// take returns a namespace for a process, or -1 when none is ready: then the process makes its own.
func (n *networks) take(pid int) int {
	user, err := userNamespace(pid)
	if err != nil {
		return -1
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case fd, open := <-n.keepers[user]:
		if open {
			return fd
		}
	default:
	}
	return -1
}

func userNamespace(pid int) (uint64, error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/user", pid))
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// ancillary is what came along with a packet.
type ancillary struct {
	pid         int // of the sender, as the kernel says; 0 when it does not
	uid         uint32
	pidfd       int   // of the sender, -1 where the kernel gives none
	descriptors []int // that the sender has sent
}

// parseAncillary never loses a descriptor: with an error it has closed them all.
func parseAncillary(oob []byte) (ancillary, error) {
	a := ancillary{pidfd: -1}
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		switch m := &messages[i]; m.Header.Type {
		case unix.SCM_CREDENTIALS:
			credentials, e := unix.ParseUnixCredentials(m)
			if err = errors.Join(err, e); e == nil {
				a.pid, a.uid = int(credentials.Pid), credentials.Uid
			}
		case unix.SCM_PIDFD:
			if len(m.Data) >= 4 {
				a.pidfd = int(int32(binary.NativeEndian.Uint32(m.Data)))
			}
		case unix.SCM_RIGHTS:
			descriptors, e := unix.ParseUnixRights(m)
			err = errors.Join(err, e)
			a.descriptors = append(a.descriptors, descriptors...)
		}
	}
	if err != nil {
		a.close()
	}
	return a, err
}

func (a ancillary) close() {
	closeFD(a.pidfd)
	for _, fd := range a.descriptors {
		unix.Close(fd)
	}
}

// makeNetwork asks the keeper for one namespace.
func makeNetwork(conn *net.UnixConn) (int, error) {
	if _, err := conn.Write(note{Kind: kindNetwork}.bytes()); err != nil {
		return -1, err
	}
	packet, oob := make([]byte, 256), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(packet, oob)
	if err != nil {
		return -1, err
	}
	a, err := parseAncillary(oob[:oobn])
	if err != nil {
		return -1, err
	}
	if len(a.descriptors) == 1 {
		closeFD(a.pidfd)
		return a.descriptors[0], nil
	}
	a.close()
	answer, err := parseNote(packet[:n])
	return -1, errors.Join(err, fmt.Errorf("%s: %w", answer.step(), unix.Errno(answer.Err)))
}
