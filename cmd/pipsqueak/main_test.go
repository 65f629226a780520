package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
)

// world is a service that is known in every detail, with logs.
type world struct {
	locked    core.Lock
	functions []core.Function
	tree      core.Snapshot
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
func (w *world) Invoke(_ context.Context, i core.Invocation) (core.Result, error) {
	return w.invoke(i)
}
func (w *world) Snapshot(context.Context) (core.Snapshot, error) { return w.tree, nil }
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
	return core.Service{Catalog: w, Invoker: w, Tree: w, Applications: w, Locker: w, Logs: w, Bills: w, Vulnerabilities: w}
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
			{Name: "report", Version: 3, Runtime: "python3.11", Handler: "f.f", Code: "sha256:aa11", Limits: once, Deployed: noon.Add(-72 * time.Hour),
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
				{ID: "n4", Parent: "n2", Role: core.RoleInstance, State: "busy", Runtime: "python3.11", Function: "report", Memory: 6 << 20, Private: 5 << 20, Events: 12, Born: noon.Add(-90 * time.Second),
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
	p.in, p.out, p.err = strings.NewReader(input), &out, &err
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

func TestList(t *testing.T) {
	pipsqueak(t, newWorld(), "", "list").want(t, 0, ``+
		`NAME    VERSION  RUNTIME     PACKAGES  DEPLOYED  VULNERABLE
hello   1        python3.11  0         1h ago    -
report  3        python3.11  2         3d ago    high
`, "")
	w := newWorld()
	w.functions[0].Application, w.functions[1].Vulnerable = "shop", ""
	pipsqueak(t, w, "", "list").want(t, 0, ``+
		`NAME    APPLICATION  VERSION  RUNTIME     PACKAGES  DEPLOYED
hello   shop         1        python3.11  0         1h ago
report  -            3        python3.11  2         3d ago
`, "")
	pipsqueak(t, &world{}, "", "list").want(t, 0, "", "No functions yet; deploy one with 'pipsqueak deploy DIR'.\n")
	pipsqueak(t, &world{}, "", "list", "-o", "json").want(t, 0, "[]\n", "")
}

// TestFits looks at the longest names on a terminal, which has 80 columns, and elsewhere, where nothing is shortened.
func TestFits(t *testing.T) {
	w, long := newWorld(), strings.Repeat("very-long-name-", 4)
	for i := range w.functions {
		w.functions[i].Name, w.functions[i].Application = long+w.functions[i].Name, long
		w.functions[i].Apart = map[string]string{"seaborn": "seaborn imports matplotlib, which reads MPLBACKEND when it is imported, which is set for this function"}
	}
	for i := range w.tree.Nodes {
		w.tree.Nodes[i].Function = long
		w.tree.Nodes[i].Apart = w.functions[0].Apart
	}
	for _, command := range []string{"list", "tree"} {
		server := serving(w.service())
		got := runAt(t.Context(), &program{}, server.URL, "", command)
		for line := range strings.Lines(got.out) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s: a line of %d: %s", command, n, line)
			}
		}
		if got := runAt(t.Context(), &program{wide: true}, server.URL, "", command); !strings.Contains(got.out, long) {
			t.Errorf("%s in a pipe: %s", command, got.out)
		}
		server.Close()
	}
}

func TestDescribe(t *testing.T) {
	pipsqueak(t, newWorld(), "", "describe", "report").want(t, 0, `name          report
version       3
runtime       python3.11
handler       f.f
deployed      Tue 30 Dec 2025 12:00:00 UTC, 3d ago
code          sha256:aa11
memory        256.0 MiB
timeout       1m30s
instances     at most 100
idle timeout  5m
reuse         no: every event gets a fresh instance
ready         not to fork: pandas starts 2 threads at import
signed by     96e8, ab67
env           LEVEL=2
              MODE=fast
imports       pandas
loaded        numpy.fft
apart         pandas: pandas starts 2 threads at import
vulnerable    pandas==2.1.0: CVE-1 (GHSA-1), high 7.5, fixed in 2.1.1
              numpy==1.26.4: CVE-2, unknown severity, no fix known
unchecked     six==1

PACKAGE
numpy==1.26.4
pandas==2.1.0
`, "")
	w := newWorld()
	w.functions[0].Application = "shop"
	pipsqueak(t, w, "", "describe", "shop").want(t, 0, `application  shop

NAME   VERSION  RUNTIME     PACKAGES  DEPLOYED
hello  1        python3.11  0         1h ago
`, "")
	got := pipsqueak(t, newWorld(), "", "describe", "../x")
	if got.status != 1 || !strings.Contains(got.err, `function name "../x"`) {
		t.Errorf("%+v", got)
	}
	got = pipsqueak(t, newWorld(), "", "describe", "nobody")
	if got.status != 1 || !strings.HasPrefix(got.err, `pipsqueak: there is no function "nobody"`) {
		t.Errorf("%+v", got)
	}
}

func TestTree(t *testing.T) {
	pipsqueak(t, newWorld(), "", "tree").want(t, 0, `2 zygotes, 4 instances, 84.0 MiB of 2.0 GiB
driver ruby: it is being restarted
NODE                              STATE  MEMORY    PRIVATE   SERVED     AGE
n1        python3.11              ready  9.0 MiB   1.0 MiB   2 forks    3h
├─ n2     {numpy pandas pytz +2}  ready  60.0 MiB  50.0 MiB  7 forks    1h
│  ├─ n4  report                  busy   6.0 MiB   5.0 MiB   12 events  1m
│  └─ n5  report                  idle   -         -         0 events   0s
└─ n3     hello                   idle   3.0 MiB   900 B     1 event    2s
n9        lost                    idle   -         -         0 events   0s
`, "")
	pipsqueak(t, &world{}, "", "tree").want(t, 0, "0 zygotes, 0 instances, 0 B of 0 B\n", "")
	a, b := pipsqueak(t, newWorld(), "", "tree", "--json"), pipsqueak(t, newWorld(), "", "tree", "-o", "json")
	if a.status != 0 || a.out != b.out || !strings.Contains(a.out, `"version": "2.1.0"`) {
		t.Errorf("%+v", a)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld()
	pipsqueak(t, w, "", "remove", "hello").want(t, 0, "removed hello\n", "")
	if len(w.removed) != 1 || w.removed[0] != "hello" {
		t.Errorf("removed %v", w.removed)
	}
	w.functions[0].Application, w.functions[1].Application = "shop", "shop"
	pipsqueak(t, w, "", "remove", "shop").want(t, 0, "removed hello, report of the application shop\n", "")
	pipsqueak(t, w, "", "remove", "nobody").want(t, 1, "", "pipsqueak: there is no function \"nobody\"\n")
}

func TestLogs(t *testing.T) {
	pipsqueak(t, newWorld(), "", "logs", "hello").want(t, 0, "2026-01-02T03:04:05.000Z r1 n2 stdout hi\n", "")
	got := pipsqueak(t, newWorld(), "", "logs", "hello", "-o", "json")
	if got.status != 0 || !strings.HasPrefix(got.out, `{"time":`) {
		t.Errorf("%+v", got)
	}
}

func TestLogsAsked(t *testing.T) {
	for _, test := range []struct {
		args string
		want core.LogQuery
	}{
		{"", core.LogQuery{Tail: core.AllLines}},
		{"--tail 0", core.LogQuery{}},
		{"--tail 7 --errors", core.LogQuery{Tail: 7, Errors: true}},
		{"--request a&b=c --since 2026-01-02T03:04:05.5+01:00", core.LogQuery{Tail: core.AllLines, Request: "a&b=c", Since: time.Date(2026, 1, 2, 2, 4, 5, 5e8, time.UTC)}},
	} {
		w := newWorld()
		pipsqueak(t, w, "", append([]string{"logs", "hello"}, strings.Fields(test.args)...)...).want(t, 0, "2026-01-02T03:04:05.000Z r1 n2 stdout hi\n", "")
		if w.asked != test.want {
			t.Errorf("%s: %+v", test.args, w.asked)
		}
	}
	w := newWorld()
	pipsqueak(t, w, "", "logs", "hello", "--since", "2d")
	if want := time.Date(2025, 12, 31, 12, 0, 0, 0, time.UTC); !w.asked.Since.Equal(want) { // it is the second of January
		t.Errorf("2d ago is %v", w.asked.Since)
	}
	for _, args := range []string{"--since yesterday", "--since -5m", "--tail few", "--tail -3"} {
		if got := pipsqueak(t, newWorld(), "", append([]string{"logs", "hello"}, strings.Fields(args)...)...); got.status == 0 || got.out != "" || !strings.Contains(got.err, strings.Fields(args)[1]) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestLogsFollowUntilInterrupted(t *testing.T) {
	server := serving(newWorld().service())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runTelling(ctx, &program{}, func(string) { cancel() }, server.URL, "", "logs", "hello", "-f").want(t, 0, "2026-01-02T03:04:05.000Z r1 n2 stdout hi\n", "")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"lst"}, {"describe"}, {"list", "much"}, {"list", "-o", "yaml"}, {"list", "--nope"}, {"serve", "--memory", "lots"}, {"serve", "--memory", "512"}, {"serve", "--package-age", "30"}, {"invoke", "a", "b", "c"},
	} {
		got := pipsqueak(t, newWorld(), "", args...)
		if got.status != 2 || got.out != "" || !strings.HasPrefix(got.err, "pipsqueak: ") || !strings.Contains(got.err, "--help' for how it is used.") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := pipsqueak(t, newWorld(), "", "deploy", "--nam", "x"); !strings.Contains(got.err, "did you mean --name?") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "lst"); !strings.Contains(got.err, "Did you mean this?\n\tlist") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "describe", "helo"); !strings.Contains(got.err, `did you mean "hello"?`) {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "list", "--help"); got.status != 0 || !strings.Contains(got.out, "Examples:") {
		t.Errorf("%+v", got)
	}
}

func TestNoServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	got := runAt(t.Context(), &program{}, server.URL, "", "list")
	if got.status != 1 || !strings.Contains(got.err, "is it the right --server?") {
		t.Errorf("%+v", got)
	}
	server.Close()
	got = runAt(t.Context(), &program{}, server.URL, "", "list")
	if got.status != 1 || !strings.Contains(got.err, "start one with 'sudo pipsqueak serve'") {
		t.Errorf("%+v", got)
	}
	got = runAt(t.Context(), &program{}, "http://bad host", "", "list")
	if got.status != 1 || !strings.Contains(got.err, "is not the URL of a server") {
		t.Errorf("%+v", got)
	}
}

