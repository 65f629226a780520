package gateway

import (
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// connections counts the connections of a server against the half of the process's descriptors: the worker needs the others for its instances.
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

// refuse returns an error when there are too many connections for one more event.
func (c *connections) refuse() error {
	open := c.open.Load()
	if open <= c.most {
		return nil
	}
	err := core.Errorf(core.KindExhausted, core.FaultWorker, "%d connections are open, and the worker has descriptors for %d; try again later, or raise its limit (LimitNOFILE= of a service)", open, c.most)
	err.Retryable = true
	return err
}
