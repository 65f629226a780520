package endpoint

import (
	"errors"
	"net"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// tokens is the first version of the protocol with tokens: every frame that an instance sends in an event
// begins with the event's token.
const tokens = 3

// Conn is core's end of an endpoint.
type Conn struct {
	net.Conn
	Gone   bool // the instance may be told that a caller has gone
	tokens bool

	// Used by quiet to look for unread bytes without an allocation for each event. They are nil for a
	// connection that is no socket.
	raw    syscall.RawConn
	look   func(fd uintptr)
	first  [1]byte
	unread bool
}

// Open returns core's end of an endpoint. The instance speaks that version of the protocol. It belongs to the
// owner of the connection. One goroutine at a time uses it, except for SendAnswer, SendGone and deadlines.
func Open(conn net.Conn, protocol int) *Conn {
	c := &Conn{Conn: conn, tokens: protocol >= tokens}
	if socket, ok := conn.(syscall.Conn); ok {
		c.raw, _ = socket.SyscallConn() // a closed connection fails again at the next read
		c.look = func(fd uintptr) {
			n, _, err := syscall.Recvfrom(int(fd), c.first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			c.unread = n > 0 && err == nil
		}
	}
	return c
}

// errStray is the error for an instance that has sent something unasked.
var errStray = errors.New("the instance has said something that it was not asked for")

// quiet returns an error when there is something to read. Nobody can have asked for it.
func (c *Conn) quiet() error {
	if c.raw == nil {
		return nil
	}
	if c.unread = false; c.raw.Control(c.look) == nil && c.unread {
		return errStray
	}
	return nil
}

// foreign is the error for a frame that does not begin with the token of the event under way.
func foreign() error {
	return broken{core.Errorf(core.KindExit, core.FaultHandler, "something that the handler has started answered an event that was not its own, or wrote to the worker's descriptor 4; "+
		"the instance was ended: a process that a handler forks must end by itself, and leave foreign descriptors alone")}
}
