package integration

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does a function live from deploy to remove?

const echo = "def handler(event, context):\n    return event\n"

func TestDeployInvokeRemove(t *testing.T) {
	system(t)
	w := shared(t)
	created := w.put(t, "life", handlerFile(echo))
	if f := decode[core.Function](t, created); created.status != http.StatusCreated || f.Name != "life" || f.Version != 1 || f.Handler != "handler.handler" {
		t.Fatalf("first deploy: %v", created)
	}
	for _, event := range []string{`{"a": [1, 2.5, null, true, "ü"]}`, `[]`, `"text"`, `null`, `0`} {
		var want, got any
		if err := json.Unmarshal([]byte(event), &want); err != nil {
			t.Fatal(err)
		}
		if got = result[any](t, w, "life", event); !reflect.DeepEqual(got, want) {
			t.Errorf("event %s came back as %v", event, got)
		}
	}
	replaced := w.put(t, "life", handlerFile("def handler(event, context):\n    return 'second'\n"))
	if f := decode[core.Function](t, replaced); replaced.status != http.StatusOK || f.Version != 2 {
		t.Errorf("second deploy: %v", replaced)
	}
	if got := result[string](t, w, "life", `{}`); got != "second" {
		t.Errorf("after the second deploy the first code answers: %q", got)
	}
	described := w.ask(t, http.MethodGet, "/v1/functions/life", nil)
	if f := decode[core.Function](t, described); described.status != http.StatusOK || f.Version != 2 {
		t.Errorf("describe: %v", described)
	}
	listed := decode[[]core.Function](t, w.ask(t, http.MethodGet, "/v1/functions", nil))
	if !slices.ContainsFunc(listed, func(f core.Function) bool { return f.Name == "life" }) {
		t.Errorf("the list lacks the function: %v", listed)
	}
	if a := w.ask(t, http.MethodDelete, "/v1/functions/life", nil); a.status/100 != 2 {
		t.Errorf("remove: %v", a)
	}
	w.run(t, "life", `{}`).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	w.ask(t, http.MethodDelete, "/v1/functions/life", nil).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	eventually(t, patience, "its instances end", func() bool { return len(w.leaves(t, "life")) == 0 })
}

// TestForms deploys every form a function may have.
func TestForms(t *testing.T) {
	system(t)
	w := shared(t)
	drivers := w.snapshot(t).Drivers
	runtime := drivers[slices.IndexFunc(drivers, func(d core.DriverInfo) bool { return d.Language == "python" })].Runtimes[0].ID
	forms := map[string]files{
		"form-handler": handlerFile("def handler(event, context):\n    return 'yes'\n"),
		"form-lambda":  {"lambda_function.py": "def lambda_handler(event, context):\n    return 'yes'\n"},
		"form-f":       {"f.py": "def f(event):\n    return 'yes'\n"},
		"form-named":   {"app.py": "def answer(event, context):\n    return 'yes'\n", "pipsqueak.yaml": fmt.Sprintf("runtime: %s\nhandler: app.answer\n", runtime)},
		"form-modules": {"handler.py": "import part\nfrom pack.inner import word\n\ndef handler(event, context):\n    return part.first + word\n",
			"part.py": "first = 'y'\n", "pack/__init__.py": "", "pack/inner.py": "word = 'es'\n"},
	}
	for name, f := range forms {
		w.deploy(t, name, f)
		if got := result[string](t, w, name, `{}`); got != "yes" {
			t.Errorf("%s answers %q", name, got)
		}
	}
}

func TestZip(t *testing.T) {
	system(t)
	w := shared(t)
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	file, err := z.Create("handler.py")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(file, "def handler(event, context):\n    return 'from a zip'\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if a := w.ask(t, http.MethodPut, "/v1/functions/zipped", archive.Bytes()); a.status != http.StatusCreated {
		t.Fatalf("deploy: %v", a)
	}
	if got := result[string](t, w, "zipped", `{}`); got != "from a zip" {
		t.Errorf("answer %q", got)
	}
}

