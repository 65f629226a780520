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

// TestExceptionsBehind: causes and the members of an AggregateError are reported, also of a thrown value that
// is no Error, and nothing in them is fatal.
func TestExceptionsBehind(t *testing.T) {
	files := map[string]string{"handler.js": `
const hostile = () => Object.defineProperties(new Error('x'), Object.fromEntries(['stack', 'cause', 'errors', 'message', 'name', 'constructor']
  .map((name) => [name, { get() { throw new Error('no ' + name); } }])));
const revoked = () => { const { proxy, revoke } = Proxy.revocable([], {}); revoke(); return proxy; };
function chain(n) { return n === 0 ? new Error('first') : new Error(String(n), { cause: chain(n - 1) }); }
exports.handler = async ({ do: what }) => {
  switch (what) {
    case 'cause': throw new RangeError('no', { cause: new TypeError('why') });
    case 'text': throw new Error('no', { cause: 'a text' });
    case 'null': throw new Error('no', { cause: null });
    case 'group': await Promise.any([Promise.reject(new TypeError('1')), Promise.reject(new AggregateError([new RangeError('2')], 'some'))]);
    case 'cycle': { const a = new Error('a'), b = new Error('b', { cause: a }); a.cause = b; throw a; }
    case 'own': { const a = new Error('a'); a.cause = a; throw a; }
    case 'chain': throw chain(300);
    case 'hostile': throw hostile();
    case 'hostile cause': throw new Error('no', { cause: hostile() });
    case 'endless': { class Endless extends Error { get cause() { return new Endless('again'); } } throw new Endless('first'); }
    case 'revoked': throw Object.assign(new AggregateError([], 'no'), { errors: revoked(), cause: revoked() });
    case 'large': throw new AggregateError(Array.from({ length: 1000 }, () => new Error('\0'.repeat(1e4))), '\0'.repeat(1e6));
  }
};
`}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
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
			"cause":         "RangeError:no [cause TypeError:why]",
			"text":          "Error:no [cause string:a text]",
			"null":          "Error:no [cause null:null]",
			"group":         "AggregateError:All promises were rejected [member TypeError:1] [member AggregateError:some [member RangeError:2]]",
			"cycle":         "Error:a [cause Error:b +(cause: Error, which was reported already)]",
			"own":           "Error:a +(cause: Error, which was reported already)",
			"hostile":       "Error:(its text cannot be had)",
			"hostile cause": "Error:no [cause Error:(its text cannot be had)]",
			"revoked":       "AggregateError:no [cause object:(its text cannot be had)]",
		} {
			if e := raised(do); outline(e) != want {
				t.Errorf("%s: %s", do, outline(e))
			} else if do == "cause" && !strings.Contains(fmt.Sprint(e.Causes[0].Stack), "handler.js:") {
				t.Errorf("the stack of the cause: %q", e.Causes[0].Stack)
			}
		}
		for _, do := range []string{"chain", "endless"} {
			if got := outline(raised(do)); strings.Count(got, "[cause") != 16 || !strings.Contains(got, "(there are more exceptions behind it)") {
				t.Errorf("%s: %s", do, got)
			}
		}
		if got := outline(raised("large")); len(got) > 256<<10 || !strings.Contains(got, "[member") {
			t.Errorf("%.300s, %d bytes", got, len(got))
		}
	})
}

// TestExitsAreTold: a handler that asks for the end of the process says where, at once or later.
func TestExitsAreTold(t *testing.T) {
	files := map[string]string{"handler.js": `
process.on('exit', () => { if (globalThis.other) process.exitCode = 9; });
exports.handler = (event) => {
  if (event.later) return new Promise(() => setTimeout(() => process.exit(event.code), 2));
  globalThis.other = event.other;
  process.exit(event.code);
};
`}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		root := h.Root(t)
		for event, want := range map[string]string{`{"code":3}`: "process.exit:process.exit(3) was called", `{"code":0}`: "process.exit:process.exit(0) was called",
			`{"code":4,"later":true}`: "process.exit:process.exit(4) was called", `{"code":4,"other":true}`: "process.exit:process.exit(9) was called"} {
			answer := drivertest.Ask(t, h.Instance(t, root, nil), event)
			var e core.Exception
			if err := json.Unmarshal([]byte(answer[1:]), &e); err != nil || answer[0] != 'D' || outline(e) != want || !strings.Contains(fmt.Sprint(e.Stack), "handler.js:") {
				t.Errorf("%s: %s, %v", event, answer, err)
			}
		}
	})
}
