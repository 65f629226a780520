package integration

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Do answers and logs show the exceptions behind an exception?

// What is told of what is far below a failure: of another function, of a deep stack, of a cause at import.

// relays invoke the function that their event names, and do not catch what comes of it.
var relays = map[string]files{
	"python": {"handler.py": "def handler(event, context):\n    return context.invoke(event)\n"},
	"node":   {"index.js": "exports.handler = async (event, context) => context.invoke(event, null);\n"},
	"ruby":   {"handler.rb": "def handler(event:, context:) = context.invoke(event)\n"},
	"native": {"handler.cc": `#include <pipsqueak.hpp>
static std::string call(std::string_view event, pipsqueak::context &context)
{
    try {
        return context.invoke(std::string(event.substr(1, event.size() - 2)), "null");
    } catch (...) {
        std::throw_with_nested(std::runtime_error("it did not work"));
    }
}
PIPSQUEAK_HANDLER(handler, call)
`},
}

// TestInvokedFailure: when one function fails because another one did, the answer and the log name that one,
// and have what it raised with its stack and its causes, over two functions too.
func TestInvokedFailure(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "behind-last", handlerFile(`
def handler(event, context):
    try:
        {}["deep"]
    except KeyError as error:
        raise ValueError("no") from error
`))
	w.deploy(t, "behind-gone", handlerFile("import os\ndef handler(event, context):\n    os._exit(3)\n"))
	w.deploy(t, "behind-middle", handlerFile("def handler(event, context):\n    return context.invoke('behind-last')\n"))
	for language, source := range relays {
		t.Run(language, func(t *testing.T) {
			if language == "native" {
				program(t, "c++")
			}
			name := "behind-" + language
			w.deploy(t, name, source)
			// invoked returns what is told of the error of the invocation: in C++ it is nested in another
			// one.
			invoked := func(callee string) core.Exception {
				t.Helper()
				e := w.run(t, name, strconv.Quote(callee)).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
				x := *e.Exception
				if language == "native" {
					x = x.Causes[0].Exception
				}
				if !strings.Contains(strings.ToLower(x.Type), "invoke") || !strings.HasPrefix(x.Message, "invoking "+callee+": ") {
					t.Errorf("%s: %s: %s", callee, x.Type, x.Message)
				}
				return x
			}
			last := func(x core.Exception) {
				t.Helper()
				if len(x.Causes) != 1 || x.Causes[0].Relation != core.RelationCause {
					t.Fatalf("causes %+v", x.Causes)
				}
				x = x.Causes[0].Exception
				if x.Type != "ValueError" || x.Message != "no" || !strings.Contains(strings.Join(x.Stack, "\n"), "handler.py:6 in handler") || len(x.Causes) != 1 || x.Causes[0].Type != "KeyError" {
					t.Errorf("what the function raised: %+v", x)
				}
			}
			last(invoked("behind-last"))
			middle := invoked("behind-middle")
			if len(middle.Causes) != 1 || middle.Causes[0].Type != "InvokeError" || !strings.HasPrefix(middle.Causes[0].Message, "invoking behind-last: ") {
				t.Fatalf("causes %+v", middle.Causes)
			}
			last(middle.Causes[0].Exception)
			for callee, says := range map[string]string{"behind-none": "no function", "behind-gone": "3"} {
				if x := invoked(callee); len(x.Causes) != 0 || !strings.Contains(x.Message, says) {
					t.Errorf("%s: %s, causes %+v", callee, x.Message, x.Causes)
				}
			}
			if said := logged(t, w, name); !strings.Contains(said, "caused by ValueError: no") || !strings.Contains(said, "caused by KeyError: 'deep'") {
				t.Errorf("the log: %s", said)
			}
		})
	}
}

// recursions call themselves until the language has enough of it.
var recursions = map[string]struct {
	files files
	depth int // that they come to at least, 0 where the language tells no more than a few frames
}{
	"python": {handlerFile("import sys\nsys.setrecursionlimit(9000)\ndef down(n): return down(n + 1)\ndef handler(event, context): return down(0)\n"), 8000},
	"node":   {files{"index.js": "Error.stackTraceLimit = Infinity;\nconst down = (n) => 1 + down(n + 1);\nexports.handler = async () => down(0);\n"}, 5000},
	"ruby":   {files{"handler.rb": "def down(n) = 1 + down(n + 1)\ndef handler(event:, context:) = down(0)\n"}, 5000},
	"native": {files{"handler.cc": "#include <pipsqueak.h>\nextern \"C\" __attribute__((noinline)) int down(volatile int *n)\n{\n    int here = *n + 1;\n    return down(&here) + here;\n}\n" +
		"PS_EXPORT void handler(ps_context *context, const char *event, size_t size)\n{\n    int n = 0;\n    if (down(&n))\n        ps_result(context, event, size);\n}\n"}, 50000},
}

var leftOut = regexp.MustCompile(`^… \((\d+) frames left out\)$`)

// TestRecursion: of a stack that is far too deep the ends are reported, and how many frames lie in between,
// in the answer and in the log.
func TestRecursion(t *testing.T) {
	system(t)
	w := shared(t)
	for language, test := range recursions {
		t.Run(language, func(t *testing.T) {
			if language == "native" {
				program(t, "c++")
			}
			name := "recursion-" + language
			w.deploy(t, name, test.files.with("pipsqueak.yaml", "timeout_ms: 30000\n"))
			a := w.run(t, name, `1`)
			kind := core.KindException
			if language == "native" {
				kind = core.KindExit
			}
			stack := a.expectError(t, kind, core.FaultHandler, a.status).Exception.Stack
			if len(stack) != 61 {
				t.Fatalf("%d frames: %.2000q", len(stack), stack)
			}
			left := leftOut.FindStringSubmatch(stack[20])
			if left == nil {
				t.Fatalf("%q", stack[18:24])
			}
			if n, _ := strconv.Atoi(left[1]); n < test.depth {
				t.Errorf("%q, of %d frames at least", stack[20], test.depth)
			}
			if !strings.Contains(stack[0], "handler") || !strings.Contains(stack[60], "down") {
				t.Errorf("the ends are %q and %q", stack[0], stack[60])
			}
			said := logged(t, w, name)
			if lines := strings.Count(said, "\n"); lines > 75 || !strings.Contains(said, fmt.Sprintf("(%s frames left out)", left[1])) {
				t.Errorf("the log has %d lines: %.3000s", lines, said)
			}
		})
	}
}

// logged returns what `pipsqueak logs --errors` says of a function.
func logged(t *testing.T, w *worker, function string) string {
	t.Helper()
	said, stderr, err := w.command(t, "", "logs", function, "--errors")
	if err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
	return said
}
