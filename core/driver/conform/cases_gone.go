package conform

import (
	"fmt"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var goneCases = []Case{
	{Name: "gone/goes-on", Clauses: []string{"E36"}, Capability: core.CapabilityGone, run: goneGoesOn},
	{Name: "gone/before-answers", Clauses: []string{"E36", "E14", "E29"}, Capability: core.CapabilityGone, run: goneBeforeAnswers},
	{Name: "gone/of-several", Clauses: []string{"E36", "E34"}, Capability: core.CapabilityGone, run: goneOfSeveral},
}

// gone says that the caller of the event with that token has gone.
func (n *node) gone(token string) { n.wire.send('G', []byte(token)) }

// goneGoesOn sends the news with an event, while its handler runs, and after its answer.
func goneGoesOn(t *trial) {
	n := t.instance()
	for range 2 {
		t.sendEvent(n, do{"do": "sleep", "ms": 200})
		n.gone(n.wire.token)
		if a := t.answer(n); a.kind != 'R' {
			t.errorf("an event whose caller has gone is answered by %s, though its handler returns", a)
		}
		n.gone(n.wire.token)
		t.alive(n, "the news about an earlier event")
	}
}

// goneBeforeAnswers sends the news to a handler that waits for something else.
func goneBeforeAnswers(t *trial) {
	if !t.described().Can(core.CapabilityStream) {
		t.skip("not claimed: the driver has no capability %q", core.CapabilityStream)
	}
	n := t.instance()
	t.stream(n, do{"parts": []string{"one", "two"}})
	first := t.part(n, true)
	n.gone(n.wire.token)
	n.wire.send('A', meta(fmt.Sprintf(`{"call":%d,"error":{"kind":"canceled","fault":"caller","message":"the kit went away"}}`, first.Call), nil))
	t.ended(n)
	t.alive(n, "a response that nobody takes")
}

// goneOfSeveral sends the news about one of two events.
func goneOfSeveral(t *trial) {
	if !t.described().Can(core.CapabilityConcurrency) {
		t.skip("not claimed: the driver has no capability %q", core.CapabilityConcurrency)
	}
	n := t.several(2)
	left := t.begin(n, false, do{"do": "sleep", "ms": 200})
	other := t.begin(n, false, do{"do": "sleep", "ms": 300})
	n.gone(left)
	answers, _ := t.answers(n, 2)
	for _, token := range []string{left, other} {
		if a := answers[token]; a.kind != 'R' {
			t.errorf("two events, of which one has no caller any more, are answered by %s", a)
		}
	}
	n.gone(left)
	token := t.begin(n, false, do{"do": "echo", "value": 3})
	if got, a := t.hear(n); got != token || string(a.body) != "3" {
		t.errorf("after the news about an earlier event an echo of 3 gives %s", a)
	}
}
