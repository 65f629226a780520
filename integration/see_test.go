package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What does the log say of an event?

// speakers print at import and in each event, on both streams, themselves and through programs that they
// start, with and without a newline, and leave a program behind that prints after the answer.
var speakers = map[string]files{
	"python": {"handler.py": `
import subprocess, sys
print("importing")
def handler(event, context):
    n = event["n"]
    print(f"out {n}", end="\nhalf ")
    print(f"err {n}", file=sys.stderr)
    sys.stdout.flush()
    subprocess.run(f"echo child {n} >&2; sleep {event['rest']}", shell=True)
    if event["late"]:
        subprocess.Popen(f"sleep 0.1; echo late {n} >&2", shell=True)
    print(f"whole {n}", end="")
`},
	"node": {"index.js": `
const { execSync, spawn } = require('child_process');
console.log('importing');
exports.handler = async ({ n, late, rest }) => {
  process.stdout.write('out ' + n + '\nhalf ');
  console.error('err ' + n);
  execSync('echo child ' + n + ' >&2; sleep ' + rest, { stdio: 'inherit' });
  if (late) spawn('sh', ['-c', 'sleep 0.1; echo late ' + n + ' >&2'], { stdio: 'inherit' });
  process.stdout.write('whole ' + n);
};
`},
	"ruby": {"handler.rb": `
puts "importing"
def handler(event:, context:)
  n = event["n"]
  print "out #{n}\nhalf "
  warn "err #{n}"
  system("echo child #{n} >&2; sleep #{event["rest"]}")
  spawn("sleep 0.1; echo late #{n} >&2") if event["late"]
  print "whole #{n}"
  nil
end
`},
	"native": {"handler.c": `#include <pipsqueak.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((constructor)) static void hello(void) { puts("importing"); }
PS_EXPORT void handler(ps_context *context, const char *event, size_t size) {
    char command[200];
    int n = atoi(strstr(event, "\"n\":") + 4);
    printf("out %d\nhalf ", n);
    fflush(stdout);
    fprintf(stderr, "err %d\n", n);
    snprintf(command, sizeof command, "echo child %d >&2; sleep %s", n, strstr(event, "\"rest\":0.") ? "0.03" : "0");
    if (system(command)) return;
    snprintf(command, sizeof command, "(sleep 0.1; echo late %d >&2) &", n);
    if (strstr(event, "\"late\":true") && system(command)) return;
    printf("whole %d", n);
    ps_result(context, "null", 4);
}
`},
}

