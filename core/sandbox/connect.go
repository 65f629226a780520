package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// This file connects an instance to a network when a process of it makes its first socket. Until then a
// network costs nothing but the listener of its filter.

// Each socket of IPv4, IPv6 or netlink asks, and an answer takes the worker some 15 µs. So an instance gets
// socketBurst answers at once, and then one for each socketPace: a flood of sockets is not to be the
// worker's, whose time no namespace has a share of.
const (
	socketPace  = time.Second / 2000
	socketBurst = 1000
)

// connected reports whether the sandbox's processes get a network when they ask for it.
func (s *Sandbox) connected() bool {
	return s.host.connect != nil && s.config.Role == core.RoleInstance && s.config.Network != "" && s.config.Network != core.NetworkNone
}

// question is struct seccomp_notif, of the call of one thread.
type question struct {
	ID         uint64
	PID, Flags uint32
	Data       struct {
		Number             int32
		Arch               uint32
		InstructionPointer uint64
		Args               [6]uint64
	}
}

// answer is struct seccomp_notif_resp.
type answer struct {
	ID    uint64
	Value int64
	Error int32
	Flags uint32
}

// listen answers what the process at the gate asks by its listener, which is -1 when it has brought none:
// then nothing ever connects it.
func (s *Sandbox) listen(listener int) error {
	switch {
	case listener < 0 && s.connected():
		s.host.log.Warn("connect", "fn", s.config.Function, "node", s.config.ID,
			"err", "its driver was built with an older library (core/sandbox/enter), so it has no network; build the driver again")
		return nil
	case listener < 0:
		return nil
	case !s.connected():
		closeFD(listener)
		return errors.New("the process has brought a listener of its filter that it was not told to")
	}
	if err := unix.SetNonblock(listener, true); err != nil {
		closeFD(listener)
		return err
	}
	s.listener, s.answered = os.NewFile(uintptr(listener), "listener"), make(chan struct{})
	go s.answer()
	return nil
}

// answer answers until no process has the filter any more, or disconnect. The call of a thread that waits for
// an answer goes on in any case: what it may reach is decided elsewhere, by each packet.
func (s *Sandbox) answer() {
	defer close(s.answered)
	raw, err := s.listener.SyscallConn()
	if err != nil {
		return // closed
	}
	var due time.Time // is ahead of now by what the instance has taken of its burst
	for {
		var q question
		var ended error
		err := raw.Read(func(fd uintptr) bool {
			q, ended = ask(int(fd))
			return !errors.Is(ended, unix.EAGAIN)
		})
		switch {
		case err == nil && errors.Is(ended, unix.ENOENT):
			continue // who asked was killed
		case err != nil || ended != nil:
			return // closed, or no process is left
		}
		now := time.Now()
		if due = due.Add(socketPace); due.Before(now) {
			due = now.Add(socketPace)
		}
		time.Sleep(due.Sub(now) - socketBurst*socketPace)
		a := answer{ID: q.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if err := s.connectNow(); err != nil {
			s.host.log.Warn("connect", "fn", s.config.Function, "node", s.config.ID, "err", err)
			a.Flags, a.Error = 0, -int32(unix.ENETDOWN)
		}
		// It fails when who asked was killed, or another signal has interrupted it before Linux 5.19; then it
		// asks again.
		_ = raw.Control(func(fd uintptr) { _ = request(int(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)) })
	}
}

// ask returns the next question: EAGAIN when there is none, another error than ENOENT when there will be
// none.
func ask(listener int) (question, error) {
	var q question
	fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, 0); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case fds[0].Revents&unix.POLLIN != 0:
		err := request(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q))
		if errors.Is(err, unix.EINTR) {
			err = unix.ENOENT // it is asked again
		}
		return q, err
	case fds[0].Revents != 0:
		return q, io.EOF
	}
	return q, unix.EAGAIN
}

func request(fd int, number uint, of unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(number), uintptr(of)); errno != 0 {
		return errno
	}
	return nil
}

// connectNow connects the sandbox, once.
func (s *Sandbox) connectNow() (err error) {
	if s.network != nil {
		return nil
	}
	s.mu.Lock()
	pidfd, err := -1, error(nil)
	if s.pidfd >= 0 {
		pidfd, err = unix.FcntlInt(uintptr(s.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	}
	s.mu.Unlock()
	if err != nil || pidfd < 0 {
		return errors.Join(err, errors.New("the instance has ended"))
	}
	defer unix.Close(pidfd)
	network, err := s.host.connect(s.config, func(f func() error) error { return netns.Do(pidfd, f) })
	if err != nil {
		return fmt.Errorf("connecting to the network: %w", err)
	}
	s.network = network
	return nil
}

// disconnect ends the answers, and lets go of the network.
func (s *Sandbox) disconnect() {
	if s.listener == nil {
		return
	}
	s.listener.Close()
	<-s.answered
	if s.network != nil {
		s.network.Close()
	}
}
