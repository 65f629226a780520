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

// progress shows a waiting person the progress of a deploy, with a clock. On a terminal, the last line shows
// the present step and changes. Each step of the whole that has ended gets a line of its own; steps of single
// packages get none, because they would push everything else away. Elsewhere, such as in a log, the first
// step of each verb and each step that has ended get a line.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	began    time.Time
	stop     func() // the clock

	mu    sync.Mutex      // the upload goes on while the server already reports its steps
	last  string          // step that is shown
	far   string          // how far it is
	seen  map[string]bool // verbs that have had their line, when it is not a terminal
	drawn time.Time
	ended bool
}

// progress returns a progress that begins now. The caller calls clear.
func (p *program) progress() *progress {
	s := &progress{out: p.screen, terminal: p.terminal, now: p.now, began: p.now(), seen: map[string]bool{}, stop: func() {}}
	if s.terminal {
		ticker, done := time.NewTicker(time.Second), make(chan struct{})
		s.stop = sync.OnceFunc(func() { ticker.Stop(); close(done) })
		go func() {
			for {
				select {
				case <-ticker.C:
					s.tick()
				case <-done:
					return
				}
			}
		}()
	}
	return s
}

// clock returns the time since the beginning: "3.2s", "1m04s".
func (s *progress) clock() string {
	took := s.now().Sub(s.began)
	if took < time.Minute {
		return fmt.Sprintf("%.1fs", took.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", took/time.Minute, took%time.Minute/time.Second)
}

// step shows a step of the server.
func (s *progress) step(p core.Progress) {
	what := strings.TrimSpace(p.Verb + " " + p.Item)
	ofPackage := strings.Contains(p.Item, "==") // no function is called so
	switch {
	case p.Ended && p.Verb == core.VerbWarn:
		s.end(fmt.Sprintf("%s: %s", what, p.Detail))
	case p.Ended && s.terminal && !ofPackage:
		s.end(oneLine(fmt.Sprintf("%-40s %s", what, outcome(p))))
	case p.Ended && !s.terminal:
		s.end(fmt.Sprintf("%-40s %s", what, outcome(p)))
	default:
		far := ""
		if p.Total > 0 {
			far = fmt.Sprintf(" %d %%", 100*p.Done/p.Total)
		}
		if p.Detail != "" {
			far += " (" + p.Detail + ")"
		}
		s.show(what, far)
	}
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

// upload returns a reader of the archive that shows how much was read.
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
	far := " " + humanBytes(u.sent)
	if err == io.EOF {
		far += " sent"
	}
	u.shown.show("upload", far)
	return n, err
}

// show shows what is going on and how far it is. Ten times a second is enough for a terminal.
func (s *progress) show(what, far string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := what != s.last
	s.last, s.far = what, far
	switch {
	case s.ended:
	case !s.terminal:
		if verb, _, _ := strings.Cut(what, " "); !s.seen[verb] {
			s.line(what)
			s.seen[verb] = true
		}
	case fresh || s.now().Sub(s.drawn) > 100*time.Millisecond:
		s.draw()
	}
}

// tick moves the clock on.
func (s *progress) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal && !s.ended && s.last != "" {
		s.draw()
	}
}

// draw writes over the last line of a terminal. The caller holds mu.
func (s *progress) draw() {
	clock := s.clock()
	fmt.Fprintf(s.out, "\r\x1b[K%s  %s", shorten(s.last+s.far, lineWidth-3-len(clock)), clock)
	s.drawn = s.now()
}

// line writes a line of its own. The caller holds mu.
func (s *progress) line(text string) {
	if s.terminal {
		fmt.Fprintln(s.out, "\r\x1b[K"+plain(text))
		return
	}
	fmt.Fprintf(s.out, "%6s  %s\n", s.clock(), plain(text))
}

// end shows that a step has ended.
func (s *progress) end(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.line(text)
		s.last = ""
	}
}

// clear removes the last line. The rest of a refused upload is read without being shown.
func (s *progress) clear() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.terminal && s.last != "" {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// oneLine shortens text so that it does not wrap.
func oneLine(text string) string { return shorten(text, lineWidth-1) }

func shorten(text string, most int) string {
	text = plain(text)
	for utf8.RuneCountInString(text) > most {
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
