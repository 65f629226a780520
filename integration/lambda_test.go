package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does a program that was written for AWS Lambda's Runtime API run unchanged?

// goProgram returns the function that a folder with a main package in Go is, built as a user builds it.
func goProgram(t testing.TB, folder string) files {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join(repositoryRoot(t), folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", folder, err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	return files{"bootstrap*": string(text)}
}

// lambdaSetting keeps a few of its instances and ends an event early.
const lambdaSetting = "runtime: native\nmemory_mb: 128\ntimeout_ms: 3000\nmax_instances: 8\n"

func do(what, text string) string {
	event, err := json.Marshal(map[string]string{"do": what, "text": text})
	if err != nil {
		panic(err)
	}
	return string(event)
}

func TestBootstrapGo(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "lambda-go", goProgram(t, "integration/testdata/bootstrap").with("pipsqueak.yaml", lambdaSetting+"handler: index.handler\n"))

	a := w.run(t, "lambda-go", `{"do": "about"}`)
	about := decode[struct {
		ID, ARN, Name, Handler string
		Left, Memory, Served   int
	}](t, a)
	if about.ID != a.header.Get("X-Request-Id") || about.Name != "lambda-go" || about.Memory != 128 || about.Handler != "index.handler" ||
		!strings.HasSuffix(about.ARN, ":lambda-go") || about.Left < 1 || about.Left > 3000 {
		t.Errorf("it was told %+v", about)
	}
	for _, text := range []string{"", "üñí 🐭 \u0000 \"\\ </script>\u2028", strings.Repeat("é", 1<<20)} {
		if got := result[string](t, w, "lambda-go", do("echo", text)); got != text {
			t.Errorf("%.50q came back as %.50q", text, got)
		}
	}
	if got := result[map[string]bool](t, w, "lambda-go", do("stream", "")); !got["streamed"] {
		t.Errorf("a stream came back as %v", got)
	}
	w.run(t, "lambda-go", do("print", "4711"))
	eventually(t, patience, "what it prints is its log", func() bool {
		logs := string(w.ask(t, http.MethodGet, "/v1/functions/lambda-go/logs", nil).body)
		return strings.Contains(logs, "to stdout 4711") && strings.Contains(logs, "to stderr 4711")
	})

	// 1000 events, all on warm instances, most on one.
	served := 0
	for n := range 1000 {
		a := w.run(t, "lambda-go", `{"do": "about"}`)
		if start := a.header.Get("Pipsqueak-Start"); a.status != http.StatusOK || start != "warm" {
			t.Fatalf("event %d: %s %v", n, start, a)
		}
		served = max(served, decode[struct{ Served int }](t, a).Served)
	}
	if served < 500 {
		t.Errorf("no instance served more than %d of 1000 events", served)
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for n := range 50 {
				text := fmt.Sprint("text ", n)
				if got := result[string](t, w, "lambda-go", do("echo", text)); got != text {
					t.Errorf("%q came back as %q", text, got)
				}
			}
		})
	}
	both.Wait()
}

func TestBootstrapSizes(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "lambda-sizes", goProgram(t, "integration/testdata/bootstrap").with("pipsqueak.yaml", lambdaSetting))
	event := do("length", "")
	text := strings.Repeat("x", core.MaxEvent-len(event))
	if got := result[int](t, w, "lambda-sizes", do("length", text)); got != len(text) {
		t.Errorf("of %d bytes %d came", len(text), got)
	}
	largest := core.MaxResult - len(`""`)
	if got := result[string](t, w, "lambda-sizes", fmt.Sprintf(`{"do": "large", "size": %d}`, largest)); len(got) != largest {
		t.Errorf("of %d bytes %d came back", largest, len(got))
	}
	// aws-lambda-go ends when a response is refused; the next event finds another instance.
	for range 5 {
		w.run(t, "lambda-sizes", fmt.Sprintf(`{"do": "large", "size": %d}`, largest+1)).expectError(t, core.KindTooLarge, core.FaultHandler, http.StatusBadGateway)
		if got := result[string](t, w, "lambda-sizes", do("echo", "on")); got != "on" {
			t.Errorf("answer %q", got)
		}
	}
}

func TestBootstrapFailures(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "lambda-bad", goProgram(t, "integration/testdata/bootstrap").with("pipsqueak.yaml", lambdaSetting))
	tests := []struct {
		do     string
		kind   core.Kind
		status int
		says   string
	}{
		{"error", core.KindException, http.StatusInternalServerError, "no reason"},
		{"panic", core.KindException, http.StatusInternalServerError, "panic: reason"},
		{"exit", core.KindExit, http.StatusBadGateway, "code 7"},
		{"terminate", core.KindExit, http.StatusBadGateway, "SIGTERM"},
		{"kill", core.KindExit, http.StatusBadGateway, "code 137"},
		{"sleep", core.KindTimeout, http.StatusGatewayTimeout, "3s"},
		{"memory", core.KindMemory, http.StatusBadGateway, "128 MiB"},
	}
	for _, test := range tests {
		e := w.run(t, "lambda-bad", do(test.do, "reason")).expectError(t, test.kind, core.FaultHandler, test.status)
		if !strings.Contains(e.Message, test.says) {
			t.Errorf("%s: %q does not say %q", test.do, e.Message, test.says)
		}
		if test.do == "panic" && (e.Exception == nil || len(e.Exception.Stack) == 0 || !strings.Contains(strings.Join(e.Exception.Stack, "\n"), "main.go:")) {
			t.Errorf("a panic without a stack: %+v", e.Exception)
		}
		if got := result[string](t, w, "lambda-bad", do("echo", "on")); got != "on" {
			t.Errorf("after %s the answer is %q", test.do, got)
		}
	}
	if logs := string(w.ask(t, http.MethodGet, "/v1/functions/lambda-bad/logs", nil).body); !strings.Contains(logs, "killed by signal 9 (Killed)") {
		t.Errorf("the log does not tell of the signal:\n%s", logs)
	}
}

