package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What happens with bad input and bad handlers?

// faulty does what its event says.
const faulty = `
import ctypes, math, os, sys, time

class Unusual(Exception):
    pass

def deep(n):
    if n == 0:
        raise Unusual("on purpose: \u2603")
    deep(n - 1)

def handler(event, context):
    do = event["do"]
    if do == "raise": deep(2)
    if do == "raise nothing": raise Unusual
    if do == "recurse": return handler(event, context)
    if do == "_exit": os._exit(3)
    if do == "exit": sys.exit(3)
    if do == "abort": os.abort()
    if do == "segfault": ctypes.string_at(0)
    if do == "sleep": time.sleep(60)
    if do == "spin":
        while True: pass
    if do == "swallow":
        while True:
            try: time.sleep(60)
            except BaseException: pass
    if do == "print":
        for _ in range(100 * 1024): print("x" * 1023)
        return "printed"
    if do == "print one line":
        sys.stdout.write("x" * (100 << 20)); sys.stdout.flush()
        return "printed"
    if do == "print bytes":
        os.write(1, b"\xff\xfe\x00\n" * 100); os.write(2, b"no newline at the end")
        return "printed"
    if do == "close":
        for fd in range(3, 256):
            try: os.close(fd)
            except OSError: pass
        return "closed"
    if do == "set": return {1, 2}
    if do == "object": return object()
    if do == "bytes": return b"bytes"
    if do == "nan": return math.nan
    if do == "infinity": return {"deep": [math.inf]}
    if do == "circle":
        circle = []; circle.append(circle); return circle
    if do == "key": return {(1, 2): 3}
    if do == "surrogate": return "\ud800"
    if do == "big": return "x" * (50 << 20)
    if do == "nearly too big": return "x" * (6 * 1024 * 1024 - 2)
    return do
`

// TestBadHandlers runs a handler that does everything wrong. Each answer has its kind, and the next event is
// served.
func TestBadHandlers(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "faulty", handlerFile(faulty).with("pipsqueak.yaml", "timeout_ms: 30000\nmemory_mb: 512\n"))
	w.deploy(t, "faulty-brief", handlerFile(faulty).with("pipsqueak.yaml", "timeout_ms: 1500\nmemory_mb: 512\n"))
	defer traffic(t, w)()
	cases := []struct {
		function, do string
		kind         core.Kind // empty: it succeeds
		status       int
	}{
		{"faulty", "raise", core.KindException, 500},
		{"faulty", "raise nothing", core.KindException, 500},
		{"faulty", "recurse", core.KindException, 500},
		{"faulty", "_exit", core.KindExit, 502},
		{"faulty", "abort", core.KindExit, 502},
		{"faulty", "segfault", core.KindExit, 502},
		{"faulty-brief", "sleep", core.KindTimeout, 504},
		{"faulty-brief", "spin", core.KindTimeout, 504},
		{"faulty-brief", "swallow", core.KindTimeout, 504},
		{"faulty", "print", "", 200},
		{"faulty", "print one line", "", 200},
		{"faulty", "print bytes", "", 200},
		{"faulty", "set", core.KindInvalid, 502},
		{"faulty", "object", core.KindInvalid, 502},
		{"faulty", "bytes", core.KindInvalid, 502},
		{"faulty", "nan", core.KindInvalid, 502},
		{"faulty", "infinity", core.KindInvalid, 502},
		{"faulty", "circle", core.KindInvalid, 502},
		{"faulty", "key", core.KindInvalid, 502},
		{"faulty", "surrogate", core.KindInvalid, 502},
		{"faulty", "big", core.KindTooLarge, 502},
		{"faulty", "nearly too big", "", 200},
	}
	for _, c := range cases {
		t.Run(c.do, func(t *testing.T) {
			began := time.Now()
			a := w.run(t, c.function, fmt.Sprintf(`{"do": %q}`, c.do))
			if c.kind == "" {
				if a.status != c.status {
					t.Errorf("answer %v", a)
				}
			} else {
				a.expectError(t, c.kind, core.FaultHandler, c.status)
				if start := a.header.Get("Pipsqueak-Start"); start == "" || a.header.Get("Server-Timing") == "" {
					t.Errorf("an error of the handler without start (%q) or phases (%q)", start, a.header.Get("Server-Timing"))
				}
			}
			if took := time.Since(began); c.kind == core.KindTimeout && took > 20*time.Second {
				t.Errorf("a timeout of 1.5 s took %v", took)
			}
			if got := result[string](t, w, c.function, `{"do": "fine"}`); got != "fine" {
				t.Errorf("the next event got %q", got)
			}
		})
	}
	// What closes its own endpoint or leaves by sys.exit may be told in more than one way, but it is told,
	// and soon.
	for _, do := range []string{"exit", "close", "surrogate"} {
		if a := w.run(t, "faulty", fmt.Sprintf(`{"do": %q}`, do)); a.status < 500 && do == "exit" {
			t.Errorf("%s: %v", do, a)
		}
		result[string](t, w, "faulty", `{"do": "fine"}`)
	}
}

