package conform

import (
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var causeCases = []Case{
	{Name: "answer/exception-with-causes", Clauses: []string{"E25"}, Since: 3, run: answerCauses},
	{Name: "answer/exception-that-cannot-be-read", Clauses: []string{"E25"}, Since: 3, run: answerUnreadable},
}

// answerCauses: what an exception was raised because of is told, and what that was.
func answerCauses(t *trial) {
	n := t.instance()
	x := t.raising(n, do{"do": "raise", "message": "kit says no", "causes": []string{"first", "second"}})
	var told []string
	for e := x; len(e.Causes) > 0; e = e.Causes[0].Exception {
		if r := e.Causes[0].Relation; r != core.RelationCause && r != core.RelationContext {
			t.errorf("a cause has the relation %q", r)
		}
		told = append(told, e.Causes[0].Message)
		t.cleanStack(e.Causes[0].Stack)
	}
	if want := []string{"first", "second"}; !slices.Equal(told, want) && t.notes.Causeless == "" {
		t.errorf("an exception with the causes %q is reported with %q", want, told)
	}
	t.alive(n, "an exception with causes")
}

// answerUnreadable: whatever an exception does when it is asked, the event is answered, and the instance
// serves on.
func answerUnreadable(t *trial) {
	n := t.instance()
	t.raising(n, do{"do": "unreadable"})
	t.alive(n, "an exception that cannot be read")
}
