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

// speakers print at import and in each event, on both streams, themselves and through programs that they start, with and without a newline, and
// leave a program behind that prints after the answer.
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

// TestLinesHaveTheirEvent: every line has the request id of the event that it was printed for, in every kind of start, also when it comes after the answer.
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

// TestBurstsHaveTheirEvent: an instance has its next event long before the worker has read all that the last one has printed.
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
