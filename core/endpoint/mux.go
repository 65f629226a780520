package endpoint

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	muxKinds = eventKinds + string(kindOutput)

	// answerGrace is how long an answer to a call, or the news that a caller has gone, may wait for an
	// instance to read it, also after the deadline of its event.
	answerGrace = time.Second
)

// Printed is called with what a handler has printed in an event, to stdout or stderr. It returns how many
// bytes it has dealt with: all if the text is complete. The rest comes again, with what follows.
type Printed func(request, stream string, text []byte, complete bool) int

// Mux is core's end of the endpoint of an instance that has several events under way. It reads for all of
// them. All methods may be called from many goroutines at once.
type Mux struct {
	conn    *Conn
	printed Printed
	writing chan struct{} // has an element while somebody writes a frame
	done    chan struct{}

	mu     sync.Mutex // guards the following
	events map[[tokenSize]byte]*Event
	err    error // why the connection is of no use any more; done is closed then
}

// Event is one event of a Mux.
type Event struct {
	mux     *Mux
	token   [tokenSize]byte
	request string
	call    func(body []byte) error
	frames  chan muxFrame // of parts and of the answer: a part, and behind it the answer, if the handler does not wait
	texts   [2][]byte     // of stdout and stderr, which printed has not dealt with; only who reads uses them

	// Guarded by Mux.mu.
	shared bool // another event was under way meanwhile, or a frame has come back
	unread bool // the instance has ended before it has read the event
}

type muxFrame struct {
	kind byte
	body []byte
}

// streams are the names of what handlers print to, by what an output frame has.
var streams = map[byte]string{'1': "stdout", '2': "stderr"}

// NewMux reads from the connection from now on, until it ends. Nobody else may use it.
func NewMux(conn *Conn, printed Printed) *Mux {
	m := &Mux{conn: conn, printed: printed, writing: make(chan struct{}, 1), done: make(chan struct{}), events: map[[tokenSize]byte]*Event{}}
	go m.read()
	return m
}

// Done is closed when the connection has ended.
func (m *Mux) Done() <-chan struct{} { return m.done }

// Err returns why the connection has ended, nil if it has not. IsBroken holds if that is to end the instance.
func (m *Mux) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// End ends the use of the connection. All events get the error.
func (m *Mux) End(err *core.Error) { m.end(broken{err}) }

// Send begins an event. The caller receives its answer. Call is called with the body of each call to another
// function, also while the caller passes on a part; an error ends the instance. Send's own error is
// os.ErrDeadlineExceeded if the instance has not taken the event in time. Any other error IsUnsent.
func (m *Mux) Send(invocation core.Invocation, deadline time.Time, call func(body []byte) error) (*Event, error) {
	e := &Event{mux: m, request: invocation.ID, call: call, frames: make(chan muxFrame, 2)}
	drawToken(&e.token)
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return nil, unsent{m.err}
	}
	e.shared = len(m.events) > 0
	for _, other := range m.events {
		other.shared = true
	}
	m.events[e.token] = e
	m.mu.Unlock()
	head := appendEvent(nil, invocation, deadline, e.token[:], true)
	binary.BigEndian.PutUint32(head, uint32(len(head)-lengthSize+len(invocation.Event)))
	err := m.write(net.Buffers{head, invocation.Event}, deadline)
	if err == nil {
		return e, nil
	}
	m.mu.Lock()
	delete(m.events, e.token)
	m.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, os.ErrDeadlineExceeded
	}
	return nil, unsent{err}
}

// SendAnswer answers a call or a part, as the function does.
func (m *Mux) SendAnswer(number uint64, result []byte, failed error, deadline time.Time) error {
	frame, err := answerFrame(number, result, failed)
	if err != nil {
		return err
	}
	return m.writeSoon(frame, deadline)
}

// SendGone tells the instance that the caller of the event has gone.
func (e *Event) SendGone(deadline time.Time) error {
	e.mux.mu.Lock()
	e.shared = true // what an instance that ends has not read may be this frame
	e.mux.mu.Unlock()
	return e.mux.writeSoon(net.Buffers{goneFrame(string(e.token[:]))}, deadline)
}

// writeSoon writes a frame that an instance may not have read by the deadline of its event.
func (m *Mux) writeSoon(frame net.Buffers, deadline time.Time) error {
	if grace := time.Now().Add(answerGrace); deadline.Before(grace) {
		deadline = grace
	}
	return m.write(frame, deadline)
}

