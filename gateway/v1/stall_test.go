package v1

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

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

// An event or an archive of which no more comes is ended and answered, and a deploy learns of it as of any other broken archive.
func TestStalledRequests(t *testing.T) {
	for _, request := range []string{"POST /run/f", "PUT /v1/functions/f"} {
		for _, sent := range []string{"", `{"a": `} {
			t.Run(request+" after "+sent, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					listener, served := pipes{conns: make(chan net.Conn)}, make(chan error, 1)
					front := newGateway(&fakeService{invoke: echo, deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
						_, err := io.Copy(io.Discard, r.Archive)
						return core.Function{Name: "f"}, err
					}})
					go func() { served <- front.Serve(ctx, listener) }()
					near, far := net.Pipe()
					listener.conns <- far
					if _, err := io.WriteString(near, request+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"+sent); err != nil {
						t.Fatal(err)
					}
					answer, err := io.ReadAll(near) // until the server closes
					if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "stalled after") {
						t.Errorf("%v, %q", err, answer)
					}
					cancel()
					if err := <-served; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
