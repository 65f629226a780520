package conform

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var concurrencyCases = []Case{
	{Name: "concurrency/at-once", Clauses: []string{"E31", "E32"}, Capability: core.CapabilityConcurrency, run: concurrencyAtOnce},
	{Name: "concurrency/own-contexts", Clauses: []string{"E31", "E32"}, Capability: core.CapabilityConcurrency, run: concurrencyContexts},
	{Name: "concurrency/many", Clauses: []string{"E31", "E32"}, Capability: core.CapabilityConcurrency, run: concurrencyMany},
	{Name: "concurrency/output", Clauses: []string{"E33"}, Capability: core.CapabilityConcurrency, run: concurrencyOutput},
	{Name: "concurrency/no-output-without", Clauses: []string{"E33", "E8"}, Capability: core.CapabilityConcurrency, run: concurrencyNoOutput},
	{Name: "concurrency/raises", Clauses: []string{"E34"}, Capability: core.CapabilityConcurrency, run: concurrencyRaises},
	{Name: "concurrency/exit", Clauses: []string{"E34", "E17"}, Capability: core.CapabilityConcurrency, run: concurrencyExit},
	{Name: "concurrency/calls", Clauses: []string{"E32", "E13", "E14"}, Capability: core.CapabilityConcurrency, run: concurrencyCalls},
	{Name: "concurrency/parts", Clauses: []string{"E32", "E28"}, Capability: core.CapabilityConcurrency, run: concurrencyParts},
	{Name: "concurrency/leaves", Clauses: []string{"E31", "E6"}, Capability: core.CapabilityConcurrency, run: concurrencyLeaves},
}

// several returns an instance that may have so many events at once.
func (t *trial) several(n int) *node {
	i := t.parked()
	load := t.handlerLoad()
	load.Concurrency = n
	t.imports(i, load)
	return i
}

// begin sends an event beside others, and returns its token. The request id is the token's beginning.
func (t *trial) begin(n *node, stream bool, event do) string {
	text, err := json.Marshal(event)
	t.must(err, "encoding an event")
	n.wire.stream = stream
	body := n.wire.eventBody(text, time.Now().Add(caseTime))
	n.wire.stream = false
	n.wire.send('E', []byte(strings.Replace(string(body), "kit-request", n.wire.token[:len("kit-request")], 1)))
	return n.wire.token
}

// hear reads a frame of one of several events.
func (t *trial) hear(n *node) (token string, a answer) {
	a, err := n.wire.receiveAny(4 * patience)
	if err != nil {
		t.fatalf("nothing comes: %v%s", err, t.lastWords(n.id))
	}
	if len(a.body) < 32 {
		t.fatalf("%s has no token", a)
	}
	token, a.body = string(a.body[:32]), a.body[32:]
	return token, a
}

// answers reads answers to so many events, with what was printed in them before, by token.
func (t *trial) answers(n *node, count int) (answers map[string]answer, printed map[string]string) {
	answers, printed = map[string]answer{}, map[string]string{}
	for len(answers) < count {
		token, a := t.hear(n)
		switch {
		case answers[token].kind != 0:
			t.fatalf("after its answer an event says %s", a)
		case a.kind == 'O' && len(a.body) > 0:
			printed[token+" "+string(a.body[:1])] += string(a.body[1:])
		default:
			answers[token] = a
		}
	}
	return answers, printed
}

func concurrencyAtOnce(t *trial) {
	n := t.several(3)
	slow := t.begin(n, false, do{"do": "sleep", "ms": 1000})
	quick := []string{t.begin(n, false, do{"do": "echo", "value": 1}), t.begin(n, false, do{"do": "echo", "value": 2})}
	for i := range 3 {
		token, a := t.hear(n)
		if (token == slow) != (i == 2) || a.kind != 'R' {
			t.errorf("a handler that sleeps beside two that do not: the answer %d is %s", i+1, a)
		}
		if at := slices.Index(quick, token); at >= 0 && string(a.body) != fmt.Sprint(at+1) {
			t.errorf("the echo of %d is %s", at+1, a)
		}
	}
	for range 2 { // it waits for the next as if nothing had been
		token := t.begin(n, false, do{"do": "echo", "value": 3})
		if got, a := t.hear(n); got != token || string(a.body) != "3" {
			t.errorf("after several events an echo of 3 gives %s", a)
		}
	}
}