// write writes a frame. Half a frame is the end of the connection.
func (m *Mux) write(frame net.Buffers, deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case m.writing <- struct{}{}:
	case <-m.done:
		return m.Err()
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
	defer func() { <-m.writing }()
	_ = m.conn.SetWriteDeadline(deadline) // a closed connection fails at the write
	n, err := frame.WriteTo(m.conn.Conn)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		m.end(err)
	case n > 0:
		m.End(core.Errorf(core.KindTimeout, core.FaultHandler, "the instance was ended, with all its events: it has read no more than a part of one by that event's deadline, because another event keeps its handler from it"))
	}
	return err
}

// read reads what the instance says.
func (m *Mux) read() {
	from := bufio.NewReaderSize(m.conn, readAhead)
	for {
		kind, body, err := readFrame(from)
		if err == nil {
			err = m.take(kind, body)
		}
		if err != nil {
			m.end(err)
			m.mu.Lock()
			left := slices.Collect(maps.Values(m.events))
			m.mu.Unlock()
			for _, e := range left {
				e.flush()
			}
			return
		}
	}
}

// readFrame reads one frame of an instance that has several events.
func readFrame(from io.Reader) (kind byte, body []byte, err error) {
	var head [headSize]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, err
	}
	length, kind := binary.BigEndian.Uint32(head[:]), head[lengthSize]
	most := uint32(core.MaxResult + frameSlack)
	if kind == kindPart || kind == kindOutput {
		most = core.MaxPart + frameSlack
	}
	switch {
	case strings.IndexByte(muxKinds, kind) < 0 || length < 1+tokenSize:
		return 0, nil, foreign()
	case length > most:
		return 0, nil, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance sent a frame %q of %d bytes", kind, length)}
	}
	body = make([]byte, length-1)
	_, err = io.ReadFull(from, body)
	return kind, body, err
}

// take hands a frame to its event.
func (m *Mux) take(kind byte, body []byte) error {
	m.mu.Lock()
	e := m.events[[tokenSize]byte(body)]
	if e != nil {
		e.shared = true
		if isLast(kind) {
			delete(m.events, e.token)
		}
	}
	m.mu.Unlock()
	if e == nil {
		return foreign()
	}
	body = body[tokenSize:]
	switch kind {
	case kindOutput:
		return e.print(body)
	case kindInvoke:
		return e.call(body)
	}
	if isLast(kind) {
		e.flush()
	}
	select {
	case e.frames <- muxFrame{kind, body}:
	default:
		return broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance sent a part of a response before the last one was answered")}
	}
	if kind == kindDeath {
		return died(body)
	}
	return nil
}

// died is the error of the other events when the handler of one ends the process.
func died(body []byte) error {
	_, err := Answer(kindDeath, body)
	return broken{core.Errorf(core.KindExit, core.FaultHandler, "another event in the same instance ended the process: %s", core.AsError(err).Message)}
}

// print takes what was printed in the event.
func (e *Event) print(body []byte) error {
	stream, known := streams[firstOf(body)]
	if !known {
		return broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance sent output of no stream: %.100q", body)}
	}
	text := &e.texts[body[0]-'1']
	if *text = append(*text, body[1:]...); len(*text) > 0 {
		*text = (*text)[e.mux.printed(e.request, stream, *text, false):]
	}
	return nil
}

func firstOf(body []byte) byte {
	if len(body) == 0 {
		return 0
	}
	return body[0]
}

// flush ends the last lines of the event.
func (e *Event) flush() {
	for i, text := range e.texts {
		if len(text) > 0 {
			e.mux.printed(e.request, streams[byte('1'+i)], text, true)
		}
		e.texts[i] = nil
	}
}

// end ends the use of the connection.
func (m *Mux) end(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	m.err = err
	for _, e := range m.events {
		// The kernel resets the connection when something was unread. With one event, and no call or part of
		// it, that is the event.
		e.unread = errors.Is(err, syscall.ECONNRESET) && !e.shared
	}
	close(m.done)
}

// Receive waits for a part of the response or for the answer. The error is os.ErrDeadlineExceeded at the
// deadline, unless that is zero, and when the context ends; Receive may be called again then. The other
// errors are those of an Exchange.
func (e *Event) Receive(ctx context.Context, deadline time.Time) (kind byte, body []byte, err error) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case f := <-e.frames:
		return f.kind, f.body, nil
	case <-e.mux.done:
	case <-ctx.Done():
		return 0, nil, os.ErrDeadlineExceeded
	case <-late:
		return 0, nil, os.ErrDeadlineExceeded
	}
	select {
	case f := <-e.frames: // before the end
		return f.kind, f.body, nil
	default:
	}
	e.mux.mu.Lock()
	defer e.mux.mu.Unlock()
	if e.unread {
		return 0, nil, unsent{e.mux.err}
	}
	return 0, nil, e.mux.err
}