func TestCompletion(t *testing.T) {
	got := pipsqueak(t, newWorld(), "", "__complete", "describe", "")
	if got.status != 0 || !strings.HasPrefix(got.out, "hello\tpython3.11\nreport\tpython3.11\n:4\n") {
		t.Errorf("%+v", got)
	}
	got = pipsqueak(t, newWorld(), "", "__complete", "list", "-o", "")
	if !strings.HasPrefix(got.out, "table\njson\n:4\n") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "completion", "bash"); got.status != 0 || !strings.Contains(got.out, "bash completion") {
		t.Errorf("%+v", clipped(got))
	}
}

func clipped(r ran) ran {
	r.out = r.out[:min(len(r.out), 200)]
	return r
}

func TestDoctor(t *testing.T) {
	found := []core.Finding{{Name: "cgroup", Status: core.StatusOK, Detail: "v2"}, {Name: "python", Status: core.StatusWarn, Detail: "no pip", Mend: "apt install python3-pip"}}
	p := &program{checks: func(context.Context, workerConfig) []core.Finding { return found }}
	runAt(t.Context(), p, "", "", "doctor").want(t, 0, `ok    cgroup  v2
warn  python  no pip
              → apt install python3-pip
`, "")
	found = append(found, core.Finding{Name: "user namespaces", Status: core.StatusFail, Detail: "switched off", Mend: "sysctl -w x=1"})
	got := runAt(t.Context(), p, "", "", "doctor", "-o", "json")
	if got.status != 1 || !strings.Contains(got.out, `"mend": "sysctl -w x=1"`) || !strings.Contains(got.err, "1 of 3 checks failed") {
		t.Errorf("%+v", got)
	}
}

func TestVersion(t *testing.T) {
	for _, word := range []string{"version", "--version"} {
		if got := runAt(t.Context(), &program{}, "", "", word); got.status != 0 || !strings.HasPrefix(got.out, "pipsqueak ") {
			t.Errorf("%s: %+v", word, got)
		}
	}
}

// TestNeedsRoot says so before anything else happens.
func TestNeedsRoot(t *testing.T) {
	for _, args := range [][]string{{"serve", "--data", "/nowhere"}, {"scan", "/nowhere"}} {
		got := runAt(t.Context(), &program{user: 1000}, "", "", args...)
		if got.status == 0 || !strings.Contains(got.err, "needs root, and you are user 1000: run it with sudo") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
