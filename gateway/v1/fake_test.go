package v1

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// fakeService does what its fields say; a method without one answers with nothing.
type fakeService struct {
	deploy    func(context.Context, core.DeployRequest, func(core.Progress)) (core.Function, error)
	remove    func(context.Context, string) error
	functions func(context.Context) ([]core.Function, error)
	invoke    func(context.Context, core.Invocation) (core.Result, error)
	snapshot  func(context.Context) (core.Snapshot, error)
}

func (f *fakeService) Deploy(ctx context.Context, r core.DeployRequest, p func(core.Progress)) (core.Function, error) {
	return f.deploy(ctx, r, p)
}
func (f *fakeService) Remove(ctx context.Context, name string) error { return f.remove(ctx, name) }
func (f *fakeService) Functions(ctx context.Context) ([]core.Function, error) {
	return f.functions(ctx)
}
func (f *fakeService) Admit(string, string) error { return nil }
func (f *fakeService) Public(string) bool         { return false }

func (f *fakeService) Invoke(ctx context.Context, i core.Invocation) (core.Result, error) {
	return f.invoke(ctx, i)
}
func (f *fakeService) Snapshot(ctx context.Context) (core.Snapshot, error) {
	if f.snapshot == nil {
		return core.Snapshot{}, nil
	}
	return f.snapshot(ctx)
}

func (f *fakeService) service() core.Service { return core.Service{Catalog: f, Invoker: f, Tree: f} }

// fake is a service for tests.
type fake interface{ service() core.Service }

// fakeLogs is a fakeService that keeps logs.
type fakeLogs struct {
	fakeService
	logs func(ctx context.Context, name string, query core.LogQuery) (io.ReadCloser, error)
}

func (f *fakeLogs) Logs(ctx context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
	return f.logs(ctx, name, query)
}

func (f *fakeLogs) service() core.Service {
	service := f.fakeService.service()
	service.Logs = f
	return service
}

// echo answers with the event.
func echo(_ context.Context, i core.Invocation) (core.Result, error) {
	return core.Result{Body: append([]byte(nil), i.Event...), Start: core.StartWarm, Language: "python"}, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open returns a gateway with the routes of this package.
func open(service core.Service, log *slog.Logger) *gateway.Gateway {
	front := gateway.New(service, log)
	Mount(front)
	return front
}

// newGateway returns a gateway over the fake that logs nothing.
func newGateway(f fake) *gateway.Gateway { return open(f.service(), quiet()) }

// serve serves a gateway over the fake on loopback until the test ends.
func serve(t testing.TB, f fake) *httptest.Server {
	t.Helper()
	return serveParts(t, f.service())
}

func serveParts(t testing.TB, service core.Service) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(open(service, quiet()))
	t.Cleanup(server.Close)
	return server
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. Headers come as "Key: value".
func ask(t testing.TB, method, url, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		request.Header.Set(key, value)
	}
	// Redirects are to be seen, not followed.
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

// failure reads the error in an answer, which has to be one.
func (a answer) failure(t testing.TB) core.Error {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type of an error: %q", got)
	}
	var body struct{ Error *core.Error }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Error == nil {
		t.Fatalf("status %d, not a JSON error: %q", a.status, a.body)
	}
	if body.Error.Kind == "" || body.Error.Message == "" || body.Error.Fault == "" {
		t.Errorf("error with an empty field: %s", a.body)
	}
	return *body.Error
}