func TestException(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "excepting", handlerFile(faulty))
	f := w.run(t, "excepting", `{"do": "raise"}`).expectError(t, core.KindException, core.FaultHandler, 500)
	if f.Exception == nil {
		t.Fatal("no exception in the error")
	}
	stack := strings.Join(f.Exception.Stack, "\n")
	if f.Exception.Type != "Unusual" || f.Exception.Message != "on purpose: ☃" || strings.Count(stack, "deep") < 3 || !strings.Contains(stack, "handler.py") {
		t.Errorf("exception %+v", f.Exception)
	}
	if strings.Contains(stack, "zygote") || !strings.Contains(f.Message, "Unusual") {
		t.Errorf("the stack has frames of the runtime, or the message lacks the type: %+v", f)
	}
	// An exception is no reason to lose what the instance has: the next event finds it warm.
	if a := w.run(t, "excepting", `{"do": "fine"}`); a.header.Get("Pipsqueak-Start") != "warm" {
		t.Errorf("the start after an exception is %s", a.header.Get("Pipsqueak-Start"))
	}
}

// TestBadFunctions deploys functions that cannot work by force, so that the first event finds it out.
func TestBadFunctions(t *testing.T) {
	system(t)
	w := shared(t)
	defer traffic(t, w)()
	cases := []struct {
		name  string
		files files
		says  string // in the message
	}{
		{"no-symbol", handlerFile("def other(event, context):\n    return 1\n"), "handler"},
		{"not-callable", handlerFile("handler = 42\n"), "handler"},
		{"raises-at-import", handlerFile("raise LookupError('at import')\n"), "at import"},
		{"syntax", handlerFile("def handler(event, context:\n"), "SyntaxError"},
		{"no-module", handlerFile("import module_that_is_not_there\n" + echo), "module_that_is_not_there"},
		{"exits-at-import", handlerFile("import os\nos._exit(0)\n"), ""},
		{"hangs-at-import", handlerFile("import time\ntime.sleep(60)\n").with("pipsqueak.yaml", "timeout_ms: 700\n"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			w.force(t, c.name, c.files)
			a := w.run(t, c.name, `{}`)
			var body struct{ Error core.Error }
			if a.status/100 != 2 {
				body = decode[struct{ Error core.Error }](t, a)
			}
			kinds := []core.Kind{core.KindInvalid, core.KindException, core.KindExit, core.KindTimeout}
			if a.status < 400 || !slices.Contains(kinds, body.Error.Kind) || body.Error.Fault != core.FaultHandler && body.Error.Fault != core.FaultCaller ||
				!strings.Contains(body.Error.Message, c.says) {
				t.Errorf("answer %v", a)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v to tell", took)
			}
		})
	}
}

func TestBadRequirements(t *testing.T) {
	system(t)
	w := shared(t)
	defer traffic(t, w)()
	for name, requirements := range map[string]string{
		"missing":  "this-package-does-not-exist-4711==1.0\n",
		"version":  "six==999.0\n",
		"conflict": "six==1.16.0\nsix==1.17.0\n",
		"rubbish":  "=== this is not a requirement ===\n",
		"index":    "--index-url=http://127.0.0.1:1/simple\nsix\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := w.put(t, "requires-"+name, handlerFile(echo).with("requirements.txt", requirements))
			f := a.expectError(t, core.KindInstall, "", http.StatusUnprocessableEntity)
			if want := strings.Trim(strings.FieldsFunc(requirements, func(r rune) bool { return r == '=' || r == '\n' })[0], " "); name != "rubbish" && !strings.Contains(f.Message, want) {
				t.Errorf("the message does not name %s: %s", want, f.Message)
			}
			w.run(t, "requires-"+name, `{}`).expectError(t, core.KindNotFound, core.FaultCaller, 404)
		})
	}
}

func TestBadManifests(t *testing.T) {
	system(t)
	w := shared(t)
	for name, c := range map[string]struct{ yaml, says string }{
		"unknown key":  {"memory_md: 128\n", "memory_mb"},
		"not yaml":     {"memory_mb: [\n", "pipsqueak.yaml"},
		"wrong type":   {"memory_mb: lots\n", "memory_mb"},
		"negative":     {"timeout_ms: -1\n", "timeout_ms"},
		"no runtime":   {"runtime: cobol85\n", "cobol85"},
		"bad handler":  {"handler: ../../etc/passwd\n", "handler"},
		"too much":     {"memory_mb: 99999999999\n", "memory_mb"},
		"bad duration": {"idle_timeout: soon\n", "idle_timeout"},
		"no file":      {"handler: missing.handler\n", "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.put(t, "manifest", handlerFile(echo).with("pipsqueak.yaml", c.yaml))
			var body struct{ Error core.Error }
			if a.status >= 400 {
				body = decode[struct{ Error core.Error }](t, a)
			}
			if a.status/100 != 4 || !strings.Contains(body.Error.Message, c.says) {
				t.Errorf("answer %v, want one that says %q", a, c.says)
			}
		})
	}
}

