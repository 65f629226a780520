package sandbox

import (
	"context"
	"fmt"
	"net"

	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// openRelay has the relay listen in the network that the process at the gate has made, and lets the process
// go on.
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

// listenIn listens on a TCP address in the network namespace of the process, which must not be the worker's
// own.
func listenIn(pidfd int, address string) (listener net.Listener, err error) {
	err = netns.Do(pidfd, func() (err error) {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		listener, err = config.Listen(context.Background(), "tcp", address)
		return err
	})
	if err != nil && listener != nil {
		listener.Close()
	}
	return listener, err
}