// TestStarts sees the three kinds of start, in their order, and their phases.
func TestStarts(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "reused", handlerFile(echo))
	w.deploy(t, "fresh", handlerFile(echo).with("pipsqueak.yaml", "reuse: false\n"))

	w.fell(t)
	first := w.run(t, "reused", `1`)
	if spent, _ := phases(first); first.header.Get("Pipsqueak-Start") != "cold" || spent["preload"] == 0 {
		t.Errorf("the first start without a zygote is %s: %s", first.header.Get("Pipsqueak-Start"), first.header.Get("Server-Timing"))
	}
	for range 5 {
		again := w.run(t, "reused", `1`)
		spent, err := phases(again)
		if err != nil || again.header.Get("Pipsqueak-Start") != "warm" {
			t.Errorf("the next start is %s: %v", again.header.Get("Pipsqueak-Start"), err)
		}
		for _, phase := range []string{"preload", "fork", "enter", "import"} {
			if ms, happened := spent[phase]; happened {
				t.Errorf("%s of %g ms in a warm start", phase, ms)
			}
		}
	}
	forked := forkStart(t, w, "fresh", `1`)
	spent, err := phases(forked)
	if err != nil {
		t.Error(err)
	}
	for _, phase := range []string{"fork", "enter", "import", "handler"} {
		if _, happened := spent[phase]; !happened {
			t.Errorf("no %s in a fork start: %s", phase, forked.header.Get("Server-Timing"))
		}
	}
	if _, happened := spent["preload"]; happened {
		t.Errorf("preload in a fork start: %s", forked.header.Get("Server-Timing"))
	}
}

// forkStart invokes a function that is never reused until a zygote has all its packages: one is made off the
// request's path after the second request that would have used it.
func forkStart(t testing.TB, w *worker, name, event string) (a answer) {
	t.Helper()
	eventually(t, patience, name+" starts by fork", func() bool {
		a = w.run(t, name, event)
		return a.status != http.StatusOK || a.header.Get("Pipsqueak-Start") == "fork"
	})
	if a.status != http.StatusOK {
		t.Fatalf("run %s: %v", name, a)
	}
	return a
}

// TestContext checks what a handler is told about itself and its event.
func TestContext(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "told", files{"handler.py": `
import os, time
def handler(event, context):
    before = context.get_remaining_time_in_millis()
    time.sleep(0.05)
    return {"id": context.aws_request_id, "name": context.function_name, "memory": int(context.memory_limit_in_mb),
            "before": before, "after": context.get_remaining_time_in_millis(), "env": os.environ.get("COLOUR")}
`, "pipsqueak.yaml": "memory_mb: 128\ntimeout_ms: 5000\nenv:\n  COLOUR: mouse grey\n"})
	seen := map[string]bool{}
	for range 3 {
		a := w.run(t, "told", `{}`)
		got := decode[struct {
			ID, Name, Env string
			Memory        int
			Before, After float64
		}](t, a)
		id := a.header.Get("X-Request-Id")
		if got.ID != id || seen[id] {
			t.Errorf("request id %q in the handler, %q outside, seen before: %v", got.ID, id, seen[id])
		}
		seen[id] = true
		if got.Name != "told" || got.Memory != 128 || got.Env != "mouse grey" {
			t.Errorf("told %+v", got)
		}
		if got.Before > 5000 || got.Before < 1000 || got.After > got.Before-45 {
			t.Errorf("remaining time %g ms, then %g ms", got.Before, got.After)
		}
	}
}

func TestLogs(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "chatty", handlerFile("import sys\ndef handler(event, context):\n    print('out', event)\n    print('err', event, file=sys.stderr)\n"))
	began := time.Now()
	w.run(t, "chatty", `1`)
	w.run(t, "chatty", `2`)
	var lines []core.LogLine
	eventually(t, patience, "all four lines are in the log", func() bool {
		lines = nil
		a := w.ask(t, http.MethodGet, "/v1/functions/chatty/logs", nil)
		for line := range bytes.Lines(a.body) {
			var l core.LogLine
			if err := json.Unmarshal(line, &l); err != nil {
				t.Fatalf("log line %q: %v", line, err)
			}
			if l.Stream != "worker" && l.Time.After(began) {
				lines = append(lines, l)
			}
		}
		return len(lines) >= 4
	})
	for _, want := range []struct{ stream, text string }{{"stdout", "out 1"}, {"stderr", "err 1"}, {"stdout", "out 2"}, {"stderr", "err 2"}} {
		if !slices.ContainsFunc(lines, func(l core.LogLine) bool {
			return l.Stream == want.stream && l.Text == want.text && l.Function == "chatty" && l.Node != ""
		}) {
			t.Errorf("no line %v in %v", want, lines)
		}
	}
}

