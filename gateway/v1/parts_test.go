package v1

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// refusing is an Invoker in front of another one that lets no event pass.
type refusing struct{ core.Invoker }

func (refusing) Invoke(context.Context, core.Invocation) (core.Result, error) {
	return core.Result{}, core.Errorf(core.KindExhausted, core.FaultCaller, "no event passes")
}

// A service in which one part is replaced keeps the others, and a part that is missing is answered with an
// error.
func TestParts(t *testing.T) {
	whole := &fakeLogs{fakeService: fakeService{invoke: echo}, logs: func(context.Context, string, core.LogQuery) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(`{"text":"kept"}` + "\n")), nil
	}}
	service := whole.service()
	service.Invoker = refusing{service.Invoker}
	url := serveParts(t, service).URL
	if a := ask(t, "POST", url+"/run/f", "1"); a.status != 429 || !strings.Contains(a.body, "no event passes") {
		t.Errorf("an event that the replaced part refuses: %d %s", a.status, a.body)
	}
	if a := ask(t, "GET", url+"/v1/functions/f/logs", ""); a.status != 200 || !strings.Contains(a.body, "kept") {
		t.Errorf("the logs of a service with another Invoker: %d %s", a.status, a.body)
	}

	url = serve(t, &fakeService{invoke: echo}).URL
	for _, missing := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v1/functions/f/logs", 501},
		{"GET", "/v1/functions/f/sbom", 501},
		{"GET", "/v1/functions/f/vulnerabilities", 501},
		{"PUT", "/v1/applications/a", 501},
		{"DELETE", "/v1/applications/a", 501},
		{"POST", "/v1/locks", 404},
		{"GET", "/v1/packages", 404},
		{"GET", "/v1/functions/f/packages", 404},
	} {
		if a := ask(t, missing.method, url+missing.path, ""); a.status != missing.status {
			t.Errorf("%s %s without its part: status %d, want %d: %s", missing.method, missing.path, a.status, missing.status, a.body)
		} else {
			a.failure(t)
		}
	}
	if a := ask(t, "POST", url+"/run/f", "1"); a.status != 200 {
		t.Errorf("an event beside the missing parts: %d %s", a.status, a.body)
	}
}
