package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPipe returns an output and the end of its pipe that a process would have.
func openPipe(t testing.TB) (*Output, *os.File) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		t.Fatal(err)
	}
	o, err := newOutput(os.NewFile(uintptr(p[0]), "output"))
	if err != nil {
		t.Fatal(err)
	}
	w := os.NewFile(uintptr(p[1]), "input")
	t.Cleanup(func() { o.close(); w.Close() })
	return o, w
}

// piece is what one ReadEvent returned.
type piece struct{ request, text string }

// All text belongs to the event that had begun when it was written, also when nobody has read it by the time
// of the next ones.
func TestTextBelongsToItsEvent(t *testing.T) {
	for _, late := range []bool{false, true} {
		o, w := openPipe(t)
		s := Sandbox{output: []*Output{o}}
		var got []piece
		var reading sync.WaitGroup
		read := func() {
			defer reading.Done()
			buffer := make([]byte, 10)
			for {
				n, request, err := o.ReadEvent(buffer, false)
				if n > 0 {
					got = append(got, piece{request, string(buffer[:n])})
				}
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					return
				}
			}
		}
		reading.Add(1)
		if !late {
			go read()
		}
		var want strings.Builder
		for i := range 500 {
			request := fmt.Sprint(i / 2) // two events may have the same id
			s.Begin(request)
			if i%3 > 0 {
				text := fmt.Sprintf("text of %d, %d bytes;", i/2, i%7)
				fmt.Fprintf(&want, "%s:%s\n", request, text)
				io.WriteString(w, text)
			}
			s.Over()
		}
		w.Close()
		if late {
			go read()
		}
		reading.Wait()
		var told strings.Builder
		for i, p := range got {
			if i == 0 || !strings.HasSuffix(told.String(), p.request+":") && strings.HasSuffix(told.String(), ";") {
				if i > 0 {
					told.WriteString("\n")
				}
				told.WriteString(p.request + ":")
			}
			told.WriteString(p.text)
		}
		if told.String()+"\n" != want.String() {
			t.Errorf("late %v: got\n%s\nwant\n%s", late, told.String(), want.String())
		}
	}
}

// Text without a newline is complete when its event is over, or when the next one has begun, and not before.
func TestTextEndsWithItsEvent(t *testing.T) {
	o, w := openPipe(t)
	s := Sandbox{output: []*Output{o}}
	buffer := make([]byte, 100)
	read := func(holding bool, want piece) {
		t.Helper()
		n, request, err := o.ReadEvent(buffer, holding)
		if got := (piece{request, string(buffer[:n])}); err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	s.Begin("a")
	io.WriteString(w, "half")
	read(false, piece{"a", "half"})
	time.AfterFunc(5*lineRest, func() { io.WriteString(w, " more") }) // the event takes its time
	read(true, piece{"a", " more"})
	s.Over()
	read(true, piece{"a", ""})
	io.WriteString(w, "between two events")
	read(false, piece{"a", "between two events"})
	read(true, piece{"a", ""})

	s.Begin("a")
	io.WriteString(w, "1")
	read(false, piece{"a", "1"})
	s.Begin("a") // another event with the same id, and nobody has said that the last one is over
	read(true, piece{"a", ""})
	io.WriteString(w, "2")
	read(false, piece{"a", "2"})
	s.Begin("b")
	io.WriteString(w, "3")
	read(true, piece{"a", ""})
	read(false, piece{"b", "3"})
	w.Close()
	if n, request, err := o.ReadEvent(buffer, true); n != 0 || request != "b" || !errors.Is(err, io.EOF) {
		t.Errorf("%d %q %v", n, request, err)
	}
}

// Heard returns when what was there has been dealt with, and does not wait for ever for a reader that does
// not come.
func TestHeard(t *testing.T) {
	o, w := openPipe(t)
	s := Sandbox{output: []*Output{o}}
	s.Begin("a")
	s.Heard()
	io.WriteString(w, "text\nhalf")
	began := time.Now()
	s.Heard()
	if took := time.Since(began); took < hearing {
		t.Errorf("with nobody reading it waited %v", took)
	}
	dealt := make(chan string, 1)
	go func() {
		buffer := make([]byte, 100)
		n, _, _ := o.ReadEvent(buffer, false)
		_, _, _ = o.ReadEvent(buffer[n:], true) // half is held
		time.Sleep(2 * time.Millisecond)
		dealt <- "all"
		_, _, _ = o.ReadEvent(buffer, false)
	}()
	s.Over()
	s.Heard()
	select {
	case <-dealt:
	default:
		t.Error("it came back before all was dealt with")
	}
	io.WriteString(w, "more")
	o.close()
	s.Heard()
	s.Begin("b")
}

// What an event costs of it.
func BenchmarkBegin(b *testing.B) {
	o, _ := openPipe(b)
	p, _ := openPipe(b)
	s := Sandbox{output: []*Output{o, p}}
	b.ReportAllocs()
	for b.Loop() {
		s.Begin("request")
		s.Over()
	}
}
