package v1

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// FuzzPaths: whatever is asked for, no service hears a name that leaves its directory, nothing but what is
// there answers, errors are JSON, and nobody is sent elsewhere.
func FuzzPaths(f *testing.F) {
	for _, target := range []string{"/run/hello", "/run/a%2Fb", "/run/..", "/run/%2e%2e", "/run//", "/run/a/b?x=1#y", "/run/%zz", "//evil.example/run/a", "/run/\xff",
		"http://other.example/run/hello", "*", "/", "/healthz", "/metrics", "/v1/functions", "/v1/functions/", "/v1/functions/a/logs?since=x", "/v1/functions/a%00b",
		"/v1/functions/..%2f..%2fetc", "/v1//functions", "/v1/functions/a/../b", "/v1/functions/a;x/logs", "/v1/tree", "/v1/applications/a", "/v1/locks", "/v1/functions?wait=ready&anew=true"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT"} {
			f.Add(method, target)
		}
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		hears := func(name string) {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00\n\x1b") {
				t.Errorf("%s %q: the service hears the name %q", method, target, name)
			}
		}
		service := &fakeService{
			deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
				if r.Name != "" { // POST: the settings have it
					hears(r.Name)
				}
				return core.Function{Name: "f"}, nil
			},
			remove:    func(_ context.Context, name string) error { hears(name); return nil },
			functions: func(context.Context) ([]core.Function, error) { return nil, nil },
			invoke: func(_ context.Context, i core.Invocation) (core.Result, error) {
				hears(i.Function)
				return core.Result{Body: []byte("1")}, nil
			},
		}
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")))
		if err != nil {
			return // net/http answers such a request itself
		}
		request.Body = io.NopCloser(strings.NewReader(""))
		answer := httptest.NewRecorder()
		newGateway(service).ServeHTTP(answer, request)
		if answer.Code >= 500 && answer.Code != http.StatusNotImplemented {
			t.Errorf("%s %q: status %d: %s", method, target, answer.Code, answer.Body)
		}
		if place := answer.Header().Get("Location"); place != "" && !strings.HasPrefix(place, "/v1/functions/") {
			t.Errorf("%s %q: sent to %q", method, target, place)
		}
		if answer.Code >= 400 && !strings.HasPrefix(answer.Body.String(), `{"error":{"kind":`) && method != http.MethodHead {
			t.Errorf("%s %q: status %d without an error in JSON: %q", method, target, answer.Code, answer.Body)
		}
	})
}