// The bootstrap of AWS's tutorial: bash and curl.
const bashBootstrap = `#!/bin/bash
set -euo pipefail
source "$LAMBDA_TASK_ROOT/$(echo $_HANDLER | cut -d. -f1).sh"
while true
do
  HEADERS="$(mktemp)"
  EVENT_DATA=$(curl -sS -LD "$HEADERS" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")
  REQUEST_ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  RESPONSE=$($(echo "$_HANDLER" | cut -d. -f2) "$EVENT_DATA")
  curl -sS "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" -d "$RESPONSE"
done
`

func TestBootstrapBash(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("bash"), Runtime("curl"))
	w := shared(t)
	w.deploy(t, "lambda-bash", files{"bootstrap*": bashBootstrap, "function.sh": "handler() { echo \"Echoing request: '$1'\"; }\n",
		"pipsqueak.yaml": "runtime: native\nhandler: function.handler\n"})
	for range 20 {
		if got := result[string](t, w, "lambda-bash", `{"text": "Hello ü"}`); got != `Echoing request: '{"text": "Hello ü"}'` {
			t.Errorf("answer %q", got)
		}
	}
}

const pythonBootstrap = `#!/usr/bin/python3
import http.client, json, os, sys

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def ask(method, path, body=None, headers={}):
    api.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = api.getresponse()
    return answer, answer.read()

if os.environ.get("BROKEN") == "init":
    ask("POST", "init/error", json.dumps({"errorType": "Init.NoModel", "errorMessage": "the model is missing", "stackTrace": ["bootstrap:12"]}))
    sys.exit(1)
if os.environ.get("BROKEN") == "exit":
    sys.exit("cannot go on")
while True:
    answer, body = ask("GET", "invocation/next")
    event, path = json.loads(body), "invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"]
    try:
        # A generator is sent in chunks.
        ask("POST", path + "/response", (part.encode() for part in ('{"half": ', json.dumps(event["n"] / 2), "}")))
    except Exception as error:
        ask("POST", path + "/error", json.dumps({"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": []}),
            {"Lambda-Runtime-Function-Error-Type": "Runtime." + type(error).__name__})
`

func TestBootstrapPython(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "lambda-python", files{"bootstrap*": pythonBootstrap, "Makefile": "all:\n\tfalse # its author's, not for here\n"})
	w.deploy(t, "lambda-fresh", files{"bootstrap*": pythonBootstrap, "pipsqueak.yaml": "reuse: false\nhandler: bootstrap\n"})
	for _, name := range []string{"lambda-python", "lambda-fresh"} {
		for n := range 10 {
			if got := result[map[string]float64](t, w, name, fmt.Sprintf(`{"n": %d}`, n)); got["half"] != float64(n)/2 {
				t.Errorf("%s: half of %d is %v", name, n, got)
			}
		}
		e := w.run(t, name, `{}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
		if e.Exception == nil || e.Exception.Type != "KeyError" {
			t.Errorf("%s: exception %+v", name, e.Exception)
		}
	}
	w.force(t, "lambda-init", files{"bootstrap*": pythonBootstrap, "pipsqueak.yaml": "env:\n  BROKEN: init\n"})
	e := w.run(t, "lambda-init", `{}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	if e.Exception == nil || e.Exception.Type != "Init.NoModel" || !strings.Contains(e.Message, "the model is missing") {
		t.Errorf("%+v", e)
	}
	w.force(t, "lambda-exit", files{"bootstrap*": pythonBootstrap, "pipsqueak.yaml": "env:\n  BROKEN: exit\n"})
	e = w.run(t, "lambda-exit", `{}`).expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway)
	if !strings.Contains(e.Message, "ended with code 1 before") || !strings.HasSuffix(e.Message, core.SeeLogs) {
		t.Errorf("%+v", e)
	}
}

func TestBootstrapUnstartable(t *testing.T) {
	system(t)
	w := shared(t)
	w.force(t, "lambda-mac", files{"bootstrap*": "\xcf\xfa\xed\xfe\x0c\x00\x00\x01"})
	if e := w.run(t, "lambda-mac", `{}`).expectError(t, core.KindInvalid, core.FaultHandler, http.StatusBadGateway); !strings.Contains(e.Message, "GOOS=linux") {
		t.Errorf("%+v", e)
	}
	w.force(t, "lambda-shebang", files{"bootstrap*": "#!/usr/bin/nodejs-99\n"})
	if e := w.run(t, "lambda-shebang", `{}`).expectError(t, core.KindInvalid, core.FaultHandler, http.StatusBadGateway); !strings.Contains(e.Message, "/usr/bin/nodejs-99") {
		t.Errorf("%+v", e)
	}
}

func TestBootstrapExample(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "bootstrap-go", goProgram(t, "examples/bootstrap-go"))
	got := result[struct {
		Words            int
		Longest, Request string
	}](t, w, "bootstrap-go", `{"text": "so many words, so little memory"}`)
	if got.Words != 6 || got.Longest != "little" || got.Request == "" {
		t.Errorf("%+v", got)
	}
	w.run(t, "bootstrap-go", `{"text": "…"}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
}
