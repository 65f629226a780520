package sched

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// The endpoint protocol. A frame is
//
//	u32 big-endian, length of what follows | u8 kind | body
//
// The worker sends an event and reads exactly one frame that answers it; an instance that sends anything else is killed.
const (
	kindEvent     = 'E' // to the instance: u32 big-endian length of meta | meta | event. meta is {"id":string,"deadline_ms":unix ms}
	kindResult    = 'R' // from it: the result
	kindException = 'X' // from it: {"type","message","stack":[…]}, a core.Exception
	kindRefused   = 'L' // from it: {"kind":"invalid"|"too_large","message"}: a result that cannot be sent

	lengthSize = 4
	headSize   = lengthSize + 1
	frameSlack = 64 << 10 // of a frame, over core.MaxResult
	readAhead  = 4 << 10  // most answers fit, and cost one read
)

// unsent marks the failure of an exchange in which the instance cannot have read the whole event: the event may go to another one.
type unsent struct{ err error }

func (e unsent) Error() string { return e.err.Error() }
func (e unsent) Unwrap() error { return e.err }

func isUnsent(err error) bool {
	_, is := err.(unsent) // never wrapped
	return is
}

// broken marks an answer that breaks the protocol.
type broken struct{ err *core.Error }

func (e broken) Error() string { return e.err.Error() }
func (e broken) Unwrap() error { return e.err }

func isBroken(err error) bool {
	_, is := err.(broken) // never wrapped
	return is
}

// exchange is one event and its answer on one connection. Reading can be interrupted by a deadline and taken up again.
type exchange struct {
	conn    net.Conn
	head    []byte      // of the event frame
	vector  [2][]byte   // head and event, what buffers is made of
	buffers net.Buffers // a field, so that it is not allocated for each event

	ahead [readAhead]byte
	n     int    // bytes in ahead
	body  []byte // of the answer, of exactly its size; nil until its length is known
	got   int    // bytes in body
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func newExchange(conn net.Conn) *exchange {
	x := exchanges.Get().(*exchange)
	x.conn = conn
	return x
}

// free gives x back. The body of its answer is the caller's.
func (x *exchange) free() {
	x.conn, x.vector, x.buffers, x.n, x.body, x.got = nil, [2][]byte{}, nil, 0, nil, 0
	exchanges.Put(x)
}

// send writes the event with one writev.
func (x *exchange) send(id string, event []byte, deadline time.Time) error {
	head := append(x.head[:0], 0, 0, 0, 0, kindEvent, 0, 0, 0, 0)
	head = append(head, `{"id":`...)
	head = appendQuoted(head, id)
	head = append(head, `,"deadline_ms":`...)
	head = strconv.AppendInt(head, deadline.UnixMilli(), 10)
	head = append(head, '}')
	binary.BigEndian.PutUint32(head, uint32(len(head)-lengthSize+len(event)))
	binary.BigEndian.PutUint32(head[headSize:], uint32(len(head)-headSize-lengthSize))
	x.head = head
	x.vector = [2][]byte{head, event}
	x.buffers = x.vector[:]
	if _, err := x.buffers.WriteTo(x.conn); err != nil {
		return unsent{err}
	}
	return nil
}

// appendQuoted appends s as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// receive reads the answer. After a timeout it may be called again and goes on where it was.
func (x *exchange) receive() (kind byte, body []byte, err error) {
	for x.body == nil {
		n, err := x.conn.Read(x.ahead[x.n:])
		x.n += n
		if x.n < headSize {
			if err != nil {
				return 0, nil, ended(err)
			}
			continue
		}
		if err := x.begin(); err != nil {
			return 0, nil, err
		}
	}
	for x.got < len(x.body) {
		n, err := x.conn.Read(x.body[x.got:])
		x.got += n
		if err != nil && x.got < len(x.body) {
			return 0, nil, ended(err)
		}
	}
	return x.ahead[lengthSize], x.body, nil
}

// begin makes the body, with as much of it as has been read ahead.
func (x *exchange) begin() error {
	length, kind := binary.BigEndian.Uint32(x.ahead[:]), x.ahead[lengthSize]
	switch kind {
	case kindResult, kindException, kindRefused:
	default:
		return broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance answered with a frame of the unknown kind %q", kind)}
	}
	if length == 0 {
		return broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance answered with an empty frame")}
	}
	if length > core.MaxResult+frameSlack {
		return broken{tooLarge(int64(length) - 1)}
	}
	x.body = make([]byte, length-1)
	x.got = copy(x.body, x.ahead[headSize:x.n])
	if x.n-headSize > len(x.body) {
		return broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance sent more than one answer to an event")}
	}
	return nil
}

// ended tells a connection that was reset from one that was closed: the kernel resets it when the process ended with a part of
// the event unread.
func ended(err error) error {
	if errors.Is(err, syscall.ECONNRESET) {
		return unsent{err}
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func tooLarge(size int64) *core.Error {
	return core.Errorf(core.KindTooLarge, core.FaultHandler, "the result has %d bytes, more than the %d that a result may have; store it elsewhere and return where", size, core.MaxResult)
}

// answer turns a frame into the result, or into the handler's error.
func answer(kind byte, body []byte) ([]byte, error) {
	switch kind {
	case kindResult:
		if len(body) > core.MaxResult {
			return nil, tooLarge(int64(len(body)))
		}
		return body, nil
	case kindException:
		exception := new(core.Exception)
		if err := json.Unmarshal(body, exception); err != nil {
			return nil, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance told of an exception in a way that cannot be read: %w", err)}
		}
		err := core.Errorf(core.KindException, core.FaultHandler, "the handler raised %s: %s", exception.Type, exception.Message)
		err.Exception = exception
		return nil, err
	}
	var refused struct {
		Kind    core.Kind `json:"kind"`
		Message string    `json:"message"`
	}
	if err := json.Unmarshal(body, &refused); err != nil || refused.Kind != core.KindInvalid && refused.Kind != core.KindTooLarge {
		return nil, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance refused its result in a way that cannot be read: %q", body[:min(len(body), 100)])}
	}
	return nil, core.Errorf(refused.Kind, core.FaultHandler, "%s", refused.Message)
}
