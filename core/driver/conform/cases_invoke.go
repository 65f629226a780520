package conform

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var invokeCases = []Case{
	{Name: "invoke/answered", Clauses: []string{"E13", "E14"}, Capability: core.CapabilityInvoke, run: invokeAnswered},
	{Name: "invoke/fails", Clauses: []string{"E16"}, Capability: core.CapabilityInvoke, run: invokeFails},
	{Name: "invoke/fails-uncaught", Clauses: []string{"E16"}, Capability: core.CapabilityInvoke, run: invokeUncaught},
	{Name: "invoke/several", Clauses: []string{"E13", "E14"}, Capability: core.CapabilityInvoke, run: invokeSeveral},
	{Name: "invoke/numbers-are-not-used-again", Clauses: []string{"E13"}, Capability: core.CapabilityInvoke, run: invokeNumbers},
	{Name: "invoke/late-answer", Clauses: []string{"E14"}, Capability: core.CapabilityInvoke, run: invokeLate},
	{Name: "invoke/stray-answer", Clauses: []string{"E14"}, Capability: core.CapabilityInvoke, run: invokeStray},
	{Name: "invoke/large", Clauses: []string{"E13", "E2"}, Capability: core.CapabilityInvoke, run: invokeLarge},
	{Name: "invoke/unknown-keys", Clauses: []string{"E3"}, Capability: core.CapabilityInvoke, run: invokeUnknownKeys},
	{Name: "invoke/silent-without", Clauses: []string{"E13", "E1"}, run: invokeNone},
}

// invocation is an I.
type invocation struct {
	Call     int    `json:"call"`
	Function string `json:"function"`
	event    string
}

// invoke is an event that makes the handler invoke functions, each with an event of its own.
func invoke(calls ...any) do { return do{"do": "invoke", "calls": calls} }

// invoked reads an I.
func (t *trial) invoked(n *node) invocation {
	a := t.answer(n)
	if a.kind != 'I' || len(a.body) < 4 || len(a.body)-4 < int(binary.BigEndian.Uint32(a.body)) {
		t.fatalf("a handler that invokes a function makes its instance say %s, and not I", a)
	}
	end := 4 + binary.BigEndian.Uint32(a.body)
	i := invocation{event: string(a.body[end:])}
	if err := json.Unmarshal(a.body[4:end], &i); err != nil || i.Call < 1 || i.Function == "" {
		t.fatalf("the meta of an invocation is %q (%v)", a.body[4:end], err)
	}
	return i
}

func (n *node) answerCall(call int, result string) {
	n.wire.send('A', meta(fmt.Sprintf(`{"call":%d}`, call), []byte(result)))
}

func (n *node) failCall(call int) {
	n.wire.send('A', meta(fmt.Sprintf(`{"call":%d,"error":{"kind":"exhausted","fault":"worker","message":"kit is full","retryable":true}}`, call), nil))
}

// outcome is what the handler makes of one invocation.
type outcome struct {
	Result any `json:"result"`
	Error  *struct {
		Kind      core.Kind  `json:"kind"`
		Fault     core.Fault `json:"fault"`
		Message   string     `json:"message"`
		Retryable bool       `json:"retryable"`
	} `json:"error"`
}

// outcomes reads the answer to an event that invoke made.
func (t *trial) outcomes(n *node, want int) (all []outcome) {
	a := t.answer(n)
	if err := json.Unmarshal(a.body, &all); a.kind != 'R' || err != nil || len(all) != want {
		t.fatalf("a handler that invoked %d functions is answered by %s", want, a)
	}
	return all
}