// TestExamples deploys everything under examples/ and compares the answers.
func TestExamples(t *testing.T) {
	system(t)
	w := shared(t)
	expected, err := filepath.Glob(filepath.Join(repositoryRoot(t), "examples", "*", "expected.json"))
	if err != nil || len(expected) < 4 {
		t.Fatalf("only %d examples with an expected.json: %v", len(expected), err)
	}
	for _, file := range expected {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want any
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			f := directory(t, filepath.Join("examples", name))
			args := []string{"deploy", filepath.Dir(file)}
			if !strings.Contains(f["pipsqueak.yaml"], "functions:") { // those of an application have names
				args = append(args, "--name", name)
			}
			if _, stderr, err := w.command(t, "", args...); err != nil {
				t.Fatalf("deploy: %v: %s", err, stderr)
			}
			if got := result[any](t, w, name, f["event.json"]); !reflect.DeepEqual(got, want) {
				t.Errorf("answer %v, want %v", got, want)
			}
		})
	}
}

// TestDemo runs the demo of make demo with two of the examples: one whose instances have one event, and one
// with concurrency.
func TestDemo(t *testing.T) {
	system(t)
	root, some := repositoryRoot(t), t.TempDir()
	for _, name := range []string{"echo", "rates"} {
		coretest.Must(t, os.CopyFS(filepath.Join(some, name), os.DirFS(filepath.Join(root, "examples", name))))
	}
	demo := exec.Command("go", "run", "./examples", "-bin", programs(t), "-examples", some)
	demo.Dir = root
	said, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, row := range []string{`echo +python\S+ +fork `, `rates +python\S+ +fork `, `rates +python\S+ +warm `} {
		if !regexp.MustCompile(row).Match(said) {
			t.Errorf("no row %q: %s", row, said)
		}
	}
}

// TestRestart stops a worker and starts another one on the same data: every function is there and answers.
func TestRestart(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.deploy(t, "kept", handlerFile(echo))
	w.deploy(t, "kept-packages", handlerFile("import six\ndef handler(event, context):\n    return six.__version__\n").with("requirements.txt", "six==1.17.0\n"))
	w.deploy(t, "removed", handlerFile(echo))
	w.ask(t, http.MethodDelete, "/v1/functions/removed", nil)
	result[int](t, w, "kept", `7`)
	id := w.snapshot(t).Worker
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	// What a crash in the middle of a deploy and of an install leaves behind.
	half := filepath.Join(data, "staging", "half")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data)
	if got := result[int](t, w, "kept", `7`); got != 7 {
		t.Errorf("kept answers %d", got)
	}
	if got := result[string](t, w, "kept-packages", `{}`); got != "1.17.0" {
		t.Errorf("kept-packages answers %q", got)
	}
	after := w.snapshot(t)
	if id == "" || after.Worker != id || len(after.Nodes) == 0 || after.Nodes[0].Worker != id {
		t.Errorf("the worker's id was %q and is %q after a restart, of %+v", id, after.Worker, after.Nodes)
	}
	w.run(t, "removed", `{}`).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	if _, err := os.Stat(half); err == nil {
		t.Error("a half-finished deploy has survived")
	}
	if f := w.deploy(t, "kept", handlerFile(echo)); f.Version != 2 {
		t.Errorf("the version after a restart is %d, want 2", f.Version)
	}
}

func TestIdleInstancesEnd(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "idle", handlerFile(echo).with("pipsqueak.yaml", "idle_timeout: 500ms\n"))
	w.run(t, "idle", `1`)
	eventually(t, patience, "the idle instance ends", func() bool { return len(w.instances(t, "idle")) == 0 })
	if got := result[int](t, w, "idle", `2`); got != 2 {
		t.Errorf("answer %d after it", got)
	}
}

// TestManyAtOnce sends more events at once than the function may have instances: each is answered or refused
// by kind, at no time are there more instances, and no instance gets two events at once.
func TestManyAtOnce(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "narrow", handlerFile("import time\nbusy = 0\ndef handler(event, context):\n    global busy\n    busy += 1\n    time.sleep(0.05)\n    most = busy\n    busy -= 1\n    return most\n").
		with("pipsqueak.yaml", "max_instances: 2\n"))
	var all sync.WaitGroup
	answers := make([]answer, 40)
	for i := range answers {
		all.Go(func() {
			var err error
			if answers[i], err = w.do(t.Context(), http.MethodPost, "/run/narrow", strings.NewReader(`{}`)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	served := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			served++
			if got := strings.TrimSpace(string(a.body)); got != "1" {
				t.Errorf("%s events at once in one instance", got)
			}
			continue
		}
		a.expectError(t, core.KindExhausted, "", http.StatusTooManyRequests)
	}
	if n := len(w.instances(t, "narrow")); served == 0 || n > 2 {
		t.Errorf("%d of %d served, %d instances", served, len(answers), n)
	}
	result[int](t, w, "narrow", `{}`)
}
