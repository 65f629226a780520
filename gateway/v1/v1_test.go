package v1

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

var hello = core.Function{Name: "hello", Version: 1, Runtime: "python3.11", Handler: "handler.handler", Limits: core.DefaultLimits()}

func TestRoutes(t *testing.T) {
	service := &fakeService{
		functions: func(context.Context) ([]core.Function, error) { return []core.Function{hello}, nil },
		remove: func(_ context.Context, name string) error {
			if name != "hello" {
				return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
			}
			return nil
		},
		deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
			_, err := io.Copy(io.Discard, r.Archive)
			return core.Function{Name: r.Name, Version: 1}, err
		},
		snapshot: func(context.Context) (core.Snapshot, error) { return core.Snapshot{Budget: 7}, nil },
	}
	url := serve(t, service).URL
	for _, test := range []struct {
		method, path string
		status       int
		contains     string // of the body, or of Allow for 405 and 204
	}{
		{"GET", "/healthz", 200, `{"status":"ok"}`},
		{"HEAD", "/healthz", 200, ""},
		{"GET", "/metrics", 200, "pipsqueak_memory_budget_bytes 7"},
		{"GET", "/v1/tree", 200, `"nodes":[],"memory":0,"budget":7,"drivers":[]`},
		{"GET", "/v1/functions", 200, `[{"name":"hello"`},
		{"GET", "/v1/functions/hello", 200, `{"name":"hello"`},
		{"HEAD", "/v1/functions/hello", 200, ""},
		{"GET", "/v1/functions/nobody", 404, "not_found"},
		{"HEAD", "/v1/functions/nobody", 404, ""},
		{"DELETE", "/v1/functions/hello", 204, ""},
		{"DELETE", "/v1/functions/nobody", 404, "not_found"},
		{"GET", "/v1/functions/hello/logs", 501, "unsupported"},

		{"POST", "/healthz", 405, "OPTIONS, GET, HEAD"},
		{"PATCH", "/v1/functions/hello", 405, "OPTIONS, GET, PUT, DELETE, HEAD"},
		{"OPTIONS", "/v1/functions", 204, "OPTIONS, GET, POST, HEAD"},
		{"GET", "/", 404, "not_found"},
		{"GET", "/run", 404, "not_found"},
		{"GET", "/v1/functions/", 404, "not_found"},
		{"GET", "/v1//functions", 404, "not_found"},
		{"GET", "/v1/../healthz", 404, "not_found"},
		{"GET", "/v1/functions/hello/../../tree", 404, "not_found"},
		{"GET", "/v1/functions/..", 400, "invalid"},
		{"GET", "/v1/functions/%2e%2e%2fx", 400, "invalid"},
		{"PUT", "/v1/functions/..%2F..%2Fetc%2Fpasswd", 400, "invalid"},
		{"DELETE", "/v1/functions/a%2Flogs", 400, "invalid"},
		{"GET", "/v1/functions/" + strings.Repeat("n", 300), 400, "invalid"},
		{"GET", "/v1/functions/h%C3%A9", 404, "not_found"},
		{"GET", "/v1/functions/" + strings.Repeat("/x", 3000), 404, "not_found"},
	} {
		t.Run(test.method+" "+gateway.Clip(test.path), func(t *testing.T) {
			a := ask(t, test.method, url+test.path, "")
			if a.status != test.status {
				t.Fatalf("status %d, want %d: %s", a.status, test.status, a.body)
			}
			where := a.body
			if test.status == 405 || test.method == "OPTIONS" {
				where = a.header.Get("Allow")
			}
			if !strings.Contains(where, test.contains) {
				t.Errorf("%q is not in %s", test.contains, where)
			}
			if test.status >= 400 && test.method != "HEAD" {
				if e := a.failure(t); len(e.Message) > 400 {
					t.Errorf("message of %d bytes", len(e.Message))
				}
			}
		})
	}
}

