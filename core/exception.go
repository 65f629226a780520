package core

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Exception is what a handler raised.
type Exception struct {
	Type    string   `json:"type"`            // the exception's class, such as "ValueError"
	Message string   `json:"message"`         // its text
	Stack   []string `json:"stack"`           // one frame an entry, outermost first, frames of the runtime left out; see Trim
	Notes   []string `json:"notes,omitempty"` // further texts about it
	Causes  []Cause  `json:"causes,omitempty"`
}

// Cause is an exception behind another one.
type Cause struct {
	Relation Relation `json:"relation"`
	Exception
}

// Relation is the relation of a Cause to the exception that has it.
type Relation string

// The relations. A driver may have others: they are reported unchanged.
const (
	RelationCause   Relation = "cause"   // the other one was raised because of it
	RelationContext Relation = "context" // the other one was raised while it was being handled
	RelationMember  Relation = "member"  // the other one is a group, and this one of those in it
)

// Lines returns, for a person, the parts of an exception besides its type and text: frames, notes, and the
// same of its causes, indented.
func (e *Exception) Lines() []string {
	var lines []string
	add := func(indent, text string) {
		for line := range strings.Lines(text) {
			lines = append(lines, indent+strings.TrimRight(line, "\r\n"))
		}
	}
	for _, frame := range e.Stack {
		add("", frame)
	}
	for _, note := range e.Notes {
		add("note: ", note)
	}
	for _, c := range e.Causes {
		said := map[Relation]string{RelationCause: "caused by", RelationContext: "raised while handling", RelationMember: "one of the group:"}[c.Relation]
		if said == "" {
			said = string(c.Relation)
		}
		add("", strings.TrimSpace(said+" "+c.Type+": "+c.Message))
		for _, line := range c.Lines() {
			add("    ", line)
		}
	}
	return lines
}

// How many frames of a longer stack are kept at its ends.
const (
	outerFrames = 20
	innerFrames = 40
)

// Trim cuts the stacks of an exception and of its causes. One entry with their number replaces the frames
// between the outermost 20 and the innermost 40, which are all alike in a recursion. A stack of 61 entries,
// the form in which drivers cut one, stays as it is.
func (e *Exception) Trim() {
	if left := len(e.Stack) - outerFrames - innerFrames; left > 1 {
		e.Stack = slices.Concat(e.Stack[:outerFrames], []string{fmt.Sprintf("… (%d frames left out)", left)}, e.Stack[len(e.Stack)-innerFrames:])
	}
	for i := range e.Causes {
		e.Causes[i].Trim()
	}
}

// The limits of an exception with its causes in a log, and in the answer to a call of another function.
const (
	maxShortText   = 8 << 10  // bytes of each text; of a frame or a note an eighth
	maxShortFrames = 32 << 10 // bytes of all frames
	maxShortAll    = 20       // exceptions and notes
)

// Short returns a copy of at most some 200 KiB. Where it leaves something out, it says how much.
func (e *Exception) Short() *Exception {
	frames, all := maxShortFrames, maxShortAll
	short := e.short(&frames, &all)
	return &short
}

func (e *Exception) short(frames, all *int) Exception {
	*all--
	short := Exception{Type: Clip(e.Type, maxShortText/8), Message: Clip(e.Message, maxShortText), Stack: []string{}}
	first := len(e.Stack)
	for ; first > 0 && *frames > 0; first-- {
		*frames -= min(len(e.Stack[first-1]), maxShortText/8)
	}
	if first > 0 {
		short.Stack = append(short.Stack, fmt.Sprintf("… (%s left out)", Count(first, "outer frame", "outer frames")))
	}
	for _, frame := range e.Stack[first:] {
		short.Stack = append(short.Stack, Clip(frame, maxShortText/8))
	}
	for i, note := range e.Notes {
		if *all--; *all < 0 {
			short.Notes = append(short.Notes, fmt.Sprintf("… (%s left out)", Count(len(e.Notes)-i, "note", "notes")))
			break
		}
		short.Notes = append(short.Notes, Clip(note, maxShortText/8))
	}
	for i, c := range e.Causes {
		if *all <= 0 {
			short.Notes = append(short.Notes, fmt.Sprintf("… (%s left out, and those behind them)", Count(len(e.Causes)-i, "cause", "causes")))
			break
		}
		short.Causes = append(short.Causes, Cause{Relation(Clip(string(c.Relation), 100)), c.short(frames, all)})
	}
	return short
}

// Clip returns the beginning of a text, of at most so many bytes of UTF-8, and says how much is left out.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > max(limit-utf8.UTFMax, 0) && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes left out)", text[:end], len(text)-end)
}