func invokeAnswered(t *trial) {
	n := t.instance()
	t.sendEvent(n, invoke([]any{"other", map[string]any{"x": []int{1}}}))
	i := t.invoked(n)
	if i.Function != "other" || !sameJSON(i.event, `{"x":[1]}`) {
		t.errorf("other is invoked as %q with %s", i.Function, i.event)
	}
	n.answerCall(i.Call, `{"y":"é"}`)
	if o := t.outcomes(n, 1)[0]; o.Error != nil || fmt.Sprint(o.Result) != "map[y:é]" {
		t.errorf("the handler got %+v of %s", o, `{"y":"é"}`)
	}
	t.alive(n, "an invocation")
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

func invokeFails(t *trial) {
	n := t.instance()
	t.sendEvent(n, invoke([]any{"other", 1}))
	n.failCall(t.invoked(n).Call)
	if e := t.outcomes(n, 1)[0].Error; e == nil || e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || e.Message != "kit is full" || !e.Retryable {
		t.errorf("the handler's error is %+v", e)
	}
	t.alive(n, "an invocation that failed")
}

func invokeUncaught(t *trial) {
	n := t.instance()
	event := invoke([]any{"other", 1})
	event["uncaught"] = true
	t.sendEvent(n, event)
	n.failCall(t.invoked(n).Call)
	a := t.answer(n)
	var x core.Exception
	if err := json.Unmarshal(a.body, &x); a.kind != 'X' || err != nil || !strings.Contains(x.Message, "kit is full") {
		t.errorf("an invocation that fails and that nobody catches is answered by %s", a)
	}
	t.alive(n, "an invocation that failed")
}

// invokeSeveral: languages that can have several under way, and those that cannot.
func invokeSeveral(t *trial) {
	n := t.instance()
	t.sendEvent(n, invoke([]any{"a", 1}, []any{"b", 2}, []any{"c", 3}))
	var waiting []invocation
	for answered := 0; answered < 3; {
		if a, err := t.peekInvoke(n, answered+len(waiting) < 3); err == nil && a != nil {
			waiting = append(waiting, *a)
			continue
		}
		if len(waiting) == 0 {
			t.fatalf("after %d of 3 invocations nothing comes", answered)
		}
		last := waiting[len(waiting)-1] // the last first, for they may be answered in any order
		waiting = waiting[:len(waiting)-1]
		n.answerCall(last.Call, `"of `+last.Function+`"`)
		answered++
	}
	for i, o := range t.outcomes(n, 3) {
		if want := "of " + string(rune('a'+i)); o.Result != want {
			t.errorf("the %d. invocation gave the handler %+v, and not %q", i+1, o, want)
		}
	}
}

// peekInvoke waits a moment for a further I when there may be one.
func (t *trial) peekInvoke(n *node, more bool) (*invocation, error) {
	if !more {
		return nil, nil
	}
	_ = n.wire.conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	head := make([]byte, 1)
	if _, err := n.wire.conn.Read(head); err != nil {
		return nil, err
	}
	saved := n.wire.conn
	n.wire.conn = &unread{Conn: saved, first: head}
	i := t.invoked(n)
	n.wire.conn = saved
	return &i, nil
}

func invokeNumbers(t *trial) {
	n := t.instance()
	seen := map[int]bool{}
	for range 3 {
		t.sendEvent(n, invoke([]any{"other", 1}, []any{"other", 2}))
		for range 2 {
			i := t.invoked(n)
			if seen[i.Call] {
				t.errorf("the number %d is used again", i.Call)
			}
			seen[i.Call] = true
			n.answerCall(i.Call, "1")
		}
		t.outcomes(n, 2)
	}
}

// invokeLate: a second answer to a call, after the event's own.
func invokeLate(t *trial) {
	n := t.instance()
	t.sendEvent(n, invoke([]any{"other", 1}))
	i := t.invoked(n)
	n.answerCall(i.Call, "1")
	t.outcomes(n, 1)
	n.answerCall(i.Call, `"late"`)
	n.failCall(i.Call)
	t.alive(n, "answers that came late")
}

// invokeStray: an answer to another call than the one that is awaited.
func invokeStray(t *trial) {
	n := t.instance()
	t.sendEvent(n, invoke([]any{"other", 1}))
	i := t.invoked(n)
	n.answerCall(i.Call+1000, `"stray"`)
	n.answerCall(i.Call, `"right"`)
	if o := t.outcomes(n, 1)[0]; o.Result != "right" {
		t.errorf("the handler got %+v, and not the answer to its own call", o)
	}
}

func invokeLarge(t *trial) {
	n := t.instance()
	large := strings.Repeat("x", core.MaxEvent-2)
	event := invoke([]any{"other", nil})
	event["bytes"] = core.MaxEvent - 2
	t.sendEvent(n, event)
	i := t.invoked(n)
	if len(i.event) != core.MaxEvent {
		t.errorf("an event of 6 MiB for another function has %d bytes", len(i.event))
	}
	n.answerCall(i.Call, `"`+large[:5<<20]+`"`)
	if o := t.outcomes(n, 1)[0]; o.Result != large[:5<<20] {
		t.errorf("a result of 5 MiB of another function arrives otherwise")
	}
}

func invokeUnknownKeys(t *trial) {
	n := t.instance()
	t.sendEvent(n, invoke([]any{"other", 1}))
	i := t.invoked(n)
	n.wire.send('A', meta(fmt.Sprintf(`{"kit":[1],"call":%d,"zz":null}`, i.Call), []byte("2")))
	if o := t.outcomes(n, 1)[0]; o.Error != nil || o.Result != 2. {
		t.errorf("with unknown keys in an answer's meta the handler got %+v", o)
	}
}

// invokeNone: who does not claim it sends nothing but answers.
func invokeNone(t *trial) {
	n := t.instance()
	t.alive(n, "its import")
	t.must(n.wire.silent(), "after an event")
}