// logLines returns what the log of a function has for a query, such as "?errors=true".
func (w *worker) logLines(t testing.TB, name, query string) (lines []core.LogLine) {
	t.Helper()
	a := w.ask(t, http.MethodGet, "/v1/functions/"+name+"/logs"+query, nil)
	if a.status != http.StatusOK {
		t.Fatal(a)
	}
	for line := range bytes.Lines(a.body) {
		var l core.LogLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// runAs is run with a request id.
func (w *worker) runAs(t testing.TB, name, id, event string) answer {
	t.Helper()
	a, err := w.do(t.Context(), http.MethodPost, "/run/"+name, strings.NewReader(event), "X-Request-Id: "+id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestLinesHaveTheirEvent: every line has the request id of the event that it was printed for, in every kind
// of start, also when it comes after the answer.
func TestLinesHaveTheirEvent(t *testing.T) {
	system(t)
	w := shared(t)
	for language, f := range speakers {
		t.Run(language, func(t *testing.T) {
			for kind, yaml := range map[string]string{"warm": "max_instances: 1\n", "fresh": "reuse: false\n"} {
				t.Run(kind, func(t *testing.T) {
					name := "speaks-" + language + "-" + kind
					w.deploy(t, name, f.with("pipsqueak.yaml", yaml))
					w.speak(t, name, kind)
				})
			}
		})
	}
}

func (w *worker) speak(t *testing.T, name, kind string) {
	var want []string
	const events = 30
	starts := map[string]int{}
	for n := range events {
		late := n == events-1 && kind == "warm" // an instance that is not used again ends with all that it has started
		rest := "0"
		if n%10 == 0 {
			rest = "0.03"
		}
		id := fmt.Sprintf("%s-%d", name, n)
		a := w.runAs(t, name, id, fmt.Sprintf(`{"n":%d,"late":%v,"rest":%s}`, n, late, rest))
		if a.status != http.StatusOK {
			t.Fatal(a)
		}
		starts[a.header.Get("Pipsqueak-Start")]++
		for _, line := range []string{"stdout out %d", "stderr err %d", "stderr child %d", "stdout half whole %d"} {
			want = append(want, id+" "+fmt.Sprintf(line, n))
		}
		if late {
			want = append(want, fmt.Sprintf("%s stderr late %d", id, n))
		}
		if n == 0 || kind == "fresh" {
			want = append(want, id+" stdout importing")
		}
	}
	slices.Sort(want)
	var got []string
	eventually(t, patience, "all lines are in the log", func() bool {
		got = nil
		for _, l := range w.logLines(t, name, "") {
			if l.Function != name || l.Node == "" || l.Time.IsZero() {
				t.Fatalf("%+v", l)
			}
			got = append(got, l.Request+" "+l.Stream+" "+l.Text)
		}
		return len(got) >= len(want)
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("starts %v; the log has\n%s\nand not\n%s", starts, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestBurstsHaveTheirEvent: an instance has its next event long before the worker has read all that the last
// one has printed.
func TestBurstsHaveTheirEvent(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "bursts", handlerFile(`
import os
def handler(event, context):
    os.write(1, (context.aws_request_id + " out" * 500 + "\n").encode() * 20)
    os.write(2, (context.aws_request_id + " err\n").encode() * 20)
`).with("pipsqueak.yaml", "max_instances: 1\n"))
	const clients, events = 4, 20
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for n := range events {
				a, err := w.do(t.Context(), http.MethodPost, "/run/bursts", strings.NewReader("{}"), fmt.Sprintf("X-Request-Id: burst-%d-%d", c, n))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%v %v", a, err)
				}
			}
		})
	}
	all.Wait()
	var lines []core.LogLine
	eventually(t, patience, "all lines are in the log", func() bool {
		lines = w.logLines(t, "bursts", "")
		return len(lines) == clients*events*40
	})
	wrong := 0
	for _, l := range lines {
		if id, _, _ := strings.Cut(l.Text, " "); id != l.Request {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("%d lines have the request id of another event", wrong)
	}
}

// failers fail as their event says; LANGUAGE-import when they are imported.
var failers = map[string]files{
	"python": {"handler.py": `
import os, sys, time
if os.environ.get("FAIL"): raise ImportError("no library") from LookupError("why")
held = []
def handler(event, context):
    do = event["do"]
    print("about to " + do)
    if do == "raise":
        try: {}["x"]
        except KeyError as error: raise ValueError("no") from error
    if do == "hang": time.sleep(60)
    if do == "exit": sys.exit(3)
    if do == "text": sys.exit("why it ends")
    if do == "die": os._exit(4)
    if do == "kill": os.kill(os.getpid(), 15); time.sleep(60)
    if do == "memory":
        while True: held.append(b"x" * (10 << 20))
    if do == "json": return object()
`},
	"node": {"index.js": `
if (process.env.FAIL) throw new Error('no library', { cause: new RangeError('why') });
const held = [];
exports.handler = async ({ do: what }) => {
  console.log('about to ' + what);
  switch (what) {
    case 'raise': throw new TypeError('no', { cause: new RangeError('x') });
    case 'hang': for (;;);
    case 'exit': process.exit(3);
    case 'die': process.reallyExit = undefined; process.abort();
    case 'kill': process.kill(process.pid, 'SIGTERM'); return new Promise((done) => setTimeout(done, 60000));
    case 'memory': for (;;) held.push(Buffer.alloc(10 << 20, 1));
    case 'json': return 1n;
  }
};
`},
	"ruby": {"handler.rb": `
begin
  raise IndexError, "why" if ENV["FAIL"]
rescue IndexError
  raise LoadError, "no library"
end
HELD = []
def handler(event:, context:)
  puts "about to #{event["do"]}"
  case event["do"]
  when "raise"
    begin
      {}.fetch("x")
    rescue KeyError
      raise ArgumentError, "no"
    end
  when "hang" then sleep
  when "exit" then exit 3
  when "text" then abort "why it ends"
  when "die" then exit! 4
  when "kill"
    Process.kill(:KILL, Process.pid)
    sleep
  when "memory" then loop { HELD << "x" * (10 << 20) }
  when "json" then Float::NAN
  end
end
`},
	"native": {"handler.cpp": `#include <pipsqueak.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <vector>
PS_EXPORT int pipsqueak_init(ps_context *context)
{
    if (!getenv("FAIL"))
        return 0;
    ps_error(context, "Error", "no library");
    return 1;
}
static std::string run(std::string_view event, pipsqueak::context &)
{
    auto does = [&](const char *what) { return event.find(what) != event.npos; };
    std::printf("about to %.*s\n", (int)(event.size() - 9), event.data() + 7);
    if (does("raise"))
        try {
            throw std::range_error("x");
        } catch (...) {
            std::throw_with_nested(std::invalid_argument("no"));
        }
    if (does("hang"))
        sleep(60);
    if (does("exit"))
        exit(3);
    if (does("die"))
        _exit(4);
    if (does("kill"))
        kill(getpid(), SIGTERM), sleep(60);
    static std::vector<char *> held;
    while (does("memory"))
        held.push_back((char *)memset(malloc(10 << 20), 1, 10 << 20));
    return "no JSON";
}
PIPSQUEAK_HANDLER(handler, run)
`},
}

// TestFailuresAreSeen: each event that fails has one line in its function's log, after what it has printed,
// and one in the worker's.
func TestFailuresAreSeen(t *testing.T) {
	system(t)
	w := shared(t)
	for language, f := range failers {
		t.Run(language, func(t *testing.T) {
			name := "fails-" + language
			w.deploy(t, name, f.with("pipsqueak.yaml", "timeout_ms: 2000\nmemory_mb: 64\n"))
			for _, c := range []struct {
				do                  string
				kind                core.Kind
				says                string // in the text
				raised, cause, only string
			}{
				{"raise", core.KindException, "raised", "no", "x", ""},
				{"hang", core.KindTimeout, "2s", "", "", ""},
				{"exit", core.KindExit, "3", "3", "", ""},
				{"text", core.KindExit, "why it ends", "why it ends", "", "python ruby"},
				{"die", core.KindExit, "ended", "", "", ""},
				{"kill", core.KindExit, "ended", "", "", ""},
				{"memory", core.KindMemory, "memory limit", "", "", ""},
				{"json", core.KindInvalid, "JSON", "", "", ""},
			} {
				if c.only == "" || strings.Contains(c.only, language) {
					id := name + "-" + c.do
					if a := w.runAs(t, name, id, fmt.Sprintf(`{"do":%q}`, c.do)); a.status < 500 {
						t.Errorf("%s: %v", c.do, a)
					}
					l := w.failureLine(t, name, id, c.kind)
					if !strings.Contains(l.Text, c.says) && !strings.Contains(l.Text, "SIG") {
						t.Errorf("%s: %q does not say %q", c.do, l.Text, c.says)
					}
					x := l.Failure.Exception
					if c.raised != "" && (x == nil || !strings.Contains(x.Message, c.raised)) {
						t.Errorf("%s: the exception %+v", c.do, x)
					} else if c.cause != "" && (len(x.Causes) != 1 || !strings.Contains(x.Causes[0].Message, c.cause)) {
						t.Errorf("%s: the causes %+v", c.do, x.Causes)
					}
					all := w.logLines(t, name, "?request="+id)
					said := slices.ContainsFunc(all, func(l core.LogLine) bool { return strings.HasPrefix(l.Text, "about to") })
					if !said || all[len(all)-1].Failure == nil {
						t.Errorf("%s: the event's lines are %+v", c.do, all)
					}
				}
			}
			name += "-import"
			w.force(t, name, f.with("pipsqueak.yaml", "env: {FAIL: yes}\n"))
			w.runAs(t, name, name, `{}`)
			if l := w.failureLine(t, name, name, core.KindException); !strings.Contains(l.Text, "no library") {
				t.Errorf("import: %q", l.Text)
			} else if language != "native" && (len(l.Failure.Exception.Causes) != 1 || l.Failure.Exception.Causes[0].Message != "why") {
				t.Errorf("import: %+v", l.Failure.Exception)
			}
		})
	}
}

// failureLine returns the one line of the log of an event that failed; the answer came after it was written.
// The worker's own log has one too.
func (w *worker) failureLine(t *testing.T, name, id string, kind core.Kind) core.LogLine {
	t.Helper()
	lines := w.logLines(t, name, "?errors=true&request="+id)
	if len(lines) != 1 || lines[0].Failure == nil {
		t.Fatalf("%s: the log has %+v", id, lines)
	}
	l := lines[0]
	if l.Request != id || l.Function != name || l.Stream != "worker" || l.Failure.Kind != kind || l.Failure.Fault != core.FaultHandler {
		t.Errorf("%s: %+v %+v", id, l, l.Failure)
	}
	eventually(t, patience, "the worker's log has the event", func() bool {
		return strings.Count(w.logs.String(), fmt.Sprintf("msg=invoke fn=%s version=1 request=%s kind=%s fault=handler", name, id, kind)) == 1
	})
	return l
}

// TestEventsAreSeen: with --events each event has a line, also one that another function has sent; and
// metrics tell which function fails.
func TestEventsAreSeen(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir(), "--events")
	w.deploy(t, "seen-inner", handlerFile("def handler(event, context):\n    raise ValueError('no')\n"))
	w.deploy(t, "seen-outer", handlerFile("def handler(event, context):\n    try: context.invoke('seen-inner', {})\n    except Exception as error: return str(error)\n"))
	if a := w.runAs(t, "seen-outer", "outer-1", `{}`); a.status != http.StatusOK {
		t.Fatal(a)
	}
	w.runAs(t, "nobody", "outer-2", `{}`)
	for _, want := range []string{
		"msg=event fn=seen-inner version=1 request=outer-1 depth=1 start=",
		"msg=event fn=seen-outer version=1 request=outer-1 start=",
		"msg=event fn=nobody version=0 request=outer-2 start=none",
	} {
		eventually(t, patience, want, func() bool { return strings.Count(w.logs.String(), want) == 1 })
	}
	metrics := string(w.ask(t, http.MethodGet, "/metrics", nil).body)
	for _, want := range []string{
		`pipsqueak_function_events_total{function="seen-inner",kind="exception"} 1`,
		`pipsqueak_function_events_total{function="seen-outer",kind="ok"} 1`,
		`pipsqueak_function_event_seconds_count{function="seen-inner"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(metrics, "nobody") {
		t.Error("a caller has made a metric")
	}
	if l := w.logLines(t, "seen-inner", "?errors=true"); len(l) != 1 || l[0].Request != "outer-1" {
		t.Errorf("%+v", l)
	}
}
