package v1

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// An event or an archive of which no more comes is ended and answered, and a deploy learns of it as of any
// other broken archive. A body that nobody wants is not waited for without end either.
func TestStalledRequests(t *testing.T) {
	for request, want := range map[string]string{"POST /run/f": "stalled after", "PUT /v1/functions/f": "stalled after",
		"POST /nowhere": "404 Not Found", "GET /healthz": "200 OK", "PATCH /run/f": "405 Method", "POST http://evil.example/run/f": "421 Misdirected"} {
		for _, sent := range []string{"", `{"a": `} {
			t.Run(request+" after "+sent, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					listener, served := coretest.NewPipes(), make(chan error, 1)
					front := newGateway(&fakeService{invoke: echo, deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
						_, err := io.Copy(io.Discard, r.Archive)
						return core.Function{Name: "f"}, err
					}})
					go func() { served <- front.Serve(ctx, listener) }()
					near := listener.Dial()
					if _, err := io.WriteString(near, request+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"+sent); err != nil {
						t.Fatal(err)
					}
					answer, err := io.ReadAll(near) // until the server closes
					if err != nil || !strings.Contains(string(answer), want) || strings.HasPrefix(string(answer), "HTTP/1.1 408 ") != (want == "stalled after") {
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
