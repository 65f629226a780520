package gateway

import (
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxConnections bounds connections by the memory that idle ones take, some 20 KiB each.
const maxConnections = 12 << 10

// connections counts the connections of a server, in all and by the address of the client. With more than
// most of them events are refused, and the connection ends with the answer. For that answer, spare ones are
// accepted beyond.
type connections struct {
	most, spare int
	log         *slog.Logger

	open     atomic.Int64
	mu       sync.Mutex // guards the following
	byClient map[netip.Addr]int
	refused  int       // since the last line in the log
	logged   time.Time // that line
}

// newConnections returns a count of connections, which may use half of the process's descriptors. The worker
// needs the other half for its instances.
func newConnections(log *slog.Logger) *connections {
	limit := syscall.Rlimit{Cur: math.MaxInt64}
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) // without an answer there is no such bound
	most := int(min(limit.Cur/2, maxConnections))
	return &connections{most: most, spare: max(most/8, 256), log: log, byClient: map[netip.Addr]int{}}
}

// enter counts a connection, or returns false: there are too many, in all or of its client. A client has a
// quarter of all. One on this machine has no such bound, because it may be a proxy for many.
func (c *connections) enter(client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	open, local := int(c.open.Load()), !client.IsValid() || client.IsLoopback()
	if open >= c.most+c.spare || !local && c.byClient[client] >= c.most/4+1 {
		c.refused++
		if now := time.Now(); now.Sub(c.logged) >= time.Second {
			c.log.Warn("refuse connections", "n", c.refused, "open", open, "client", client)
			c.refused, c.logged = 0, now
		}
		return false
	}
	c.open.Add(1)
	c.byClient[client]++
	return true
}

func (c *connections) leave(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open.Add(-1)
	if c.byClient[client]--; c.byClient[client] == 0 {
		delete(c.byClient, client)
	}
}

// refuse returns an error when there are too many connections for one more event.
func (c *connections) refuse() error {
	open := int(c.open.Load())
	if open <= c.most {
		return nil
	}
	return core.Errorf(core.KindExhausted, core.FaultWorker,
		"%d connections are open, and the worker takes events on %d; try again later, or raise its limit of descriptors (LimitNOFILE= of a service) if that is below %d",
		open, c.most, 2*maxConnections).Again()
}

// counted accepts connections that are counted, and that end when the caller stops reading its answer, as a
// steadyBody ends when the caller stops sending.
type counted struct {
	net.Listener
	connections *connections
}

// Accept closes connections that are too many, and returns the next one that is not.
func (l counted) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var client netip.Addr // of a unix socket it is the zero one
		if tcp, is := conn.RemoteAddr().(*net.TCPAddr); is {
			client = tcp.AddrPort().Addr().Unmap()
		}
		if l.connections.enter(client) {
			return &steadyConn{Conn: conn, left: sync.OnceFunc(func() { l.connections.leave(client) })}, nil
		}
		_ = conn.Close() // nothing was sent
	}
}

type steadyConn struct {
	net.Conn
	left func()
	cut  atomic.Bool // nothing is written any more
}

// SetWriteDeadline ends all writing, when the deadline has passed already.
func (c *steadyConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		c.cut.Store(true)
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close closes the connection, which is no longer counted.
func (c *steadyConn) Close() error {
	c.left()
	return c.Conn.Close()
}

// atOnce is how many bytes share a deadline. With one deadline for a long answer its end could take hours.
const atOnce = 64 << 10

func (c *steadyConn) Write(p []byte) (n int, err error) {
	for {
		part := p[n:min(n+atOnce, len(p))]
		_ = c.SetWriteDeadline(time.Now().Add(stall + time.Duration(len(part))*(time.Second/slowest))) // fails as the write does
		if c.cut.Load() {                                                                              // perhaps just before the deadline was set
			return n, os.ErrDeadlineExceeded
		}
		written, err := c.Conn.Write(part)
		n += written
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// CloseWrite is used by a http.Server for the last answer of a connection.
func (c *steadyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
