package sandbox

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lineRest = 10 * time.Millisecond // after the end of an event, before text without a newline counts as complete
	hearing  = 50 * time.Millisecond // that Heard waits at the most
)

// Output is stdout or stderr of a sandbox's process. Each byte of it belongs to the event that had begun last
// when the byte was written, however late it is read. To know at which byte an event begins, Begin asks the
// kernel how much of the pipe is unread.
type Output struct {
	file *os.File
	raw  syscall.RawConn
	over atomic.Bool // the event has been answered, and the next has not begun

	count  func(fd uintptr) // sets unread; made once, for an event is to allocate nothing
	unread uint32           // bytes in the pipe

	mu      sync.Mutex // guards the following, and is held while the pipe is read from, which does not block
	read    int64      // bytes
	handled int64      // bytes of which the reader holds nothing any more
	current event      // whose the next byte is
	last    event      // whose the last byte was
	marks   []mark     // where other events begin, in what is not read yet
	closed  bool
}

// event is one event of the process; the turn tells events with the same request id apart.
type event struct {
	request string
	turn    int
}

type mark struct {
	at int64 // the byte of the stream with which the event begins
	event
}

func newOutput(file *os.File) (*Output, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	o := &Output{file: file, raw: raw}
	o.count = func(fd uintptr) {
		o.unread, _ = unix.IoctlGetUint32(int(fd), unix.TIOCINQ) // 0 with an error
	}
	return o, nil
}

// Read implements io.Reader, without the ids of events.
func (o *Output) Read(p []byte) (int, error) { return o.file.Read(p) }

// ReadEvent reads text of one event, and returns its size and the event's request id, "" before the first
// event. The caller passes whether it holds the beginning of a line from an earlier call. If so, 0 bytes
// without an error mean that the event of that line is over. One goroutine reads.
func (o *Output) ReadEvent(p []byte, holding bool) (n int, request string, err error) {
	o.mu.Lock()
	if !holding {
		o.handled = o.read
	}
	o.mu.Unlock()
	if holding {
		defer func() { _ = o.file.SetReadDeadline(time.Time{}) }() // a pipe has deadlines
	}
	for {
		if holding {
			_ = o.file.SetReadDeadline(time.Now().Add(lineRest))
		}
		waited := o.raw.Read(func(fd uintptr) (done bool) {
			n, done, err = o.take(int(fd), p, holding)
			return done
		})
		switch {
		case errors.Is(waited, os.ErrDeadlineExceeded):
			if o.rests() {
				return 0, o.last.request, nil
			}
			continue
		case waited != nil:
			return 0, o.last.request, waited
		}
		return n, o.last.request, err
	}
}

// take reads what is there. It is not done when there is nothing.
func (o *Output) take(fd int, p []byte, holding bool) (n int, done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.marks) > 0 && o.marks[0].at == o.read {
		o.current, o.marks = o.marks[0].event, o.marks[1:]
	}
	if holding && o.current != o.last {
		return 0, true, nil
	}
	if len(o.marks) > 0 {
		p = p[:min(int64(len(p)), o.marks[0].at-o.read)]
	}
	for {
		n, err = unix.Read(fd, p)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, false, nil
	case err != nil:
		return 0, true, err
	case n == 0:
		return 0, true, io.EOF
	}
	o.read += int64(n)
	o.last = o.current
	return n, true, nil
}

// rests says whether the event of the text that was read last is over.
func (o *Output) rests() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current != o.last || o.over.Load()
}

// begin says that what is written from now on is of an event.
func (o *Output) begin(request string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over.Store(false)
	at := o.end()
	next := event{request, o.current.turn + len(o.marks) + 1}
	if at == o.read {
		o.current, o.marks = next, nil
	} else {
		o.marks = append(o.marks, mark{at, next})
	}
}

// end returns how many bytes have been written until now. The caller holds mu.
func (o *Output) end() int64 {
	o.unread = 0
	_ = o.raw.Control(o.count) // of a closed one nothing is unread
	return o.read + int64(o.unread)
}

// heard waits a moment until the reader has dealt with what is there now.
func (o *Output) heard() {
	o.mu.Lock()
	end := o.end()
	o.mu.Unlock()
	for deadline := time.Now().Add(hearing); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		o.mu.Lock()
		done := o.closed || o.handled >= end
		o.mu.Unlock()
		if done {
			return
		}
	}
}

func (o *Output) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.file.Close()
}

// Begin assigns everything that the process writes from now on to the event with that request id.
func (s *Sandbox) Begin(request string) {
	for _, o := range s.output {
		o.begin(request)
	}
}

// Over ends the event, which has been answered: a last line without a newline is complete.
func (s *Sandbox) Over() {
	for _, o := range s.output {
		o.over.Store(true)
	}
}

// Heard waits a moment until everything that was written so far has been read and kept.
func (s *Sandbox) Heard() {
	for _, o := range s.output {
		o.heard()
	}
}
