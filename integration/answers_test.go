package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Is an answer the answer to its event, once, and JSON?

// forger writes a frame of its own to the worker's descriptor, during an event or after it, or forks a child
// that comes back from the handler.
const forger = `
import ctypes, os, platform, struct, threading, time
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
def forge(text):
    os.write(4, struct.pack(">Ic", len(text) + 1, b"R") + text)
def handler(event, context):
    do = event.get("do")
    if do == "forge":
        forge(b'"forged"')
    if do == "forge late":
        threading.Thread(target=lambda: (time.sleep(0.1), forge(b'"forged"'))).start()
    if do == "fork" and os.fork() == 0:
        return "child"
    if do == "fork later" and os.fork() == 0:
        time.sleep(0.2)
        return "child"
    if do == "fork and invoke" and os.fork() == 0:
        return context.invoke("answers-echo", {"n": "child"})
    if do == "steal" and os.fork() == 0:
        os.read(4, 1 << 20)
        os._exit(0)
    if do == "steal by clone" and ctypes.CDLL(None).syscall(CLONE, 17, 0, 0, 0, 0) == 0:
        os.read(4, 1 << 20)
        os._exit(0)
    if do == "steal by copy":
        copy = os.dup(4)
        if os.fork() == 0:
            os.read(copy, 1 << 20)
            os._exit(0)
    return event["n"]
`

// TestAnswersDoNotShift: whatever a handler does to the connection, nobody gets the answer to another event.
func TestAnswersDoNotShift(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "answers-echo", handlerFile("def handler(event, context):\n    return event['n']\n"))
	w.deploy(t, "answers-python", handlerFile(forger))
	w.deploy(t, "answers-ruby", files{"handler.rb": "def handler(event:, context:)\n  return 'child' if event['do'] == 'fork' && !fork\n  (IO.for_fd(4).readpartial(1 << 20); exit!) if event['do'] == 'steal' && !fork\n" +
		"  copy = IO.for_fd(4, autoclose: false).dup if event['do'] == 'steal by copy'\n  (copy.readpartial(1 << 20); exit!) if copy && !fork\n  event['n']\nend\n"})
	w.deploy(t, "answers-node", files{"index.js": `const { spawn } = require('child_process');
exports.handler = async (event) => {
  if (event.do === 'steal by program') spawn('head', ['-c', '1'], { stdio: [4, 'ignore', 'ignore'] }).unref();
  return event.n;
};
`})
	w.deploy(t, "answers-native", files{"handler.c": `#include <pipsqueak.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
PS_EXPORT void handler(ps_context *context, const char *event, size_t size) {
    const char *n = strstr(event, "\"n\":") + 4;
    ps_answer answer;
    if (strstr(event, "fork and crash") && fork() == 0) abort();
    if (strstr(event, "fork and invoke") && fork() == 0) { ps_invoke(context, "answers-echo", "{\"n\":0}", 7, &answer); n = "\"child\"}"; }
    char stolen[4096];
    if (strstr(event, "steal\"") && fork() == 0) _exit(read(4, stolen, sizeof stolen) < 0);
    if (strstr(event, "steal by clone") && syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) _exit(read(4, stolen, sizeof stolen) < 0);
    if (strstr(event, "steal by copy")) { int copy = dup(4); if (fork() == 0) _exit(read(copy, stolen, sizeof stolen) < 0); }
    if (strstr(event, "\"fork\"") && fork() == 0) n = "\"child\"}";
    ps_result(context, n, strcspn(n, "}"));
}
`})
	n := 0
	ask := func(name, do string) answer {
		n++
		return w.run(t, name, fmt.Sprintf(`{"do":%q,"n":%d}`, do, n))
	}
	for name, all := range map[string][]string{
		"answers-python": {"forge", "forge late", "fork", "fork later", "fork and invoke", "steal", "steal by clone", "steal by copy"},
		"answers-ruby":   {"fork", "steal", "steal by copy"}, "answers-node": {"steal by program"},
		"answers-native": {"fork", "fork and crash", "fork and invoke", "steal", "steal by clone", "steal by copy"},
	} {
		for _, do := range all {
			if a := ask(name, do); do == "forge" {
				a.expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway)
			} else if string(a.body) != fmt.Sprint(n) {
				t.Errorf("%s, %s: %s, want %d", name, do, a.body, n)
			}
			for i := range 12 {
				if a := ask(name, ""); a.status != http.StatusOK || string(a.body) != fmt.Sprint(n) {
					t.Errorf("%s, %d events after %s: %s, want %d", name, i+1, do, a.body, n)
				}
				if strings.HasSuffix(do, "late") || strings.HasSuffix(do, "later") {
					time.Sleep(30 * time.Millisecond)
				}
			}
		}
	}
}

// TestEventRunsOnce: a handler that has called another function and dies with the answer unread has run.
func TestEventRunsOnce(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "once-called", handlerFile("def handler(event, context):\n    print('called', flush=True)\n"))
	w.deploy(t, "once", files{"index.js": `exports.handler = async (event, context) => {
  context.invoke('once-called', 1);
  for (const end = Date.now() + 700; Date.now() < end;);
  process.exit(3);
};
`})
	for i := range 2 {
		e := w.run(t, "once", `{}`).expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway)
		if e.Retryable {
			t.Errorf("%+v", e)
		}
		time.Sleep(500 * time.Millisecond)
		logs := w.ask(t, http.MethodGet, "/v1/functions/once-called/logs", nil)
		if got := strings.Count(string(logs.body), `"called"`); got != i+1 {
			t.Errorf("after %d events the other function was called %d times", i+1, got)
		}
	}
}