func TestBadNames(t *testing.T) {
	system(t)
	w := shared(t)
	archive := handlerFile(echo).archive(t)
	for _, name := range []string{"..%2Fescape", "%2e%2e%2Fescape", "..", "a%2Fb", "%C3%BCml%C3%A4ut", "%E2%98%83", strings.Repeat("a", 300),
		"-dash", ".hidden", "with%20space", "%00", "new%0Aline", "a%3Bb", "%ff"} {
		a := w.ask(t, http.MethodPut, "/v1/functions/"+name, archive)
		if a.status != http.StatusBadRequest && a.status != http.StatusNotFound {
			t.Errorf("deploy as %s: %v", name, a)
		}
		if a := w.ask(t, http.MethodPost, "/run/"+name, []byte(`{}`)); a.status != http.StatusBadRequest && a.status != http.StatusNotFound {
			t.Errorf("run of %s: %v", name, a)
		}
	}
	for _, name := range []string{strings.Repeat("a", 300), "%C3%BCml%C3%A4ut", "..%2Fescape"} {
		w.ask(t, http.MethodPut, "/v1/functions/"+name, archive).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	}
}

func TestBadEvents(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "listening", handlerFile(echo))
	for _, event := range []string{`{`, `{"a": }`, `text`, `{} {}`, "\xff\xfe", `{'a': 1}`, `NaN`} {
		w.run(t, "listening", event).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	}
	w.run(t, "listening", `"`+strings.Repeat("x", core.MaxEvent)+`"`).expectError(t, core.KindTooLarge, core.FaultCaller, http.StatusRequestEntityTooLarge)
	largest := `"` + strings.Repeat("x", core.MaxEvent-2) + `"`
	if got := result[string](t, w, "listening", largest); len(got) != core.MaxEvent-2 {
		t.Errorf("the largest event came back with %d bytes", len(got))
	}
	if a := w.ask(t, http.MethodGet, "/run/listening", nil); a.status != http.StatusMethodNotAllowed && a.status != http.StatusNotFound {
		t.Errorf("GET /run: %v", a)
	}
	w.run(t, "nobody-deployed-this", `{}`).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
}

// TestCallerGoesAway hangs up in the middle of an event. The handler runs to its end, and its instance serves
// on.
func TestCallerGoesAway(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "left-alone", handlerFile("import time\ndone = []\ndef handler(event, context):\n    print('"+begun+"', flush=True)\n    time.sleep(event['s'])\n    done.append(event['s'])\n    return done\n").
		with("pipsqueak.yaml", "max_instances: 1\n"))
	result[[]float64](t, w, "left-alone", `{"s": 0}`)
	defer traffic(t, w)()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before, gone := w.begun(t, "left-alone"), make(chan error, 1)
	go func() {
		_, err := w.do(ctx, http.MethodPost, "/run/left-alone", strings.NewReader(`{"s": 2}`))
		gone <- err
	}()
	eventually(t, patience, "the handler has the event", func() bool { return w.begun(t, "left-alone") > before })
	cancel()
	if err := <-gone; err == nil {
		t.Fatal("there was an answer before the caller went away")
	}
	got := result[[]float64](t, w, "left-alone", `{"s": 0}`)
	if !slices.Equal(got, []float64{0, 2, 0}) {
		t.Errorf("the instance has done %v: the event of a caller that went away has to run to its end", got)
	}
}

// TestTwoDeploysAtOnce deploys one name from many sides. Each is taken or told of the conflict, and the
// function is one of them.
func TestTwoDeploysAtOnce(t *testing.T) {
	system(t)
	w := shared(t)
	defer traffic(t, w)()
	before := w.deploy(t, "contested", handlerFile(echo)).Version
	var all sync.WaitGroup
	answers := make([]answer, 4)
	for i := range answers {
		archive := handlerFile(fmt.Sprintf("def handler(event, context):\n    return %d\n", i)).archive(t)
		all.Go(func() {
			var err error
			if answers[i], err = w.do(t.Context(), http.MethodPut, "/v1/functions/contested", strings.NewReader(string(archive))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var taken []int
	last, winner := 0, -1
	for i, a := range answers {
		if a.status/100 != 2 {
			a.expectError(t, core.KindConflict, core.FaultCaller, http.StatusConflict)
			continue
		}
		taken = append(taken, i)
		if v := decode[core.Function](t, a).Version; v > last {
			last, winner = v, i
		}
	}
	if len(taken) == 0 || last != before+len(taken) {
		t.Errorf("deploys %v were taken, and the version went from %d to %d", taken, before, last)
	}
	if got := result[int](t, w, "contested", `{}`); got != winner {
		t.Errorf("the function is deploy %d, want the last version, %d", got, winner)
	}
}