func TestNoFunctionsIsAnEmptyList(t *testing.T) {
	url := serve(t, &fakeService{functions: func(context.Context) ([]core.Function, error) { return nil, nil }}).URL
	if a := ask(t, "GET", url+"/v1/functions", ""); a.body != "[]\n" {
		t.Errorf("got %q", a.body)
	}
}

func TestErrorsOfTheServiceAreAnswered(t *testing.T) {
	url := serve(t, &fakeService{
		functions: func(context.Context) ([]core.Function, error) { return nil, errors.New("a plain error") },
		snapshot:  func(context.Context) (core.Snapshot, error) { panic("no tree") },
	}).URL
	for _, path := range []string{"/v1/functions", "/v1/functions/hello", "/v1/tree"} {
		if a := ask(t, "GET", url+path, ""); a.status != 500 || a.failure(t).Kind != core.KindInternal {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// deployer reads the archive, tells of it in two steps, and ends as its fields say.
func deployer(version, replaced int, fails error) *fakeService {
	return &fakeService{deploy: func(_ context.Context, r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
		if progress != nil {
			progress(core.Progress{Verb: "deploy", Item: "archive"})
		}
		n, err := io.Copy(io.Discard, r.Archive)
		if err != nil {
			return core.Function{}, err
		}
		if progress != nil {
			progress(core.Progress{Verb: "deploy", Item: "archive", Done: n, Total: n})
		}
		name := r.Name
		if name == "" {
			name = "from-manifest"
		}
		return core.Function{Name: name, Version: version, Replaced: replaced}, fails
	}}
}

func TestDeploy(t *testing.T) {
	for _, test := range []struct {
		method, path string
		version      int
		replaced     int
		status       int
		name         string
	}{
		{"PUT", "/v1/functions/hello", 1, 0, 201, "hello"},
		{"PUT", "/v1/functions/hello", 2, 1, 200, "hello"},
		{"PUT", "/v1/functions/hello", 4, 0, 201, "hello"}, // after a removal
		{"POST", "/v1/functions", 1, 0, 201, "from-manifest"},
		{"POST", "/v1/functions", 9, 8, 200, "from-manifest"},
	} {
		a := ask(t, test.method, serve(t, deployer(test.version, test.replaced, nil)).URL+test.path, "archive")
		var f core.Function
		if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.status != test.status || f.Name != test.name || f.Version != test.version {
			t.Errorf("%s %s v%d: %d %s", test.method, test.path, test.version, a.status, a.body)
		}
		if got := a.header.Get("Location"); (got != "") != (test.status == 201) {
			t.Errorf("Location %q", got)
		}
	}
}

// What the author of the code did wrong is a bad request of who deploys it, and not a bad answer.
func TestDeployErrors(t *testing.T) {
	for _, test := range []struct {
		kind   core.Kind
		fault  core.Fault
		status int
	}{
		{core.KindInvalid, core.FaultCaller, 400}, {core.KindInvalid, core.FaultHandler, 400},
		{core.KindTooLarge, core.FaultHandler, 413}, {core.KindInstall, core.FaultHandler, 422},
		{core.KindInstall, core.FaultWorker, 503}, {core.KindException, core.FaultHandler, 422}, {core.KindImport, core.FaultHandler, 422},
		{core.KindConflict, core.FaultCaller, 409}, {core.KindUnavailable, core.FaultDriver, 503},
	} {
		fails := &core.Error{Kind: test.kind, Fault: test.fault, Message: "no"}
		a := ask(t, "PUT", serve(t, deployer(1, 0, fails)).URL+"/v1/functions/f", "archive")
		if e := a.failure(t); a.status != test.status || e.Kind != test.kind || e.Fault != test.fault {
			t.Errorf("%s/%s: %d %s", test.kind, test.fault, a.status, a.body)
		}
	}
}

// The parameters of a deploy reach the service; what is none of their values is refused.
func TestDeployOptions(t *testing.T) {
	var got core.DeployRequest
	service := &fakeService{deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
		got = r
		return core.Function{Name: r.Name}, nil
	}}
	url := serve(t, service).URL + "/v1/functions/f"
	for query, want := range map[string]core.DeployRequest{
		"": {}, "?force=true": {Force: true}, "?anew=true&force=false": {Anew: true}, "?wait=ready": {Ready: true}, "?wait=deployed": {},
	} {
		if a := ask(t, "PUT", url+query, "archive"); a.status != 201 || got.Force != want.Force || got.Anew != want.Anew || got.Ready != want.Ready {
			t.Errorf("%s: %d, %+v", query, a.status, got)
		}
	}
	for _, query := range []string{"?force=yes", "?anew=1", "?wait=long"} {
		if a := ask(t, "PUT", url+query, "archive"); a.status != 400 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestDeployStream(t *testing.T) {
	// Smaller than what net/http throws away of a body when the answer begins: the first line must not end the reading of it.
	archive := strings.Repeat("x", 100_000)
	const progress = `{"progress":{"verb":"deploy","item":"archive","done":0,"total":0,"detail":""}}
{"progress":{"verb":"deploy","item":"archive","done":100000,"total":100000,"detail":""}}
`
	broken := core.Errorf(core.KindInstall, core.FaultHandler, "no such package")
	for name, test := range map[string]struct {
		fails error
		last  string
	}{
		"function": {nil, `{"function":{"name":"f",`},
		"error":    {broken, `{"error":{"kind":"install","message":"no such package","fault":"handler"}}` + "\n"},
		"panic":    {errors.New("plain"), `{"error":{"kind":"internal","message":"plain","fault":"worker"}}` + "\n"},
	} {
		a := ask(t, "PUT", serve(t, deployer(1, 0, test.fails)).URL+"/v1/functions/f", archive, "Accept: application/json;q=0.1, application/x-ndjson")
		last, ok := strings.CutPrefix(a.body, progress)
		if a.status != 200 || !ok || !strings.HasPrefix(last, test.last) || strings.Count(last, "\n") != 1 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if got := a.header.Get("Content-Type"); got != ndjson {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
}

func TestDeployStreamWithoutProgress(t *testing.T) {
	var fails error
	service := &fakeService{deploy: func(context.Context, core.DeployRequest, func(core.Progress)) (core.Function, error) {
		return core.Function{Name: "f", Version: 1}, fails
	}}
	url := serve(t, service).URL + "/v1/functions/f"
	if a := ask(t, "PUT", url, "x", "Accept: application/x-ndjson"); a.status != 201 || !strings.HasPrefix(a.body, `{"function":`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	fails = core.Errorf(core.KindInvalid, core.FaultCaller, "not an archive")
	if a := ask(t, "PUT", url, "x", "Accept: application/x-ndjson"); a.status != 400 || a.failure(t).Kind != core.KindInvalid {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// An upload that is refused early is answered, also when the rest of it is still on its way.
func TestDeployRefusedEarly(t *testing.T) {
	url := serve(t, &fakeService{deploy: func(context.Context, core.DeployRequest, func(core.Progress)) (core.Function, error) {
		return core.Function{}, core.Errorf(core.KindTooLarge, core.FaultCaller, "too large")
	}}).URL
	request, _ := http.NewRequest("PUT", url+"/v1/functions/f", io.LimitReader(endless{}, 64<<20))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 413 {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestOtherSitesMayNotChangeFunctions(t *testing.T) {
	service := deployer(1, 0, nil)
	service.invoke = echo
	url := serve(t, service).URL
	a := ask(t, "POST", url+"/v1/functions", "x", "Sec-Fetch-Site: cross-site")
	if e := a.failure(t); a.status != 403 || e.Kind != core.KindInvalid {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(t, "POST", url+"/v1/functions", "x", "Origin: http://evil.example"); a.status != 403 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(t, "POST", url+"/run/echo", "{}", "Sec-Fetch-Site: cross-site"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

const logged = `{"time":"2026-01-02T03:04:05.678901Z","function":"f","request":"r1","node":"n7","stream":"stdout","text":"<one>"}
{"time":"2026-01-02T03:04:06Z","function":"f","node":"n7","stream":"stderr","text":"two"}
`

func TestLogs(t *testing.T) {
	url := serve(t, &fakeLogs{logs: func(_ context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
		if name != "f" {
			return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
		}
		return io.NopCloser(strings.NewReader(logged)), nil
	}}).URL
	if a := ask(t, "GET", url+"/v1/functions/f/logs", ""); a.status != 200 || a.body != logged || a.header.Get("Content-Type") != ndjson {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	const text = "2026-01-02T03:04:05.678Z r1 n7 stdout <one>\n2026-01-02T03:04:06.000Z - n7 stderr two\n"
	if a := ask(t, "GET", url+"/v1/functions/f/logs", "", "Accept: text/plain"); a.body != text {
		t.Errorf("%s", a.body)
	}
	if a := ask(t, "GET", url+"/v1/functions/g/logs?follow=true", ""); a.status != 404 || a.failure(t).Kind != core.KindNotFound {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(t, "GET", url+"/v1/functions/f/logs?follow=maybe", ""); a.status != 400 || a.failure(t).Kind != core.KindInvalid {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A log that breaks off is not to be taken for a whole one.
func TestLogsBreak(t *testing.T) {
	url := serve(t, &fakeLogs{logs: func(context.Context, string, core.LogQuery) (io.ReadCloser, error) {
		broken := io.MultiReader(strings.NewReader(logged), brokenReader{})
		return io.NopCloser(broken), nil
	}}).URL
	response, err := http.Get(url + "/v1/functions/f/logs")
	if err == nil {
		_, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	if err == nil {
		t.Error("a broken log looked whole")
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk is on fire") }

// following is a service whose logs never end by themselves. It tells when they are closed.
func following(closed chan<- bool) *fakeLogs {
	return &fakeLogs{logs: func(ctx context.Context, _ string, query core.LogQuery) (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() {
			fmt.Fprint(writer, logged)
			<-ctx.Done()
			writer.CloseWithError(ctx.Err())
			closed <- true
		}()
		return reader, nil
	}}
}

func TestLogsFollow(t *testing.T) {
	closed := make(chan bool, 1)
	url := serve(t, following(closed)).URL
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", url+"/v1/functions/f/logs?follow=true", nil)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for range 2 {
		if !lines.Scan() {
			t.Fatal("a line was kept back")
		}
	}
	cancel()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the follower left and the log was not told")
	}
}

func TestServeEndsGracefully(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, finish := make(chan bool), make(chan bool)
	service := following(make(chan bool, 1))
	service.invoke = func(ctx context.Context, i core.Invocation) (core.Result, error) {
		close(started)
		<-finish
		return echo(ctx, i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- newGateway(service).Serve(ctx, listener) }()

	url := "http://" + listener.Addr().String()
	ran, followed, connected := make(chan answer, 1), make(chan string, 1), make(chan bool)
	go func() { ran <- ask(t, "POST", url+"/run/slow", `"kept"`) }()
	go func() {
		defer close(followed)
		response, err := http.Get(url + "/v1/functions/f/logs?follow=true")
		close(connected)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		followed <- string(text)
	}()
	<-started
	<-connected
	cancel()
	if got := <-followed; got != logged {
		t.Errorf("the follower got %q", got)
	}
	select {
	case err := <-served:
		t.Fatalf("Serve did not wait for an event: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if a := <-ran; a.body != `"kept"` {
		t.Errorf("the event got %d %q", a.status, a.body)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url + "/healthz"); err == nil {
		t.Error("it still serves")
	}
}

func TestServeTellsOfAListenerThatFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := newGateway(&fakeService{}).Serve(t.Context(), listener); err == nil {
		t.Error("no error")
	}
}
