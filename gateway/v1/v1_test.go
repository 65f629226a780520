package v1

import (
	"context"
	"errors"
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

// demander knows a demand.
type demander struct{}

func (demander) Demand(context.Context) (core.Demand, error) {
	return core.Demand{Budget: 7, Functions: []core.FunctionDemand{{Name: "hello", Use: 1.5}}}, nil
}

// A service that plans nothing has no demand to show.
func TestDemand(t *testing.T) {
	service := (&fakeService{}).service()
	if a := ask(t, "GET", serveParts(t, service).URL+"/v1/demand", ""); a.status != 404 {
		t.Errorf("without a planner: %d %s", a.status, a.body)
	}
	service.Planner = demander{}
	if a := ask(t, "GET", serveParts(t, service).URL+"/v1/demand", ""); a.status != 200 || !strings.Contains(a.body, `"budget":7,"functions":[{"name":"hello"`) || !strings.Contains(a.body, `"use":1.5`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
