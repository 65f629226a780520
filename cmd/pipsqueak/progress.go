package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// progress tells a person who waits how far a deploy is: each step that has ended in a line of its own and what is going on, on a
// terminal in a last line that changes, elsewhere in a line for the first step of each verb.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	mu    sync.Mutex      // the upload goes on while the server already tells of its steps
	last  string          // step that was shown
	seen  map[string]bool // verbs that have had their line, when it is not a terminal
	drawn time.Time
	ended bool
}

func (p *program) progress() *progress {
	return &progress{out: p.err, terminal: p.terminal, now: p.now, seen: map[string]bool{}}
}

// step shows a step of the server.
func (s *progress) step(p core.Progress) {
	what := strings.TrimSpace(p.Verb + " " + p.Item)
	if p.Ended {
		s.end(what, outcome(p))
		return
	}
	far := ""
	if p.Total > 0 {
		far = fmt.Sprintf(" %d %%", 100*p.Done/p.Total)
	}
	if p.Detail != "" {
		far += " (" + p.Detail + ")"
	}
	s.show(what, far)
}

// outcome says how a step ended: "12.4 MiB fetched, 1.2 s".
func outcome(p core.Progress) string {
	var words []string
	if p.Detail != "" {
		words = append(words, p.Detail)
	}
	if p.Bytes > 0 {
		words = append(words, humanBytes(p.Bytes))
	}
	if p.Took > 0 {
		words = append(words, humanDuration(p.Took.Round(time.Millisecond)))
	}
	return strings.Join(words, ", ")
}

// upload returns the archive such that reading it is shown.
func (s *progress) upload(archive io.Reader) io.Reader {
	s.show("upload", "")
	return &uploading{archive: archive, shown: s}
}

type uploading struct {
	archive io.Reader
	shown   *progress
	sent    int64
}

func (u *uploading) Read(p []byte) (int, error) {
	n, err := u.archive.Read(p)
	u.sent += int64(n)
	u.shown.show("upload", " "+humanBytes(u.sent))
	return n, err
}

// show shows what is going on and how far it is. Ten times a second is enough for a terminal.
func (s *progress) show(what, far string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch {
	case s.ended:
	case !s.terminal:
		if verb, _, _ := strings.Cut(what, " "); !s.seen[verb] {
			fmt.Fprintln(s.out, plain(what))
			s.seen[verb] = true
		}
	case s.terminal && (what != s.last || now.Sub(s.drawn) > 100*time.Millisecond):
		fmt.Fprint(s.out, "\r\x1b[K"+oneLine(what+far))
		s.drawn = now
	}
	s.last = what
}

// end shows a step that has ended.
func (s *progress) end(what, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.terminal {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	fmt.Fprintln(s.out, plain(fmt.Sprintf("%-40s %s", what, how)))
	s.last = ""
}

// clear takes the line away again. What is still being read of an upload that was refused is not shown any more.
func (s *progress) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.terminal && s.last != "" {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// oneLine shortens text so that it does not wrap.
func oneLine(text string) string {
	text = plain(text)
	for utf8.RuneCountInString(text) > 79 {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// plain takes from text what would move the cursor.
func plain(text string) string {
	return strings.TrimRight(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text), " ")
}
