package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// pipes is a listener whose connections are the far ends of pipes.
type pipes struct {
	net.Listener // for what nobody calls
	conns        chan net.Conn
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p pipes) Close() error   { close(p.conns); return nil }
func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// A caller that does not take its answer is let go, and one that takes it slowly gets all of it.
func TestStalledAnswer(t *testing.T) {
	long := `"` + strings.Repeat("x", 1<<20) + `"`
	for name, test := range map[string]struct {
		pause time.Duration // between two times that it takes 64 KiB
		whole bool
	}{"stalls": {5 * time.Minute, false}, "is slow": {time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(func(context.Context, core.Invocation) (core.Result, error) {
					return core.Result{Body: []byte(long), Start: core.StartWarm}, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				listener := pipes{conns: make(chan net.Conn)}
				served := make(chan error, 1)
				go func() { served <- g.Serve(ctx, listener) }()
				near, far := net.Pipe()
				listener.conns <- far
				if _, err := io.WriteString(near, "POST /run/f HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"); err != nil {
					t.Fatal(err)
				}
				var got []byte
				for buffer, err := make([]byte, 64<<10), error(nil); err == nil; time.Sleep(test.pause) {
					var n int
					n, err = io.ReadFull(near, buffer)
					got = append(got, buffer[:n]...)
					if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Error(err)
					}
				}
				if whole := strings.HasSuffix(string(got), "\r\n\r\n"+long); whole != test.whole || !whole && len(got) > 2*atOnce {
					t.Errorf("it got %d bytes, whole %v", len(got), whole)
				}
				synctest.Wait()
				if open := g.connections.open.Load(); open != 0 {
					t.Errorf("%d connections are open", open)
				}
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A worker that is short of descriptors answers at once, and does not keep the connection.
func TestCrowded(t *testing.T) {
	g := newGateway(echo)
	g.connections.most = 3
	server := httptest.NewUnstartedServer(g)
	server.Config.ConnState = g.connections.count
	server.Start()
	defer server.Close()
	var idle []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	status, e := 0, core.Error{}
	for status != 503 { // the server may count them a moment later
		status, e = ask(t, "POST", server.URL+"/run/f", "{}")
	}
	if e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !e.Retryable {
		t.Errorf("%+v", e)
	}
	if status, e := ask(t, "GET", server.URL+"/healthz", ""); status != 200 {
		t.Errorf("health: %d %+v", status, e)
	}
	for _, conn := range idle {
		conn.Close()
	}
	for range 100 {
		if status, e = ask(t, "POST", server.URL+"/run/f", "{}"); status == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("after the others have gone: %d %+v", status, e)
}
