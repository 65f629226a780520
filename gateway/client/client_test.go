package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
)

// service answers with what it was asked, so that a test sees that it came through the wire.
type service struct{ query core.LogQuery }

var hello = core.Function{Name: "hello", Version: 3, Replaced: 2, Application: "shop", Runtime: "fake1",
	Packages: core.NewSet(core.Package{Name: "six", Version: "1"})}

func (s *service) Deploy(_ context.Context, r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
	code, err := io.ReadAll(r.Archive)
	if err != nil {
		return core.Function{}, err
	}
	progress(core.Progress{Verb: "unpack"})
	if string(code) == "refused" {
		return core.Function{}, core.Errorf(core.KindImport, core.FaultHandler, "it is refused").Again()
	}
	return core.Function{Name: r.Name, Code: fmt.Sprintf("%s %s force %v", code, r.Signature, r.Force)}, nil
}
func (s *service) Remove(_ context.Context, name string) error {
	if name != "hello" {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no %s", name)
	}
	return nil
}
func (s *service) Functions(context.Context) ([]core.Function, error) {
	return []core.Function{hello}, nil
}
func (s *service) Snapshot(context.Context) (core.Snapshot, error) {
	return core.Snapshot{Budget: 7}, nil
}
func (s *service) Admit(string, string) error { return nil }
func (s *service) Public(string) bool         { return false }

func (s *service) Invoke(_ context.Context, i core.Invocation) (core.Result, error) {
	result := core.Result{Body: i.Event, Start: core.StartFork, Phases: core.Phases{Fork: 1234 * time.Microsecond, Total: 2 * time.Millisecond}}
	if i.Function == "raises" {
		err := core.Errorf(core.KindException, core.FaultHandler, "raised")
		err.Exception = &core.Exception{Type: "E", Stack: []string{"f:1"}}
		return result, err
	}
	return result, nil
}
func (s *service) Logs(_ context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
	s.query = query
	return io.NopCloser(strings.NewReader(`{"text":"printed by ` + name + `"}` + "\n")), nil
}
func (s *service) Bill(_ context.Context, name string, format core.BillFormat) ([]byte, error) {
	return []byte(name + " as " + string(format)), nil
}

func serve(t *testing.T) (client.Client, *service) {
	t.Helper()
	s := &service{}
	front := gateway.New(core.Service{Catalog: s, Invoker: s, Tree: s, Logs: s, Bills: s}, slog.New(slog.DiscardHandler))
	v1.Mount(front)
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	return client.New(strings.TrimPrefix(server.URL, "http://") + "/"), s
}

