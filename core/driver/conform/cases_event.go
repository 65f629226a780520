package conform

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var eventCases = []Case{
	{Name: "event/values", Clauses: []string{"E1"}, run: eventValues},
	{Name: "event/unicode", Clauses: []string{"E1"}, run: eventUnicode},
	{Name: "event/nested-deep", Clauses: []string{"E1", "E22"}, run: eventDeep},
	{Name: "event/in-part", Clauses: []string{"E20"}, run: eventPart},
	{Name: "event/large", Clauses: []string{"E2"}, run: eventLarge},
	{Name: "event/many", Clauses: []string{"E1"}, run: eventMany},
	{Name: "event/what-a-handler-is-told", Clauses: []string{"E9"}, run: eventTold},
	{Name: "event/deadline-is-seen", Clauses: []string{"E7"}, run: eventDeadline},
	{Name: "event/hangs", Clauses: []string{"E7"}, run: eventHangs},
	{Name: "event/exit", Clauses: []string{"E1"}, run: eventExit},
	{Name: "event/crash", Clauses: []string{"E1", "E17"}, run: eventCrash},
	{Name: "event/memory-limit", Clauses: []string{"G9"}, run: eventMemory},
	{Name: "event/runs-a-program", Clauses: []string{"E5", "Z7"}, run: eventRuns},
}

func eventValues(t *trial) {
	n := t.instance()
	for _, text := range []string{`null`, `true`, `false`, `0`, `-1`, `1.5`, `1e3`, `9007199254740991`, `""`, `"text"`, `[]`, `{}`, `[null,[],{}]`,
		`{"":{"":""}}`, `{"\u0001\n\"\\ é🐭":1}`, `{"a b":[1,2.5,"three",null,true]}`, ` [ 1 , 2 ] `} {
		n.wire.send('E', n.wire.eventBody([]byte(text), time.Now().Add(time.Minute)))
		t.mustEcho(n, text)
	}
	// Some languages write 15 digits of a number.
	for _, want := range []float64{0.1 + 0.2, 1.2345678901234567e-300, 1.7e308} {
		var got float64
		if t.result(n, do{"do": "echo", "value": want}, &got); math.Abs(got-want) > want*1e-14 {
			t.errorf("the number %v comes back as %v", want, got)
		}
	}
}

// mustEcho reads the answer to an event that says not what to do.
func (t *trial) mustEcho(n *node, text string) {
	a := t.answer(n)
	var want, got any
	t.must(json.Unmarshal([]byte(text), &want), "decoding %s", text)
	if err := json.Unmarshal(a.body, &got); a.kind != 'R' || err != nil || !reflect.DeepEqual(got, want) {
		t.errorf("the event %.300s is answered by %s", text, a)
	}
}

func eventUnicode(t *trial) {
	n := t.instance()
	for _, s := range []string{"é", "\u2028\u2029", "🐭 \U0010FFFF", "\x00\x01\x1f\x7f", `"\/`, "\ufeff", "e\u0301", strings.Repeat("ж", 70000)} {
		text, err := json.Marshal(s)
		t.must(err, "encoding")
		n.wire.send('E', n.wire.eventBody(text, time.Now().Add(time.Minute)))
		t.mustEcho(n, string(text))
	}
	n.wire.send('E', n.wire.eventBody([]byte("\"\\ud83d\\udc2d\""), time.Now().Add(time.Minute)))
	t.mustEcho(n, `"🐭"`)
}

// eventDeep: as deep as an event may be, and a result.
func eventDeep(t *trial) {
	n := t.instance()
	lists := strings.Repeat("[", core.MaxNesting) + strings.Repeat("]", core.MaxNesting)
	n.wire.send('E', n.wire.eventBody([]byte(lists), time.Now().Add(time.Minute)))
	t.mustEcho(n, lists)
	objects := strings.Repeat(`{"a":`, core.MaxNesting) + "1" + strings.Repeat("}", core.MaxNesting)
	n.wire.send('E', n.wire.eventBody([]byte(objects), time.Now().Add(time.Minute)))
	t.mustEcho(n, objects)
	t.alive(n, "nested events")
}

// eventPart: what has a part of an event has run nothing of it.
func eventPart(t *trial) {
	n := t.instance()
	var before, after int
	t.result(n, do{"do": "state"}, &before)
	f := frame('E', n.wire.eventBody([]byte(`{"do":"state"}`), time.Now().Add(time.Minute)))
	n.wire.write(f[:len(f)-1])
	t.must(n.wire.silent(), "after all but the last byte of an event")
	n.wire.write(f[len(f)-1:])
	if a := t.answer(n); json.Unmarshal(a.body, &after) != nil || after != before+1 {
		t.errorf("an event that comes in two parts is answered by %s, after %d", a, before)
	}
}

