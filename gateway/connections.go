package gateway

import (
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// connections counts the connections of a server. They may use half of the process's descriptors; the worker
// needs the other half for its instances.
type connections struct {
	open atomic.Int64
	most int64
}

func newConnections() *connections {
	limit := syscall.Rlimit{Cur: math.MaxInt64}
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) // without an answer there is no bound
	return &connections{most: int64(min(limit.Cur, math.MaxInt64) / 2)}
}

// count is a http.Server's ConnState.
func (c *connections) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
	}
}

// steadyListener accepts connections that end when the caller stops reading its answer, as a steadyBody ends
// when the caller stops sending.
type steadyListener struct{ net.Listener }

func (l steadyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return steadyConn{conn}, nil
}

type steadyConn struct{ net.Conn }

// atOnce is how many bytes share a deadline. With one deadline for a long answer its end could take hours.
const atOnce = 64 << 10

func (c steadyConn) Write(p []byte) (n int, err error) {
	for {
		part := p[n:min(n+atOnce, len(p))]
		_ = c.SetWriteDeadline(time.Now().Add(stall + time.Duration(len(part))*(time.Second/slowest))) // fails as the write does
		written, err := c.Conn.Write(part)
		n += written
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// CloseWrite is used by a http.Server for the last answer of a connection.
func (c steadyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// refuse returns an error when there are too many connections for one more event.
func (c *connections) refuse() error {
	open := c.open.Load()
	if open <= c.most {
		return nil
	}
	return core.Errorf(core.KindExhausted, core.FaultWorker,
		"%d connections are open, and the worker has descriptors for %d; try again later, or raise its limit (LimitNOFILE= of a service)", open, c.most).Again()
}