func TestFunctions(t *testing.T) {
	c, s := serve(t)
	ctx := t.Context()
	if all, err := c.Functions(ctx); err != nil || len(all) != 1 || all[0].Version != 3 {
		t.Errorf("the functions are %+v, %v", all, err)
	}
	if f, err := c.Function(ctx, "hello"); err != nil || f.Replaced != 2 {
		t.Errorf("the function is %+v, %v", f, err)
	}
	if of, err := c.FunctionsOf(ctx, "shop"); err != nil || len(of) != 1 {
		t.Errorf("the functions of the application are %+v, %v", of, err)
	}
	if of, err := c.FunctionsOf(ctx, "none"); err != nil || len(of) != 0 {
		t.Errorf("the functions of no application are %+v, %v", of, err)
	}
	if snapshot, err := c.Snapshot(ctx); err != nil || snapshot.Budget != 7 {
		t.Errorf("the snapshot is %+v, %v", snapshot, err)
	}
	if err := c.Remove(ctx, "hello"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if err := c.Remove(ctx, "../x"); !core.IsKind(err, core.KindInvalid) {
		t.Errorf("remove of a name that is a path: %v", err)
	}
	if _, err := c.Vulnerabilities(ctx, "hello"); !core.IsKind(err, core.KindUnsupported) {
		t.Errorf("vulnerabilities without a database: %v", err)
	}
	if all, err := c.PackagesOf(ctx, hello); err != nil || len(all) != 1 || all[0].Name != "six" || all[0].Runtime != "fake1" {
		t.Errorf("packages of a server that keeps none: %+v, %v", all, err)
	}
	var out bytes.Buffer
	if err := c.Bill(ctx, "hello", core.BillXML, &out); err != nil || out.String() != "hello as cyclonedx-xml" {
		t.Errorf("the bill is %q, %v", out.String(), err)
	}
	out.Reset()
	query := core.LogQuery{Tail: 5, Errors: true, Request: "r&1", Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	if err := c.Logs(ctx, "hello", "application/x-ndjson", query, &out); err != nil || !strings.Contains(out.String(), "printed by hello") || !reflect.DeepEqual(s.query, query) {
		t.Errorf("the log is %q, %v, asked for as %+v", out.String(), err, s.query)
	}
}

func TestDeploy(t *testing.T) {
	c, _ := serve(t)
	c.Header = http.Header{"Pipsqueak-Signature": {"c2ln"}}
	var verbs []string
	progress := func(p core.Progress) { verbs = append(verbs, p.Verb) }
	f, err := c.Deploy(t.Context(), "a b", url.Values{"force": {"true"}}, strings.NewReader("code"), progress)
	if err != nil || f.Name != "a b" || f.Code != "code sig force true" || strings.Join(verbs, " ") != "unpack" {
		t.Errorf("deployed %+v, %v, after %v", f, err, verbs)
	}
	_, err = c.Deploy(t.Context(), "f", nil, strings.NewReader("refused"), nil)
	if e := core.AsError(err); e == nil || e.Kind != core.KindImport || e.Fault != core.FaultHandler || e.Message != "it is refused" || !e.Retryable {
		t.Errorf("a refused deploy: %+v", e)
	}
	broken := core.Errorf(core.KindInvalid, core.FaultCaller, "no such directory")
	if _, err := c.Deploy(t.Context(), "f", nil, io.MultiReader(strings.NewReader("x"), failing{broken}), nil); !errors.Is(err, broken) {
		t.Errorf("an archive that cannot be made: %v", err)
	}
}

// failing is a body that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestInvoke(t *testing.T) {
	c, _ := serve(t)
	a, err := c.Invoke(t.Context(), "echo", strings.NewReader("[1]"))
	if err != nil || string(a.Result) != "[1]" || a.Start != core.StartFork || a.RequestID == "" || len(a.Phases) != 2 {
		t.Errorf("answered with %+v, %v", a, err)
	}
	a, err = c.Invoke(t.Context(), "raises", strings.NewReader("1"))
	if e := core.AsError(err); e == nil || e.Exception == nil || e.Exception.Type != "E" || e.Exception.Stack[0] != "f:1" {
		t.Errorf("an exception came as %+v", e)
	}
	if a.Start != core.StartFork || a.RequestID == "" || len(a.Phases) != 2 || a.Phases[0] != (client.Phase{Name: "fork", Ms: 1.234}) {
		t.Errorf("with an exception the answer has %+v", a)
	}
}

// What is not Pipsqueak's, or breaks off, is an error that says so.
func TestOtherServers(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == "" {
			http.Error(w, "teapot", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	c := client.New(server.URL)
	if _, err := c.Functions(t.Context()); !core.IsKind(err, core.KindInternal) || !strings.Contains(err.Error(), "418") {
		t.Errorf("another server: %v", err)
	}
	for _, answer = range []string{"<html>", `{"progress":{}}`} {
		_, err := c.Deploy(t.Context(), "f", nil, strings.NewReader("x"), func(core.Progress) {})
		if !core.IsKind(err, core.KindUnavailable) || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("the answer %s: %v", answer, err)
		}
	}
	server.Close()
	if _, err := c.Snapshot(t.Context()); !core.IsKind(err, core.KindUnavailable) || !strings.Contains(err.Error(), "no server answers at "+server.URL) {
		t.Errorf("no server: %v", err)
	}
	if _, err := client.New("http://a b").Snapshot(t.Context()); !core.IsKind(err, core.KindInvalid) {
		t.Errorf("no URL: %v", err)
	}
}
