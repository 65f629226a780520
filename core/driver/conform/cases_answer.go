package conform

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var answerCases = []Case{
	{Name: "answer/result-of-6-MiB", Clauses: []string{"E4"}, run: answerLarge},
	{Name: "answer/result-over-6-MiB", Clauses: []string{"E4"}, run: answerTooLarge},
	{Name: "answer/result-is-no-JSON", Clauses: []string{"E4"}, run: answerUnusable},
	{Name: "answer/values-that-JSON-has-not", Clauses: []string{"E21"}, Since: 3, run: answerOdd},
	{Name: "answer/numbers-that-JSON-has-not", Clauses: []string{"E21"}, Since: 3, run: answerNumbers},
	{Name: "answer/bytes-that-are-no-text", Clauses: []string{"E21"}, Since: 3, run: answerBytes},
	{Name: "answer/result-nested-too-deep", Clauses: []string{"E22"}, Since: 3, run: answerDeep},
	{Name: "answer/of-a-forked-child", Clauses: []string{"E19"}, Since: 3, run: answerForked},
	{Name: "answer/exception", Clauses: []string{"E1"}, run: answerException},
	{Name: "answer/exception-without-frames-of-the-runtime", Clauses: []string{"E10"}, run: answerStack},
	{Name: "answer/exception-with-a-long-message", Clauses: []string{"E4"}, run: answerLongMessage},
	{Name: "answer/exception-from-far-below", Clauses: []string{"E4"}, run: answerDeepStack},
	{Name: "answer/exception-in-unicode", Clauses: []string{"C24"}, run: answerUnicode},
	{Name: "answer/after-what-was-printed", Clauses: []string{"E8"}, run: answerPrinted},
}

func answerLarge(t *trial) {
	n := t.instance()
	a := t.ask(n, do{"do": "big", "bytes": core.MaxResult - 2})
	if a.kind != 'R' || len(a.body) != core.MaxResult {
		t.errorf("a result of exactly 6 MiB is answered by %s", a)
	}
	t.alive(n, "a result of 6 MiB")
}

// refused checks an L.
func (t *trial) refused(n *node, event any, want core.Kind) {
	a := t.ask(n, event)
	var told struct {
		Kind    core.Kind `json:"kind"`
		Message string    `json:"message"`
	}
	if err := json.Unmarshal(a.body, &told); a.kind != 'L' || err != nil || told.Kind != want || told.Message == "" {
		t.errorf("%v is answered by %s, and not by L of the kind %s with a message", event, a, want)
	}
	t.alive(n, "L")
}

func answerTooLarge(t *trial) {
	t.refused(t.instance(), do{"do": "big", "bytes": core.MaxResult - 1}, core.KindTooLarge)
}

func answerUnusable(t *trial) { t.refused(t.instance(), do{"do": "unusable"}, core.KindInvalid) }

// answerOdd: some languages have a form in JSON for a function or an object of any class. What comes of them,
// as of all results, has to be JSON, which the wire has checked; of a list that has itself in it nothing can.
func answerOdd(t *trial) {
	n := t.instance()
	for _, within := range []bool{false, true} {
		for name, kinds := range map[string]string{"function": "RLX", "object": "RLX", "cycle": "LX"} {
			a := t.ask(n, do{"do": "odd", "name": name, "within": within})
			if strings.IndexByte(kinds, a.kind) < 0 {
				t.errorf("a result that is a %s (in an object: %v) is answered by %s", name, within, a)
			}
			t.alive(n, "an odd result")
		}
	}
}

func answerNumbers(t *trial) {
	n := t.instance()
	for _, name := range []string{"NaN", "Infinity", "-Infinity"} {
		t.refused(n, do{"do": "number", "name": name}, core.KindInvalid)
		t.refused(n, do{"do": "number", "name": name, "within": true}, core.KindInvalid)
	}
}

