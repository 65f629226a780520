package core

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Of a recursion's stack the ends are reported, and how many frames lie in between.
func TestTrim(t *testing.T) {
	frames := func(n int) (stack []string) {
		for i := range n {
			stack = append(stack, fmt.Sprint(i))
		}
		return stack
	}
	for n, want := range map[int]string{0: "", 60: "20", 61: "20", 62: "… (2 frames left out)", 1000: "… (940 frames left out)"} {
		e := Exception{Stack: frames(n), Causes: []Cause{{RelationCause, Exception{Stack: frames(n)}}}}
		e.Trim()
		for _, stack := range [][]string{e.Stack, e.Causes[0].Stack} {
			if len(stack) != min(n, 61) || n > 0 && (stack[20] != want || stack[19] != "19" || stack[len(stack)-1] != fmt.Sprint(n-1) || stack[len(stack)-40] != fmt.Sprint(n-40)) {
				t.Errorf("%d frames: %q", n, stack)
			}
		}
		again := slices.Clone(e.Stack)
		if e.Trim(); !slices.Equal(e.Stack, again) {
			t.Errorf("%d frames, cut twice: %q", n, e.Stack)
		}
	}
}

func TestLinesOfAnException(t *testing.T) {
	e := Exception{Type: "E", Message: "no", Stack: []string{"a:1", "b:2\n  code"}, Notes: []string{"see b"}, Causes: []Cause{
		{RelationCause, Exception{Type: "F", Message: "two\nlines", Stack: []string{"c:3"}, Causes: []Cause{{RelationContext, Exception{Type: "G"}}}}},
		{RelationMember, Exception{Type: "H", Message: "h"}},
		{"of another language", Exception{Type: "I", Message: "i"}},
	}}
	want := []string{"a:1", "b:2", "  code", "note: see b", "caused by F: two", "lines", "    c:3", "    raised while handling G:", "one of the group: H: h", "of another language I: i"}
	if got := e.Lines(); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	text, err := json.Marshal(e.Causes[1])
	if err != nil || string(text) != `{"relation":"member","type":"H","message":"h","stack":null}` {
		t.Errorf("%s %v", text, err)
	}
}

// However much a driver tells, what a log gets is bounded, keeps what is nearest to the cause, and says what
// is left out.
func TestShortException(t *testing.T) {
	deep := Exception{Type: strings.Repeat("é", 20000), Message: strings.Repeat("é", 20000)}
	for range 200 {
		deep.Stack = append(deep.Stack, strings.Repeat("é", 300))
		deep.Notes = append(deep.Notes, strings.Repeat("é", 600))
	}
	deep.Stack[199] = "innermost"
	whole := deep
	for range 100 {
		whole = Exception{Type: "Wrap", Causes: []Cause{{RelationCause, whole}}}
	}
	wide := Exception{Type: "Group"}
	for range 50 {
		wide.Causes = append(wide.Causes, Cause{RelationMember, deep})
	}
	for name, e := range map[string]Exception{"deep": deep, "chain": whole, "wide": wide} {
		before, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		short := e.Short()
		text, err := json.Marshal(short)
		if err != nil || len(text) > 256<<10 || !utf8.Valid(text) || strings.Contains(string(text), "�") {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		if !strings.Contains(string(text), "left out") {
			t.Errorf("%s: says not that something is left out", name)
		}
		if after, _ := json.Marshal(e); string(after) != string(before) {
			t.Errorf("%s was changed", name)
		}
	}
	short := deep.Short()
	if last := short.Stack[len(short.Stack)-1]; last != "innermost" || !strings.Contains(short.Stack[0], "outer frames left out") {
		t.Errorf("%q … %q", short.Stack[0], last)
	}
	small := Exception{Type: "E", Message: "no", Stack: []string{"a"}, Notes: []string{"n"}, Causes: []Cause{{RelationCause, Exception{Type: "F", Stack: []string{}}}}}
	if got := small.Short(); !reflect.DeepEqual(*got, small) {
		t.Errorf("%+v", got)
	}
}
