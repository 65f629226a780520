package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
)

// world is a service that is known in every detail, with logs.
type world struct {
	locked    core.Lock
	functions []core.Function
	tree      core.Snapshot
	demand    core.Demand
	asked     core.LogQuery // last, of a log
	removed   []string

	application func(r core.ApplicationRequest, progress func(core.Progress)) (core.Application, error)
	deploy      func(r core.DeployRequest, progress func(core.Progress)) (core.Function, error)
	invoke      func(i core.Invocation) (core.Result, error)
}

func (w *world) Deploy(_ context.Context, r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
	return w.deploy(r, progress)
}

func (w *world) Lock(_ context.Context, r core.DeployRequest, progress func(core.Progress)) (core.Lock, error) {
	if _, err := io.Copy(io.Discard, r.Archive); err != nil {
		return core.Lock{}, core.Errorf(core.KindInvalid, core.FaultCaller, "broken archive: %w", err)
	}
	progress(core.Progress{Verb: "resolve", Item: "lock", Detail: "2 packages", Ended: true, Took: 1500 * time.Millisecond})
	return w.locked, nil
}

func (w *world) DeployApplication(_ context.Context, r core.ApplicationRequest, progress func(core.Progress)) (core.Application, error) {
	if w.application != nil {
		return w.application(r, progress)
	}
	deployed := core.Application{Name: r.Name}
	for one, err := range r.Functions {
		if err != nil {
			return core.Application{}, err
		}
		f, err := w.deploy(one, progress)
		if err != nil {
			return core.Application{}, err
		}
		deployed.Functions = append(deployed.Functions, f)
	}
	return deployed, nil
}

