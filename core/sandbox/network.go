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

// follow starts to have namespaces made by the keeper behind conn, until it ends. pid is a process in its user namespace.
func (n *networks) follow(conn *net.UnixConn, pid int) error {
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
			ready <- fd
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

// descriptor returns the first descriptor of a control message.
func descriptor(m unix.SocketControlMessage) int {
	return int(int32(binary.NativeEndian.Uint32(m.Data)))
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
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return -1, err
	}
	network := -1
	for _, m := range messages {
		switch m.Header.Type {
		case unix.SCM_RIGHTS:
			network = descriptor(m)
		case unix.SCM_PIDFD:
			closeFD(descriptor(m))
		}
	}
	if network >= 0 {
		return network, nil
	}
	answer, err := parseNote(packet[:n])
	return -1, errors.Join(err, fmt.Errorf("%s: %w", answer.step(), unix.Errno(answer.Err)))
}
