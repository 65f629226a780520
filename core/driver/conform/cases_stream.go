package conform

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var streamCases = []Case{
	{Name: "stream/parts", Clauses: []string{"E27", "E28"}, Capability: core.CapabilityStream, run: streamParts},
	{Name: "stream/large", Clauses: []string{"E28"}, Capability: core.CapabilityStream, run: streamLarge},
	{Name: "stream/refused", Clauses: []string{"E29"}, Capability: core.CapabilityStream, run: streamRefused},
	{Name: "stream/raises", Clauses: []string{"E30"}, Capability: core.CapabilityStream, run: streamRaises},
	{Name: "stream/not-offered", Clauses: []string{"E27"}, Capability: core.CapabilityStream, run: streamNotOffered},
}

// part is an S.
type part struct {
	Call int            `json:"call"`
	Head map[string]any `json:"head"`
	text string
}

// stream sends an event whose response may come in parts.
func (t *trial) stream(n *node, event do) {
	n.wire.stream = true
	event["do"] = "stream"
	t.sendEvent(n, event)
	n.wire.stream = false
}

// part reads an S.
func (t *trial) part(n *node, first bool) part {
	a := t.answer(n)
	if a.kind != 'S' || len(a.body) < 4 || len(a.body)-4 < int(binary.BigEndian.Uint32(a.body)) {
		t.fatalf("a handler that passes on a part of its response makes its instance say %s, and not S", a)
	}
	end := 4 + binary.BigEndian.Uint32(a.body)
	p := part{text: string(a.body[end:])}
	if err := json.Unmarshal(a.body[4:end], &p); err != nil || p.Call < 1 || (p.Head != nil) != first {
		t.fatalf("the meta of a part, the first one: %v, is %q (%v)", first, a.body[4:end], err)
	}
	if len(p.text) > core.MaxPart {
		t.errorf("a part has %d bytes", len(p.text))
	}
	return p
}

func (t *trial) ended(n *node) {
	if a := t.answer(n); a.kind != 'R' {
		t.errorf("a response in parts ends with %s, and not with R", a)
	}
}

func streamParts(t *trial) {
	n := t.instance()
	for range 2 {
		t.stream(n, do{"head": do{"statusCode": 201, "headers": do{"content-type": "text/plain"}}, "parts": []string{"é", "two"}})
		p := t.part(n, true)
		if headers, _ := p.Head["headers"].(map[string]any); p.text != "é" || p.Head["statusCode"] != 201. || headers["content-type"] != "text/plain" {
			t.errorf("the first part is %q with the head %v", p.text, p.Head)
		}
		t.must(n.wire.silent(), "before the first part is answered")
		n.answerCall(p.Call, "")
		p = t.part(n, false)
		if p.text != "two" {
			t.errorf("the second part is %q", p.text)
		}
		n.answerCall(p.Call, "")
		t.ended(n)
	}
	t.alive(n, "a response in parts")
}

func streamLarge(t *trial) {
	n := t.instance()
	const size = 3*core.MaxPart + 7
	t.stream(n, do{"bytes": size})
	got := ""
	for first := true; len(got) < size; first = false {
		p := t.part(n, first)
		got += p.text
		n.answerCall(p.Call, "")
	}
	t.ended(n)
	if got != strings.Repeat("x", size) {
		t.errorf("a part of %d bytes arrives otherwise, with %d bytes", size, len(got))
	}
}

func streamRefused(t *trial) {
	n := t.instance()
	t.stream(n, do{"parts": []string{"one", "two", "three"}})
	n.answerCall(t.part(n, true).Call, "")
	p := t.part(n, false)
	n.wire.send('A', meta(fmt.Sprintf(`{"call":%d,"error":{"kind":"canceled","fault":"caller","message":"the kit went away"}}`, p.Call), nil))
	t.ended(n)
	var count int
	if t.result(n, do{"do": "state"}, &count); count != 2 {
		t.errorf("a handler whose part is not passed on does not learn it: its state is %d, and not 2", count)
	}
}

func streamRaises(t *trial) {
	n := t.instance()
	t.stream(n, do{"parts": []string{"one"}, "raise": "kit says no"})
	n.answerCall(t.part(n, true).Call, "")
	a := t.answer(n)
	var x core.Exception
	if err := json.Unmarshal(a.body, &x); a.kind != 'X' || err != nil || !strings.Contains(x.Message, "kit says no") {
		t.errorf("a handler that raises after a part of its response is answered by %s", a)
	}
	t.alive(n, "an exception after a part")
}

func streamNotOffered(t *trial) {
	n := t.instance()
	var whole struct {
		StatusCode      int
		Headers         map[string]string
		Body            string
		IsBase64Encoded bool
	}
	t.result(n, do{"do": "stream", "head": do{"statusCode": 201, "headers": do{"content-type": "text/plain"}}, "parts": []string{"é", "two"}}, &whole)
	if whole.StatusCode != 201 || whole.Headers["content-type"] != "text/plain" || whole.Body != "étwo" || whole.IsBase64Encoded {
		t.errorf("where no parts are wanted the result is %+v", whole)
	}
}