func (w *world) RemoveApplication(_ context.Context, name string) (names []string, err error) {
	for _, f := range w.functions {
		if f.Application == name {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		err = core.Errorf(core.KindNotFound, core.FaultCaller, "there is no application %q", name)
	}
	return names, err
}

func (w *world) Remove(_ context.Context, name string) error {
	if !slices.ContainsFunc(w.functions, func(f core.Function) bool { return f.Name == name }) {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
	}
	w.removed = append(w.removed, name)
	return nil
}

func (w *world) Functions(context.Context) ([]core.Function, error) { return w.functions, nil }

func (w *world) Admit(string, string) error { return nil }
func (w *world) Public(string) bool         { return false }

func (w *world) Invoke(_ context.Context, i core.Invocation) (core.Result, error) {
	return w.invoke(i)
}

func (w *world) Snapshot(context.Context) (core.Snapshot, error) { return w.tree, nil }

func (w *world) Demand(context.Context) (core.Demand, error) { return w.demand, nil }

func (w *world) Logs(ctx context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
	w.asked = query
	const line = `{"time":"2026-01-02T03:04:05Z","function":"hello","request":"r1","node":"n2","stream":"stdout","text":"hi"}` + "\n"
	if !query.Follow {
		return io.NopCloser(strings.NewReader(line)), nil
	}
	reader, writer := io.Pipe()
	go func() {
		_, _ = io.WriteString(writer, line)
		<-ctx.Done()
		writer.Close()
	}()
	return reader, nil
}

func (w *world) Bill(_ context.Context, name string, format core.BillFormat) ([]byte, error) {
	return []byte(name + " as " + string(format) + "\n"), nil
}

func (w *world) Vulnerabilities(_ context.Context, name string) (core.VulnerabilityReport, error) {
	if name != "report" {
		return core.VulnerabilityReport{}, core.Errorf(core.KindUnsupported, core.FaultWorker, "this worker has no database of vulnerabilities")
	}
	return core.VulnerabilityReport{Unchecked: []string{"six==1"}, Vulnerabilities: []core.Vulnerability{
		{Package: "pandas==2.1.0", IDs: []string{"CVE-1", "GHSA-1"}, Severity: core.SeverityHigh, Score: 7.5, Fixed: "2.1.1"},
		{Package: "numpy==1.26.4", IDs: []string{"CVE-2"}, Severity: core.SeverityUnknown},
	}}, nil
}

func (w *world) service() core.Service {
	return core.Service{Catalog: w, Invoker: w, Tree: w, Applications: w, Locker: w, Logs: w, Bills: w, Vulnerabilities: w, Planner: w}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newWorld() *world {
	numpy, pandas := core.Package{Name: "numpy", Version: "1.26.4"}, core.Package{Name: "pandas", Version: "2.1.0"}
	limits := core.DefaultLimits()
	once := limits
	once.Reuse, once.Timeout = false, 90*time.Second
	return &world{
		functions: []core.Function{
			{Name: "hello", Version: 1, Runtime: "python3.11", Handler: "handler.handler", Code: "sha256:00ff", Limits: limits, Deployed: noon.Add(-time.Hour)},
			{Name: "report", Version: 3, Network: core.NetworkEgress, Egress: []string{"api.example.com:443", "10.2.0.0/16:5432"}, Routes: []string{"GET /reports/{id}", "ANY example.com/report"},
				CORS: &core.CORS{Origins: []string{"https://app.example.com"}, Methods: []string{"GET", "POST"}, Headers: []string{"x-token"}, Expose: []string{"x-total"}, Credentials: true, MaxAge: 10 * time.Minute}, Runtime: "python3.11", Handler: "f.f", Code: "sha256:aa11", Limits: once, Deployed: noon.Add(-72 * time.Hour),
				Packages: core.NewSet(numpy, pandas), Imports: []string{"pandas"}, Env: map[string]string{"MODE": "fast", "LEVEL": "2"},
				Signers: []string{"96e8", "ab67"}, Vulnerable: core.SeverityHigh,
				Loaded: []string{"numpy.fft"}, Apart: map[string]string{"pandas": "pandas starts 2 threads at import"}, Unready: "pandas starts 2 threads at import"},
		},
		tree: core.Snapshot{
			Time: noon, Memory: 84 << 20, Budget: 2 << 30,
			Nodes: []core.NodeInfo{
				{ID: "n1", Role: core.RoleZygote, State: "ready", Runtime: "python3.11", Memory: 9 << 20, Private: 1 << 20, Forks: 2, Born: noon.Add(-3 * time.Hour)},
				{ID: "n2", Parent: "n1", Role: core.RoleZygote, State: "ready", Runtime: "python3.11", Memory: 60 << 20, Private: 50 << 20, Generation: 1,
					Forks: 7, Born: noon.Add(-time.Hour), Set: core.NewSet(numpy, pandas, core.Package{Name: "pytz"}, core.Package{Name: "six"}, core.Package{Name: "tzdata"})},
				{ID: "n4", Parent: "n2", Role: core.RoleInstance, State: "busy", Runtime: "python3.11", Function: "report", Memory: 6 << 20, Private: 5 << 20, Events: 12, UnderWay: 3, Born: noon.Add(-90 * time.Second),
					Set: core.NewSet(numpy, pandas)},
				{ID: "n5", Parent: "n2", Role: core.RoleInstance, State: "idle", Runtime: "python3.11", Function: "report", Born: noon},
				{ID: "n3", Parent: "n1", Role: core.RoleInstance, State: "idle", Runtime: "python3.11", Function: "hello", Memory: 3 << 20, Private: 900, Events: 1, Born: noon.Add(-2 * time.Second)},
				{ID: "n9", Parent: "gone", Role: core.RoleInstance, State: "idle", Runtime: "ruby3.1", Function: "lost", Born: noon},
			},
			Drivers: []core.DriverInfo{{Description: core.Description{Language: "ruby"}, Error: "it is being restarted"}},
		},
		invoke: func(i core.Invocation) (core.Result, error) {
			return core.Result{Body: append([]byte(nil), i.Event...), Start: core.StartFork,
				Phases: core.Phases{Fork: 1234 * time.Microsecond, Handler: 76 * time.Microsecond, Total: 1500 * time.Microsecond}}, nil
		},
		deploy: func(r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
			if _, err := io.Copy(io.Discard, r.Archive); err != nil {
				return core.Function{}, core.Errorf(core.KindInvalid, core.FaultCaller, "broken archive: %w", err)
			}
			progress(core.Progress{Verb: "install", Item: "numpy", Done: 1, Total: 4})
			progress(core.Progress{Verb: "install", Item: "numpy", Done: 4, Total: 4, Detail: "compiled"})
			return core.Function{Name: r.Name, Version: 2, Runtime: "python3.11"}, nil
		},
	}
}

// ran is what a command line did.
type ran struct {
	status   int
	out, err string
}

// serving serves a service on loopback.
func serving(service core.Service) *httptest.Server {
	front := gateway.New(service, slog.New(slog.DiscardHandler))
	v1.Mount(front)
	return httptest.NewServer(front)
}

// pipsqueak runs a command line against a server over w.
func pipsqueak(t *testing.T, w *world, input string, args ...string) ran {
	t.Helper()
	server := serving(w.service())
	defer server.Close()
	return runAt(t.Context(), &program{}, server.URL, input, args...)
}

func runAt(ctx context.Context, p *program, url, input string, args ...string) ran {
	return runTelling(ctx, p, func(string) {}, url, input, args...)
}

// runTelling is runAt, and calls told with what is on standard output after each line.
func runTelling(ctx context.Context, p *program, told func(out string), url, input string, args ...string) ran {
	out, err := lines{told: told}, bytes.Buffer{}
	p.in, p.out, p.err, p.screen = strings.NewReader(input), &out, &err, &err
	p.now = func() time.Time { return noon }
	status := p.run(ctx, append([]string{"--server", url}, args...))
	return ran{status, out.text.String(), err.String()}
}

// lines calls told with all that was written, after each line.
type lines struct {
	text bytes.Buffer
	told func(string)
}

func (l *lines) Write(b []byte) (int, error) {
	n, err := l.text.Write(b)
	if bytes.HasSuffix(b, []byte("\n")) {
		l.told(l.text.String())
	}
	return n, err
}

func (r ran) want(t *testing.T, status int, out, err string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d", r.status, status)
	}
	if r.out != out {
		t.Errorf("printed\n%swant\n%s", r.out, out)
	}
	if r.err != err {
		t.Errorf("standard error\n%swant\n%s", r.err, err)
	}
}