func eventLarge(t *trial) {
	n := t.instance()
	text := `"` + strings.Repeat("x", core.MaxEvent-2) + `"`
	n.wire.send('E', n.wire.eventBody([]byte(text), time.Now().Add(time.Minute)))
	if a := t.answer(n); a.kind != 'R' || string(a.body) != text {
		t.errorf("an event of 6 MiB, to be echoed, is answered by %s", a)
	}
	t.alive(n, "an event of 6 MiB")
}

func eventMany(t *trial) {
	n := t.instance()
	for i := range 500 {
		var got float64
		if t.result(n, do{"do": "echo", "value": i}, &got); int(got) != i {
			t.fatalf("the %d. event is answered by %v", i, got)
		}
	}
	t.must(n.wire.silent(), "after 500 events")
}

// about is what a handler is told besides the event.
type about struct {
	RequestID string  `json:"request_id"`
	Function  string  `json:"function"`
	Remaining float64 `json:"remaining_ms"`
}

func eventTold(t *trial) {
	var got about
	t.result(t.instance(), do{"do": "about"}, &got)
	if got.RequestID != "kit-request" || got.Function != conform {
		t.errorf("a handler is told %+v", got)
	}
}

func eventDeadline(t *trial) {
	n := t.instance()
	for _, left := range []time.Duration{30 * time.Second, time.Minute} {
		n.wire.send('E', n.wire.eventBody([]byte(`{"do":"about"}`), time.Now().Add(left)))
		a := t.answer(n)
		var got about
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.fatalf("%s: %v", a, err)
		}
		if ms := float64(left.Milliseconds()); got.Remaining > ms || got.Remaining < ms-20_000 {
			t.errorf("of %v a handler sees %v ms", left, got.Remaining)
		}
	}
}

// eventHangs: core ends an instance that is over its deadline. Nobody else is hurt.
func eventHangs(t *trial) {
	n, other := t.instance(), t.instance()
	t.sendEvent(n, do{"do": "hang"})
	if a, err := n.wire.receive(300 * time.Millisecond); err == nil {
		t.errorf("a handler that hangs has answered %s", a)
	}
	n.box.Kill()
	t.ends(n, "its sandbox was killed")
	t.alive(other, "the end of one that hung")
	t.usable("the end of one that hung")
}

func eventExit(t *trial) {
	n := t.instance()
	if exit := t.isCut(n, do{"do": "exit", "code": 3}); exit.Known && exit.Code != 3 {
		t.errorf("a handler that exits with 3 ends the process with %+v", exit)
	}
}

func eventCrash(t *trial) {
	n := t.instance()
	if exit := t.isCut(n, do{"do": "crash"}); exit.Known && exit.Code == 0 && exit.Signal == 0 {
		t.errorf("a handler that crashes ends the process with %+v", exit)
	}
}

func eventMemory(t *trial) {
	s := t.box(core.RoleInstance, of(t.root()), func(c *core.SandboxConfig) { c.Limits.Memory = 48 << 20 })
	n, err := t.tryFork(t.shared(), t.root(), s)
	t.must(err, "Fork")
	t.imports(n, t.handlerLoad())
	t.alive(n, "Fork with a limit of memory")
	if exit := t.isCut(n, do{"do": "grow", "bytes": 256 << 20}); !exit.OutOfMemory {
		t.errorf("a handler that takes 256 MiB of 48 ends with %+v, and not at its limit", exit)
	}
}

// ran is what a program told that a handler ran.
type ran struct {
	Out    string `json:"out"`
	Status int    `json:"status"`
}

func eventRuns(t *trial) {
	n := t.instance()
	var got ran
	t.result(n, do{"do": "run", "command": "ls -l /proc/self/fd; exit 5"}, &got)
	if got.Status != 5 {
		t.errorf("a program that a handler ran exited with 5, and the handler got %d", got.Status)
	}
	for _, endpoint := range sockets(n.pid) {
		if strings.Contains(got.Out, endpoint) {
			t.errorf("the program has the endpoint %s: %s", endpoint, got.Out)
		}
	}
	if !strings.Contains(got.Out, "/fd") {
		t.errorf("the program reported its descriptors as %q", got.Out)
	}
}