// unwritable is, by language, a function that returns what its event names.
var unwritable = map[string]files{
	"python": handlerFile(`
import math
VALUES = {"nan": math.nan, "infinity": [math.inf], "half a character": "\ud83d", "object": object(), "huge": 10 ** 400}
def handler(event, context):
    if isinstance(event, dict) and "nest" in event:
        nested = []
        for _ in range(event["nest"] - 1): nested = [nested]
        return nested
    return VALUES[event] if isinstance(event, str) and event in VALUES else event
`),
	"node": {"index.js": `
const values = { nan: NaN, infinity: [new Number(Infinity)], 'half a character': '\ud83d', object: 1n, huge: JSON.rawJSON?.('1e999') ?? 1e999 };
const nest = (n) => { let nested = []; for (let i = 1; i < n; i++) nested = [nested]; return nested; };
exports.handler = async (event) => (event?.nest ? nest(event.nest) : Object.hasOwn(values, event) ? values[event] : event);
`},
	"ruby": {"handler.rb": `
class Own
  def to_json(*) = '{"own": NaN'
end
VALUES = { "nan" => Float::NAN, "infinity" => [Float::INFINITY], "half a character" => "\xff", "object" => Own.new, "huge" => 10**400 }
def handler(event:, context:)
  return (event["nest"] - 1).times.reduce([]) { |nested, _| [nested] } if event.is_a?(Hash) && event["nest"]
  VALUES.fetch(event, event)
end
`},
	"native": {"handler.cpp": `#include <pipsqueak.hpp>
#include <map>
static std::string handle(std::string_view event, pipsqueak::context &)
{
    static const std::map<std::string_view, std::string> values = {{"\"nan\"", "NaN"}, {"\"infinity\"", "[Infinity]"}, {"\"half a character\"", "\"\xff\""}, {"\"object\"", "{"}, {"\"huge\"", "[1e999]"}};
    if (event.find("nest") != event.npos) {
        size_t n = std::stoul(std::string(event.substr(event.find(':') + 1)));
        return std::string(n, '[') + std::string(n, ']');
    }
    auto found = values.find(event);
    return found == values.end() ? std::string(event) : found->second;
}
PIPSQUEAK_HANDLER(handler, handle)
`},
}

// TestEventsAndResultsAreJSON: what is no JSON, no UTF-8 or nested too deep ends alike in each language, and
// does not hurt the next event.
func TestEventsAndResultsAreJSON(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "json-caller", handlerFile(`
def handler(event, context):
    try:
        return context.invoke(event["function"], event["event"])
    except Exception as error:
        return [error.kind, error.fault, error.retryable]
`))
	lists := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for language, function := range unwritable {
		t.Run(language, func(t *testing.T) {
			name := "json-" + language
			w.deploy(t, name, function)
			for _, value := range []string{"nan", "infinity", "half a character", "object", "huge"} {
				w.run(t, name, `"`+value+`"`).expectError(t, core.KindInvalid, core.FaultHandler, http.StatusBadGateway)
				called := w.run(t, "json-caller", fmt.Sprintf(`{"function":%q,"event":%q}`, name, value))
				if string(called.body) != `["invalid","handler",false]` {
					t.Errorf("whoever calls it is told %s", called.body)
				}
			}
			for _, event := range []string{"\"\xff\"", "\"\xed\xa0\xbd\"", "NaN", "[1,]", `{"a":"\ud800"}`, "1e999", "[-1e400]", lists(core.MaxNesting + 1), "\xff\xfe1\x00"} {
				w.run(t, name, event).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
			}
			if a := w.run(t, name, lists(core.MaxNesting)); strings.Map(spaceless, string(a.body)) != lists(core.MaxNesting) {
				t.Errorf("as deep as may be: %.200v", a)
			}
			for _, levels := range []int{core.MaxNesting + 1, core.MaxNesting + 2, 600} {
				f := w.run(t, name, fmt.Sprintf(`{"nest":%d}`, levels)).expectError(t, core.KindInvalid, core.FaultHandler, http.StatusBadGateway)
				if limit := fmt.Sprintf("has over %d lists and objects inside of each other", core.MaxNesting); !strings.Contains(f.Message, limit) {
					t.Errorf("%d levels: %s", levels, f.Message)
				}
			}
			text := `"` + strings.Repeat("ü€🐭", 1000) + `"`
			var got string
			if a := w.run(t, name, text); json.Unmarshal(a.body, &got) != nil || `"`+got+`"` != text || len(a.body) != len(text) {
				t.Errorf("%d bytes of text come back as %d: %.80s", len(text), len(a.body), a.body)
			}
		})
	}
	if stdout, stderr, err := w.command(t, "\"\xff\"", "invoke", "json-python", "-d", "-"); err == nil || !strings.Contains(stderr, "UTF-8") {
		t.Errorf("%q %q %v", stdout, stderr, err)
	}
}

func spaceless(r rune) rune {
	if r == ' ' {
		return -1
	}
	return r
}
