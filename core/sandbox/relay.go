package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openRelay has the relay listen in the network that the process at the gate has made, and lets the process go on.
func (s *Sandbox) openRelay(p peer) error {
	closeFD(p.pidfd)
	var err error
	s.relay, err = s.host.relay(s.config, func(address string) (net.Listener, error) { return listenIn(s.pidfd, address) })
	if err != nil {
		return fmt.Errorf("the relay: %w", err)
	}
	_, err = s.gate.Write(note{Kind: kindGo}.bytes())
	return err
}

// listenIn listens on a TCP address in the network namespace of the process, which must not be the worker's own. The socket stays there;
// the thread is there for no longer than it takes to make it.
func listenIn(pidfd int, address string) (listener net.Listener, err error) {
	const own = "/proc/thread-self/ns/net"
	runtime.LockOSThread()
	home, err := os.Open(own)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.Close()
	before, err := home.Stat()
	if err == nil {
		err = unix.Setns(pidfd, unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	if there, e := os.Stat(own); e != nil || os.SameFile(before, there) {
		err = errors.Join(e, errors.New("the process has no network of its own"))
	} else {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		listener, err = config.Listen(context.Background(), "tcp", address)
	}
	if e := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); e != nil {
		// Locked it stays: the thread ends with the goroutine, and nothing else ever runs in that network.
		if listener != nil {
			listener.Close()
		}
		return nil, errors.Join(err, e)
	}
	runtime.UnlockOSThread()
	return listener, err
}