func answerBytes(t *trial) {
	n := t.instance()
	for _, bytes := range [][]int{{255}, {195}, {237, 160, 189}, {0, 254, 34}} {
		for _, key := range []bool{false, true} {
			a := t.ask(n, do{"do": "bytes", "bytes": bytes, "key": key})
			if strings.IndexByte("RLX", a.kind) < 0 { // of an R the wire has checked that it is JSON
				t.errorf("a string of the bytes %v (as a key: %v) is answered by %s", bytes, key, a)
			}
			t.alive(n, "bytes that are no text")
		}
	}
}

// answerDeep: core refuses what is deeper than it may be; the instance has to live through it.
func answerDeep(t *trial) {
	n := t.instance()
	for _, levels := range []int{core.MaxNesting + 1, 2000, 20000} {
		t.sendEvent(n, do{"do": "nest", "levels": levels})
		a, err := n.wire.receiveAny(4 * patience)
		if err != nil || strings.IndexByte("RLX", a.kind) < 0 {
			t.fatalf("a result of %d lists in each other is answered by %s (%v)", levels, a, err)
		}
		t.alive(n, "a result that is nested too deep")
	}
}

// answerForked: a child that the handler forks comes back from it first, and again in the next event.
func answerForked(t *trial) {
	n := t.instance()
	for range 3 {
		a := t.ask(n, do{"do": "fork"})
		if a.kind == 'X' && t.notes.Forkless != "" {
			return
		}
		if a.kind != 'R' || string(a.body) != `"parent"` {
			t.fatalf("a handler that forks is answered by %s, and not by its parent's result", a)
		}
		t.alive(n, "a fork")
	}
	t.must(n.wire.silent(), "after a handler that forks")
}

// raising has the handler raise, and returns what it tells.
func (t *trial) raising(n *node, event do) core.Exception {
	a := t.ask(n, event)
	var x core.Exception
	if err := json.Unmarshal(a.body, &x); a.kind != 'X' || err != nil {
		t.fatalf("a handler that raises is answered by %s, and not by X", a)
	}
	return x
}

func answerException(t *trial) {
	n := t.instance()
	x := t.raising(n, do{"do": "raise", "message": "kit says no"})
	if !strings.Contains(x.Type, "KitError") || x.Message != "kit says no" {
		t.errorf("a KitError with the text %q is reported as %q with %q", "kit says no", x.Type, x.Message)
	}
	t.alive(n, "an exception")
}

func answerStack(t *trial) {
	x := t.raising(t.instance(), do{"do": "raise", "message": "kit says no", "depth": 3})
	t.cleanStack(x.Stack)
	if len(x.Stack) < 4 && t.notes.Stackless == "" {
		t.errorf("four calls below the handler the stack has only %q", x.Stack)
	}
}

func answerLongMessage(t *trial) {
	n := t.instance()
	x := t.raising(n, do{"do": "raise", "message": "begin " + strings.Repeat("x", 1<<20)})
	if len(x.Message) > 64<<10 || !strings.HasPrefix(x.Message, "begin xxx") {
		t.errorf("of a message of 1 MiB %d bytes are reported, which begin with %.20q", len(x.Message), x.Message)
	}
	t.alive(n, "a long exception")
}

func answerDeepStack(t *trial) {
	n := t.instance()
	x := t.raising(n, do{"do": "raise", "message": "kit says no", "depth": 500})
	size := 0
	for _, frame := range x.Stack {
		size += len(frame)
	}
	if size > 256<<10 || len(x.Stack) == 0 && t.notes.Stackless == "" {
		t.errorf("the stack has %d frames of %d bytes", len(x.Stack), size)
	}
	t.alive(n, "an exception from far below")
}

func answerUnicode(t *trial) {
	x := t.raising(t.instance(), do{"do": "raise", "message": "nein 🐭 \u0000 é"})
	if !utf8.ValidString(x.Message) || !strings.Contains(x.Message, "🐭") {
		t.errorf("the message arrives as %q", x.Message)
	}
}

// answerPrinted: what is printed before an answer is in the log before the instance is paused or ended for
// good.
func answerPrinted(t *trial) {
	n := t.instance()
	t.result(n, do{"do": "print", "out": "without a newline"}, nil)
	n.box.Kill()
	t.hasPrinted(n, "stdout", "without a newline")
}
