package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Fork has the zygote that the sandbox was made for (SandboxConfig.Parent, with Forks) fork its process,
// without the driver, and leads it in. It returns when the process is inside, or with the error that Entered
// has: the zygote has ended, said why it cannot, or said nothing until ctx ended.
func (s *Sandbox) Fork(ctx context.Context) error {
	if s.host.expected(s.config.ID) != nil {
		s.settle(s.fork(ctx))
	}
	<-s.in // it was killed before
	return s.err
}

func (s *Sandbox) fork(ctx context.Context) error {
	conn, gate, err := gatePair()
	if err != nil {
		return err
	}
	defer gate.Close()
	_ = conn.SetDeadline(time.Now().Add(gateDeadline))
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := s.stand(conn); err != nil {
		return err
	}
	if err := s.host.askFork(s.config.Parent, gate); err != nil {
		return err
	}
	gate.Close() // now the zygote alone has it: its end is the connection's
	return s.attend(conn)
}

// gatePair returns both ends of a connection like those at the gate: ours, and the one for the process.
func gatePair() (ours *net.UnixConn, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(pair[1]), "gate")
	if err = attestPeers(pair[0]); err == nil {
		ours, err = connOf(pair[0])
	} else {
		unix.Close(pair[0])
	}
	if err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// askFork asks a zygote for a child, and gives it the connection at the gate for that.
func (h *Host) askFork(zygote core.NodeID, gate *os.File) error {
	h.mu.Lock()
	s := h.alive[zygote]
	h.mu.Unlock()
	if s == nil || s.forks == nil {
		return fmt.Errorf("there is no zygote %s that core could ask to fork", zygote)
	}
	_ = s.forks.SetWriteDeadline(time.Now().Add(gateDeadline))
	_, _, err := s.forks.WriteMsgUnix(note{Kind: kindFork}.bytes(), unix.UnixRights(int(gate.Fd())), nil)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("the zygote %s has ended", zygote)
	}
	return err
}