func concurrencyContexts(t *trial) {
	n := t.several(8)
	ids := map[string]bool{}
	for range 8 {
		ids[t.begin(n, false, do{"do": "about"})] = true
	}
	answers, _ := t.answers(n, 8)
	for token, a := range answers {
		var about struct {
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(a.body, &about); err != nil || !ids[token] || !strings.HasPrefix(token, about.RequestID) || about.RequestID == "" {
			t.errorf("the event %s has the context %s", token, a)
		}
	}
}

func concurrencyMany(t *trial) {
	const all, most = 2000, 8
	n := t.several(most)
	values := map[string]int{}
	for sent, answered := 0, 0; answered < all; {
		for ; sent < all && len(values) < most; sent++ {
			event := do{"do": "echo", "value": sent}
			if sent%7 == 0 {
				event = do{"do": "sleep", "ms": sent % 5}
			}
			values[t.begin(n, false, event)] = sent
		}
		token, a := t.hear(n)
		value, known := values[token]
		if want := fmt.Sprint(value); !known || a.kind != 'R' || value%7 != 0 && string(a.body) != want {
			t.fatalf("the event %d is answered by %s", value, a)
		}
		delete(values, token)
		answered++
	}
}

func concurrencyOutput(t *trial) {
	n := t.several(4)
	large := strings.Repeat("x", 3*core.MaxPart)
	want := map[string]string{}
	for i := range 4 {
		out, failed := fmt.Sprintf("out %d é\n", i), fmt.Sprintf("err %d", i)
		if i == 3 {
			out = large
		}
		token := t.begin(n, false, do{"do": "print", "out": out, "err": failed})
		want[token+" 1"], want[token+" 2"] = out, failed
	}
	answers, printed := t.answers(n, 4)
	for _, a := range answers {
		if a.kind != 'R' {
			t.errorf("a handler that prints is answered by %s", a)
		}
	}
	for key, text := range want {
		if printed[key] != text {
			t.errorf("what one of several events has printed is %.100q, and not %.100q", printed[key], text)
		}
	}
	if raw := t.printed(n.id, "stdout"); strings.Contains(raw, "out ") {
		t.errorf("what one of several events prints comes twice: %q", raw)
	}
}

func concurrencyNoOutput(t *trial) {
	n := t.instance()
	t.result(n, do{"do": "print", "out": "alone\n", "err": ""}, nil)
	if !t.soon(func() bool { return strings.Contains(t.printed(n.id, "stdout"), "alone\n") }) {
		t.errorf("an instance with one event at a time does not print to stdout")
	}
}

func concurrencyRaises(t *trial) {
	n := t.several(3)
	slow := t.begin(n, false, do{"do": "sleep", "ms": 300})
	raises := t.begin(n, false, do{"do": "raise", "message": "kit says no"})
	unusable := t.begin(n, false, do{"do": "unusable"})
	answers, _ := t.answers(n, 3)
	for token, kind := range map[string]byte{slow: 'R', raises: 'X', unusable: 'L'} {
		if a := answers[token]; a.kind != kind {
			t.errorf("beside others an event is answered by %s, and not by %c", a, kind)
		}
	}
}

func concurrencyExit(t *trial) {
	n := t.several(2)
	t.begin(n, false, do{"do": "sleep", "ms": 3000})
	exits := t.begin(n, false, do{"do": "exit", "code": 3})
	for {
		a, err := n.wire.receiveAny(4 * patience)
		if err != nil {
			break
		}
		if a.kind != 'D' || !strings.HasPrefix(string(a.body), exits) {
			t.errorf("a handler that ends the process beside another one makes the instance say %s", a)
		}
	}
	t.ends(n, "the exit of one of two handlers")
}

func concurrencyCalls(t *trial) {
	if !t.described().Can(core.CapabilityInvoke) {
		t.skip("not claimed: the driver has no capability %q", core.CapabilityInvoke)
	}
	n := t.several(3)
	numbers := map[int]string{}
	for i := range 3 {
		t.begin(n, false, invoke([]any{"other", i}))
	}
	for range 3 {
		token, a := t.hear(n)
		if a.kind != 'I' || len(a.body) < 4 {
			t.fatalf("a handler that invokes a function beside others says %s", a)
		}
		var call invocation
		t.must(json.Unmarshal(a.body[4:4+binary.BigEndian.Uint32(a.body)], &call), "the meta of a call")
		if numbers[call.Call] != "" {
			t.errorf("two events have the call %d", call.Call)
		}
		numbers[call.Call] = token
	}
	for call, token := range numbers {
		n.answerCall(call, `"`+token+`"`)
	}
	answers, _ := t.answers(n, 3)
	for token, a := range answers {
		if !strings.Contains(string(a.body), token) {
			t.errorf("the call of %s gave it %s", token, a)
		}
	}
}

func concurrencyParts(t *trial) {
	if !t.described().Can(core.CapabilityStream) {
		t.skip("not claimed: the driver has no capability %q", core.CapabilityStream)
	}
	n := t.several(3)
	texts := map[string]string{}
	for i := range 3 {
		own := fmt.Sprintf("event %d, ", i)
		texts[t.begin(n, true, do{"do": "stream", "parts": []string{own + "one", own + "two"}})] = own
	}
	calls := map[string]int{}
	for _, which := range []string{"one", "two"} {
		for range 3 {
			token, a := t.hear(n)
			if a.kind != 'S' || len(a.body) < 4 {
				t.fatalf("a handler that makes a response in parts beside others says %s", a)
			}
			end := 4 + binary.BigEndian.Uint32(a.body)
			var p part
			t.must(json.Unmarshal(a.body[4:end], &p), "the meta of a part")
			if text := string(a.body[end:]); text != texts[token]+which {
				t.errorf("a part of %q is %q", texts[token], text)
			}
			calls[token] = p.Call
		}
		for _, call := range calls { // only when all have said one, because none waits for another
			n.answerCall(call, "")
		}
	}
	answers, _ := t.answers(n, 3)
	for _, a := range answers {
		if a.kind != 'R' {
			t.errorf("a response in parts beside others ends with %s", a)
		}
	}
}

func concurrencyLeaves(t *trial) {
	n := t.several(2)
	t.begin(n, false, do{"do": "sleep", "ms": 60000})
	t.begin(n, false, do{"do": "sleep", "ms": 60000})
	n.wire.conn.Close()
	t.ends(n, "the end of the endpoint with two events under way")
}
