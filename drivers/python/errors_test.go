package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// outline is an exception with those behind it, without what a test cannot know.
func outline(e core.Exception) string {
	text := e.Type + ":" + e.Message
	for _, note := range e.Notes {
		text += " +" + note
	}
	for _, c := range e.Causes {
		text += " [" + string(c.Relation) + " " + outline(c.Exception) + "]"
	}
	return text
}

const failing = `
import os, sys

class Hostile(Exception):
    def __str__(self): raise RuntimeError("no text")
    __cause__ = __context__ = property(lambda self: 1 / 0)
    __notes__ = property(lambda self: 1 / 0)
    exceptions = property(lambda self: 1 / 0)
    def __getattribute__(self, name): raise SystemExit(name)

class Text(str):
    def __str__(self): raise RuntimeError
    def __eq__(self, other): raise RuntimeError
    __hash__ = str.__hash__

def chain(n):
    if n == 0: raise ValueError("first")
    try: chain(n - 1)
    except ValueError as error: raise ValueError(str(n)) from error

def handler(event, context):
    do = event["do"]
    if do == "cause":
        try: {}["x"]
        except KeyError as error:
            raise ValueError("no") from error
    if do == "context":
        try: {}["x"]
        except KeyError: raise ValueError("no")
    if do == "none":
        try: {}["x"]
        except KeyError: raise ValueError("no") from None
    if do == "notes":
        error = ValueError("no")
        error.__notes__ = ["one", Text("two")]
        raise error
    if do == "group":
        raise ExceptionGroup("all", [ValueError("1"), ExceptionGroup("some", [TypeError("2")])])
    if do == "cycle":
        a, b = ValueError("a"), ValueError("b")
        a.__cause__, b.__cause__ = b, a
        raise a
    if do == "self":
        a = ValueError("a")
        a.__context__ = None
        a.__cause__ = a
        raise a
    if do == "chain": chain(300)
    if do == "hostile": raise Hostile
    if do == "hostile cause":
        try: raise Hostile
        except BaseException as error: raise ValueError("no") from error
    if do == "large":
        error = ValueError("\0" * 1000000)
        error.__notes__ = ["\0" * 1000000] * 1000
        raise ExceptionGroup("\0" * 100000, [error] * 1000)
    if do == "child":
        child = os.fork()
        if child == 0: sys.exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if do == "text": sys.exit(Text("why"))
    if do == "object": sys.exit(Hostile())
    if do == "none": sys.exit()
    sys.exit(do)
`

// TestExceptionsBehind: what an exception was raised from, while what was handled, its notes and the members
// of a group are reported, and nothing in them is fatal.
func TestExceptionsBehind(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.py": failing})
	s := h.Instance(t, h.Root(t), nil)
	raised := func(do string) core.Exception {
		t.Helper()
		answer := drivertest.Ask(t, s, fmt.Sprintf(`{"do":%q}`, do))
		var e core.Exception
		if err := json.Unmarshal([]byte(answer[1:]), &e); err != nil || answer[0] != 'X' || len(answer) > core.MaxResult {
			t.Fatalf("%s: %.300s, %v", do, answer, err)
		}
		return e
	}
	for do, want := range map[string]string{
		"cause":         "ValueError:no [cause KeyError:'x']",
		"context":       "ValueError:no [context KeyError:'x']",
		"none":          "ValueError:no",
		"notes":         "ValueError:no +one +two",
		"group":         "ExceptionGroup:all (2 sub-exceptions) [member ValueError:1] [member ExceptionGroup:some (1 sub-exception) [member TypeError:2]]",
		"cycle":         "ValueError:a [cause ValueError:b +(cause: ValueError, which was reported already)]",
		"self":          "ValueError:a +(cause: ValueError, which was reported already)",
		"hostile":       "Hostile:(its text cannot be had: its __str__ raises)",
		"hostile cause": "ValueError:no [cause Hostile:(its text cannot be had: its __str__ raises)]",
	} {
		if e := raised(do); outline(e) != want {
			t.Errorf("%s: %s", do, outline(e))
		} else if do == "cause" && !strings.Contains(e.Causes[0].Stack[0], `{}["x"]`) {
			t.Errorf("the stack of the cause: %q", e.Causes[0].Stack)
		}
	}
	if got := outline(raised("chain")); strings.Count(got, "[cause") != 16 || !strings.Contains(got, "(there are more exceptions behind it)") {
		t.Errorf("%s", got)
	}
	if got := outline(raised("large")); len(got) > 256<<10 || !strings.Contains(got, "[member") {
		t.Errorf("%.300s, %d bytes", got, len(got))
	}
}

// TestExitsAreTold: the process of a handler that asks for its end says where, with which code or text.
func TestExitsAreTold(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.py": failing})
	root := h.Root(t)
	for do, want := range map[string]string{`3`: "SystemExit:code 3", `256`: "SystemExit:code 0", `"why"`: "SystemExit:why", `"text"`: "SystemExit:why", `true`: "SystemExit:code 1",
		`"object"`: "SystemExit:(its text cannot be had: its __str__ raises)", `null`: "SystemExit:code 0"} {
		answer := drivertest.Ask(t, h.Instance(t, root, nil), `{"do":`+do+`}`)
		var e core.Exception
		if err := json.Unmarshal([]byte(answer[1:]), &e); err != nil || answer[0] != 'D' || outline(e) != want || len(e.Stack) == 0 || !strings.Contains(e.Stack[0], "handler.py") {
			t.Errorf("%s: %s, %v", do, answer, err)
		}
	}
	if got := drivertest.Ask(t, h.Instance(t, root, nil), `{"do":"child"}`); got != "R3" {
		t.Errorf("a child that exits with 3: %s", got)
	}
}
