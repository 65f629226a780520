package worker

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func openTestLogs(t *testing.T, dir string, names ...string) *logs {
	t.Helper()
	l, err := openLogs(dir, func(name string) bool { return slices.Contains(names, name) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

// script is a voice that says what is in it; an empty text is the end of what is held.
type script []struct{ request, text string }

func (s *script) ReadEvent(p []byte, _ bool) (n int, request string, err error) {
	if len(*s) == 0 {
		return 0, "c", io.EOF
	}
	one := &(*s)[0]
	n = copy(p, one.text)
	if one.text = one.text[n:]; one.text == "" {
		request, *s = one.request, (*s)[1:]
		return n, request, nil
	}
	return n, one.request, nil
}

// reader is a voice of no event.
type reader struct{ io.Reader }

func (r reader) ReadEvent(p []byte, _ bool) (n int, request string, err error) {
	n, err = r.Read(p)
	return n, "", err
}

func (l *logs) prints(version int, text string) {
	l.collect(core.SandboxConfig{Function: "f", Version: version}, "stdout", reader{strings.NewReader(text + "\n")})
}

func (l *logs) lines(t *testing.T, version int) (lines []core.LogLine) {
	t.Helper()
	r, err := l.read(t.Context(), "f", version, core.LogQuery{Tail: core.AllLines})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for decoder := json.NewDecoder(r); decoder.More(); {
		var line core.LogLine
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// What is printed in one of several events becomes lines with its id, in however many pieces it comes.
func TestPrinted(t *testing.T) {
	l := openTestLogs(t, t.TempDir())
	fn, line := &core.Function{Name: "f", Version: 1}, core.LogLine{Node: "n1", Request: "a", Stream: "stderr"}
	text, long := []byte("one\n\ntw"), strings.Repeat("x", maxLine+3)
	kept := l.printed(fn, line, text, false)
	text = append(text[kept:], "o\nth"+long...)
	kept += l.printed(fn, line, text, false)
	l.printed(fn, line, []byte("end"), true)
	var got []string
	for _, one := range l.lines(t, 1) {
		if one.Node != "n1" || one.Request != "a" || one.Stream != "stderr" || one.Function != "f" || one.Time.IsZero() {
			t.Errorf("%+v", one)
		}
		got = append(got, one.Text)
	}
	if want := []string{"one", "", "two", "th" + long[:maxLine-2], "end"}; !slices.Equal(got, want) || kept != len("one\n\ntwo\n")+maxLine {
		t.Errorf("%.60q, %d bytes kept", got, kept)
	}
}

// Lines keep the request id of their event, text without a newline is a line at the end of its event, and a
// long line is cut between two characters.
func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine-1) + "é" + strings.Repeat("🐭", maxLine/2)
	l := openTestLogs(t, t.TempDir())
	l.collect(core.SandboxConfig{ID: "n1", Function: "f", Version: 1}, "stderr", &script{
		{"a", "one\ntw"}, {"a", "o\nthree"}, {"a", ""}, {"b", "four\n\n"}, {"b", long}, {"b", ""}, {"c", "no \xff text\n"}, {"c", strings.Repeat("\xbf", maxLine+1)},
	})
	var got strings.Builder
	text := map[string]string{}
	for _, line := range l.lines(t, 1) {
		if line.Function != "f" || line.Node != "n1" || line.Stream != "stderr" || line.Time.IsZero() || len(line.Text) > 3*maxLine {
			t.Errorf("%.300v", line)
		}
		got.WriteString(line.Request)
		text[line.Request] += line.Text
		if strings.Contains(line.Text, "\ufffd") && line.Request != "c" {
			t.Errorf("a character was cut: %.20q", line.Text)
		}
	}
	if !regexp.MustCompile("^aaabbb{3,}ccc$").MatchString(got.String()) {
		t.Error(got.String())
	}
	if text["a"] != "onetwothree" || text["b"] != "four"+long || !strings.HasPrefix(text["c"], "no \ufffd text") {
		t.Errorf("%.300q", text)
	}
}

// What a process of a removed function prints is not in the log of the next function of its name, also when
// it has printed before.
func TestLogOfARemovedFunction(t *testing.T) {
	l := openTestLogs(t, t.TempDir())
	l.prints(1, "one")
	output, print := io.Pipe()
	ended := make(chan struct{})
	go func() {
		l.collect(core.SandboxConfig{Function: "f", Version: 2}, "stdout", reader{output})
		close(ended)
	}()
	io.WriteString(print, "two\n")
	follower, err := l.read(context.Background(), "f", 2, core.LogQuery{Tail: core.AllLines, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	l.remove("f", 2)
	io.WriteString(print, "two again\n")
	print.Close()
	<-ended
	l.prints(2, "two once more")
	l.prints(3, "three")
	if _, err := io.ReadAll(follower); err != nil { // ends
		t.Error(err)
	}
	if _, err := l.read(context.Background(), "f", 2, core.LogQuery{Tail: core.AllLines}); !core.IsKind(err, core.KindNotFound) {
		t.Errorf("of the removed one: %v", err)
	}
	r, err := l.read(context.Background(), "f", 3, core.LogQuery{Tail: core.AllLines})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, _ := io.ReadAll(r); strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), `"three"`) {
		t.Errorf("%s", text)
	}
}

// A worker that is killed may have removed a function and not its log.
func TestLogsAreSwept(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"f.log", "f.log.1", "gone.log", "gone.log.1", ".lang1.log", "g.logs.log", "g.log.log.1", "gone.f.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openTestLogs(t, dir, "f", "g.logs", "g.log")
	var left []string
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if want := []string{".lang1.log", "f.log", "f.log.1", "g.log.log.1", "g.logs.log"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("%v, %v; want %v", left, err, want)
	}
}

// Of the lines that somebody reads slowly, no more than one is in memory, however many are asked for.
func TestTailIsNotHeld(t *testing.T) {
	l := openTestLogs(t, t.TempDir(), "f")
	l.prints(1, strings.Repeat("a line\n", 999)+"a line")
	for tail, want := range map[int]int{0: 0, 1: 1, 700: 700, 5000: 1000} {
		r, err := l.read(t.Context(), "f", 1, core.LogQuery{Tail: tail})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		first, err := r.Read(make([]byte, 1))
		if held := len(r.(*lineReader).ready); held > 200 {
			t.Errorf("%d bytes are held of %d lines", held, tail)
		}
		rest, _ := io.ReadAll(r)
		if got := strings.Count(string(rest), "\n"); got != want || (first == 0) != (err != nil) {
			t.Errorf("of 1000 lines the last %d are %d, %v", tail, got, err)
		}
	}
}
