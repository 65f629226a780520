package integration

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Do functions reach each other?

const invoker = `
import threading, time

def handler(event, context):
    what = event["do"]
    if what == "call":
        return {"result": context.invoke(event["function"], event.get("event")), "id": context.aws_request_id}
    if what == "catch":
        try:
            return context.invoke(event["function"], event.get("event"))
        except Exception as error:
            return {"class": type(error).__name__, "kind": error.kind, "fault": error.fault, "message": str(error),
                    "retryable": error.retryable, "type": (error.exception or {}).get("type")}
    if what == "many":
        results = [None] * 20
        def one(n):
            results[n] = context.invoke("invoke-echo", n)
        threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
        for t in threads: t.start()
        for t in threads: t.join()
        return results
    if what == "leave":  # a thread that calls what hangs, and outlives its event
        threading.Thread(target=context.invoke, args=("invoke-hangs", 1), daemon=True).start()
        time.sleep(0.05)
        return "left"
    if what == "unusable":
        return context.invoke("invoke-echo", {1, 2})
    if what == "id":
        return [context.aws_request_id, context.get_remaining_time_in_millis()]
    if what == "raise":
        raise KeyError("deep")
    if what == "loop":
        return context.invoke("invoke", event)
`

func TestInvoke(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "invoke", handlerFile(invoker))
	w.deploy(t, "invoke-echo", handlerFile(echo))
	w.deploy(t, "invoke-hangs", handlerFile("import time\ndef handler(event, context):\n    time.sleep(600)\n").with("pipsqueak.yaml", "timeout_ms: 4000\n"))
	w.deploy(t, "invoke-brief", handlerFile(invoker).with("pipsqueak.yaml", "timeout_ms: 3000\n"))
	for range 2 { // cold, and on warm instances
		got := result[map[string]any](t, w, "invoke", `{"do":"call","function":"invoke-echo","event":{"ü":[1,null]}}`)
		if text, _ := json.Marshal(got["result"]); string(text) != `{"ü":[1,null]}` {
			t.Errorf("a call gives %s", text)
		}
		id := result[struct {
			ID     string
			Result []any
		}](t, w, "invoke", `{"do":"call","function":"invoke-brief","event":{"do":"id"}}`)
		if id.Result[0] != id.ID || id.Result[1].(float64) > 3000 {
			t.Errorf("the event %s invoked one with the id and time %v", id.ID, id.Result)
		}
		many := result[[]int](t, w, "invoke", `{"do":"many"}`)
		for n, got := range many {
			if got != n {
				t.Errorf("of calls at once, number %d gave %d", n, got)
			}
		}
		for event, want := range map[string]map[string]any{
			`{"do":"catch","function":"invoke-none"}`:                                                  {"class": "InvokeError", "kind": "not_found", "fault": "caller", "retryable": false, "type": nil},
			`{"do":"catch","function":"invoke","event":{"do":"raise"}}`:                                {"class": "InvokeError", "kind": "exception", "fault": "handler", "retryable": false, "type": "KeyError"},
			`{"do":"catch","function":"../x"}`:                                                         {"class": "InvokeError", "kind": "not_found", "fault": "caller", "retryable": false, "type": nil},
			`{"do":"catch","function":"invoke","event":{"do":"loop"}}`:                                 {"class": "InvokeError", "kind": "exception", "fault": "handler", "retryable": false, "type": "InvokeError"},
			`{"do":"catch","function":"invoke-brief","event":{"do":"call","function":"invoke-hangs"}}`: {"class": "InvokeError", "kind": "timeout", "fault": "handler", "retryable": false, "type": nil},
		} {
			got := result[map[string]any](t, w, "invoke", event)
			message, _ := got["message"].(string)
			delete(got, "message")
			if strings.Contains(event, "hangs") && got["kind"] == "exception" && strings.Contains(message, "deadline") {
				continue // both have the same deadline, and the one below was told to the one above in time
			}
			text, _ := json.Marshal(got)
			wanted, _ := json.Marshal(want)
			if string(text) != string(wanted) || message == "" {
				t.Errorf("%s gives %s %q, want %s", event, text, message, wanted)
			}
			if strings.Contains(event, "loop") && !strings.Contains(message, "16 deep") {
				t.Errorf("a loop is reported as %q", message)
			}
		}
		// What nobody catches is an exception of the caller.
		w.run(t, "invoke", `{"do":"call","function":"invoke-none"}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
		w.run(t, "invoke", `{"do":"unusable"}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
		for range 10 { // the next event must not get to the instance that leaves
			if got := result[string](t, w, "invoke", `{"do":"leave"}`); got != "left" {
				t.Errorf("an event that a thread outlives: %q", got)
			}
			result[any](t, w, "invoke", `{"do":"id"}`)
		}
	}
}
