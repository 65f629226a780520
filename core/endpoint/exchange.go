package endpoint

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

const (
	// To the instance. An event is
	//
	//	u32 big-endian, length of meta | meta | event
	//
	// with the meta {"id":string,"deadline_ms":unix ms,"depth":n,"token":string,"stream":true}, the last one
	// if the response may come in parts. An answer to a call or a part has the same form, with the meta
	// {"call":n} before the result, or {"call":n,"error":{…}} alone.
	kindHandler = 'H' // first of all: a core.HandlerLoad
	kindEvent   = 'E'
	kindAnswer  = 'A'
	kindGone    = 'G' // the caller of the event with that token has gone; nothing answers it

	// From the instance, about its import.
	kindReport  = 'P' // the cost: {"took":s,"modules":{name:s},"threads":n,"loaded":[name]}
	kindFailure = 'F' // the reason why it failed, a core.Error; the instance ends

	// From the instance, in an event. Each body begins with the token of the event.
	kindResult    = 'R'
	kindException = 'X' // {"type","message","stack":[…]}, a core.Exception
	kindRefused   = 'L' // a result that cannot be sent: {"kind":"invalid"|"too_large"|"internal","message"}
	kindDeath     = 'D' // how the handler ended its process, a core.Exception; the instance ends
	kindInvoke    = 'I' // before the result: as an event, with the meta {"call":n,"function":name}
	kindPart      = 'S' // before the result: as an event, with the meta {"call":n,"head":{…}}, and bytes of the response
	kindOutput    = 'O' // before the result, if several events are under way: '1' or '2', and what was printed there

	lengthSize  = 4
	headSize    = lengthSize + 1
	importKinds = string(kindReport) + string(kindFailure)
	eventKinds  = string(kindResult) + string(kindException) + string(kindRefused) + string(kindDeath) + string(kindInvoke) + string(kindPart)
	frameSlack  = 64 << 10 // of a frame, over core.MaxResult
	readAhead   = 4 << 10  // most answers fit, and cost one read
	tokenSize   = 32       // random hex digits
)

// unsent marks the failure of an exchange in which the instance cannot have read the whole question.
type unsent struct{ err error }

func (e unsent) Error() string { return e.err.Error() }
func (e unsent) Unwrap() error { return e.err }

// IsUnsent reports whether an exchange failed before the instance can have read the whole event, or the whole
// handler load. The instance has run nothing of it, so it may go to another instance.
func IsUnsent(err error) bool {
	_, is := err.(unsent) //nolint:errorlint // never wrapped
	return is
}

// broken marks an answer that breaks the protocol.
type broken struct{ err *core.Error }

func (e broken) Error() string { return e.err.Error() }
func (e broken) Unwrap() error { return e.err }

// IsBroken reports whether an instance broke the protocol. Nothing from it can be trusted any more.
func IsBroken(err error) bool {
	_, is := err.(broken) //nolint:errorlint // never wrapped
	return is
}

// Exchange is one question and its answer on one connection, with the calls that the instance makes before it
// answers. A deadline may interrupt reading, which can go on later.
type Exchange struct {
	conn    *Conn
	answers string // the kinds of frame that may answer
	token   []byte // with which they begin; empty for none
	digits  [tokenSize]byte
	heard   bool        // a byte has come back
	head    []byte      // of the event frame
	vector  [2][]byte   // head and event, the parts of buffers
	buffers net.Buffers // a field, so that it is not allocated for each event

	// Asks has Receive return ErrLarge once, before it reads an answer that is larger than what it reads
	// ahead.
	Asks bool

	ahead [readAhead]byte
	n     int    // bytes in ahead
	body  []byte // of the frame, of its exact size; nil until that is known
	part  []byte // memory for the bodies of parts
	got   int    // bytes in body
}

var exchanges = sync.Pool{New: func() any { return new(Exchange) }}

// New returns an exchange on the connection. The caller still owns the connection.
func New(conn *Conn) *Exchange {
	x := exchanges.Get().(*Exchange)
	x.conn = conn
	return x
}

// Free gives x back to be used again. The caller owns the body of its answer.
func (x *Exchange) Free() {
	x.conn, x.vector, x.buffers, x.token, x.heard, x.n, x.body, x.part, x.got, x.Asks = nil, [2][]byte{}, nil, nil, false, 0, nil, nil, 0, false
	exchanges.Put(x)
}

// Send writes an event with one writev. It ignores the invocation's Function and Deadline. IsUnsent holds for
// its errors. One of them is for an instance that has sent something unasked since its last answer.
func (x *Exchange) Send(invocation core.Invocation, deadline time.Time) error {
	if err := x.conn.quiet(); err != nil {
		return unsent{err}
	}
	x.draw()
	head := appendEvent(x.head[:0], invocation, deadline, x.digits[:], x.conn.tokens)
	return x.write(head, invocation.Event, eventKinds)
}

// appendEvent appends the beginning of an event's frame, which has room for the length. The event follows.
func appendEvent(head []byte, invocation core.Invocation, deadline time.Time, token []byte, streams bool) []byte {
	head = append(head, 0, 0, 0, 0, kindEvent, 0, 0, 0, 0)
	head = append(head, `{"id":`...)
	head = appendQuoted(head, invocation.ID)
	head = append(head, `,"deadline_ms":`...)
	head = strconv.AppendInt(head, deadline.UnixMilli(), 10)
	head = append(head, `,"depth":`...)
	head = strconv.AppendInt(head, int64(invocation.Depth), 10)
	head = append(head, `,"token":"`...)
	head = append(head, token...)
	head = append(head, '"')
	if invocation.Stream != nil && streams {
		head = append(head, `,"stream":true`...)
	}
	head = append(head, '}')
	binary.BigEndian.PutUint32(head[headSize:], uint32(len(head)-headSize-lengthSize))
	return head
}

// drawToken draws a token that nobody can guess.
func drawToken(digits *[tokenSize]byte) {
	var secret [tokenSize / 2]byte
	_, _ = rand.Read(secret[:]) // never fails
	hex.Encode(digits[:], secret[:])
}

func (x *Exchange) draw() {
	drawToken(&x.digits)
	if x.conn.tokens {
		x.token = x.digits[:]
	}
}

// write writes a frame. Head has room for the length and begins the body; rest ends it.
func (x *Exchange) write(head, rest []byte, answers string) error {
	binary.BigEndian.PutUint32(head, uint32(len(head)-lengthSize+len(rest)))
	x.answers = answers
	x.head = head
	x.vector = [2][]byte{head, rest}
	x.buffers = x.vector[:]
	if _, err := x.buffers.WriteTo(x.conn.Conn); err != nil { // not everything was written
		return unsent{err}
	}
	return nil
}

// appendQuoted appends s as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // never fails for a string
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// Receive reads the answer, or a call or a part if IsCall(kind) or IsPart(kind); the answer then comes later.
// After a timeout it may be called again, and goes on where it was. The body of a part is good until then.
func (x *Exchange) Receive() (kind byte, body []byte, err error) {
	for x.body == nil {
		if x.n >= headSize {
			if err := x.begin(); err != nil {
				return 0, nil, err
			}
			break
		}
		n, err := x.conn.Read(x.ahead[x.n:])
		x.n += n
		x.heard = x.heard || n > 0
		if err != nil && x.n < headSize {
			return 0, nil, x.ended(err)
		}
	}
	for x.got < len(x.body) {
		n, err := x.conn.Read(x.body[x.got:])
		x.got += n
		if err != nil && x.got < len(x.body) {
			return 0, nil, x.ended(err)
		}
	}
	kind, body = x.ahead[lengthSize], x.body
	if !isLast(kind) {
		// Bytes read beyond it belong to the next frame.
		x.n = copy(x.ahead[:], x.ahead[min(headSize+len(body), x.n):x.n])
		x.body, x.got = nil, 0
	}
	own, found := bytes.CutPrefix(body, x.token)
	if !found {
		return 0, nil, foreign()
	}
	return kind, own, nil
}

// Leave returns the token of the event for SendGone. From then on an instance that ends with something unread
// has run the event: what it has not read may be that frame.
func (x *Exchange) Leave() (token string) {
	x.heard = true
	return string(x.token)
}

// ErrLarge is the error of an answer that is not read yet, for want of leave. Called again, Receive reads it.
var ErrLarge = errors.New("the answer is large")

// Size returns the bytes of the frame that Receive has not read yet.
func (x *Exchange) Size() int { return int(binary.BigEndian.Uint32(x.ahead[:])) }

// begin makes the body, with the part of it that has been read ahead.
func (x *Exchange) begin() error {
	length, kind := binary.BigEndian.Uint32(x.ahead[:]), x.ahead[lengthSize]
	if strings.IndexByte(x.answers, kind) < 0 {
		return x.breach("the instance answered with a frame of the kind %q, which answers nothing", kind)
	}
	if length == 0 {
		return x.breach("the instance answered with an empty frame")
	}
	if kind == kindPart && length > core.MaxPart+frameSlack {
		return x.breach("the instance sent a part of %d bytes", length)
	}
	if length > core.MaxResult+frameSlack {
		return broken{tooLarge(int64(length) - 1 - int64(len(x.token)))}
	}
	if x.Asks && isLast(kind) && length > readAhead {
		x.Asks = false
		return ErrLarge
	}
	if kind == kindPart {
		x.part = slices.Grow(x.part[:0], int(length-1))
		x.body = x.part[:length-1]
	} else {
		x.body = make([]byte, length-1)
	}
	x.got = copy(x.body, x.ahead[headSize:x.n])
	if x.n-headSize > len(x.body) && isLast(kind) {
		return x.breach("the instance sent more than one answer")
	}
	return nil
}

// breach is the error for a frame that is no answer. In an event with a token it hardly comes from the
// driver.
func (x *Exchange) breach(format string, args ...any) error {
	if len(x.token) > 0 {
		return foreign()
	}
	return broken{core.Errorf(core.KindInternal, core.FaultDriver, format, args...)}
}

// ended turns the end of a connection into an error. The kernel resets the connection when the process ended
// with something unread. That is a part of the question if nothing has come back; otherwise it may be an
// answer to a call. An exchange whose question was not read is unsent.
func (x *Exchange) ended(err error) error {
	if errors.Is(err, syscall.ECONNRESET) && !x.heard {
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

// Answer turns the frame that answers an event into the result, or into the handler's error. After one of
// KindExit the instance is of no use.
func Answer(kind byte, body []byte) ([]byte, error) {
	switch kind {
	case kindResult:
		if len(body) > core.MaxResult {
			return nil, tooLarge(int64(len(body)))
		}
		if err := value.Check(body); err != nil { // a driver would have refused it with a better message
			return nil, core.Errorf(core.KindInvalid, core.FaultHandler, "the handler's result %w; return what can be written as JSON", err)
		}
		return body, nil
	case kindException, kindDeath:
		exception := new(core.Exception)
		if err := json.Unmarshal(body, exception); err != nil {
			return nil, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance reported an exception in a way that cannot be read: %w", err)}
		}
		exception.Trim()
		err := core.Errorf(core.KindException, core.FaultHandler, "the handler raised %s: %s", exception.Type, exception.Message)
		if kind == kindDeath {
			err = core.Errorf(core.KindExit, core.FaultHandler, "the handler ended its process by %s: %s", exception.Type, exception.Message)
		}
		err.Exception = exception
		return nil, err
	}
	var refused struct {
		Kind    core.Kind `json:"kind"`
		Message string    `json:"message"`
	}
	err := json.Unmarshal(body, &refused)
	if err == nil && refused.Kind == core.KindInternal {
		return nil, broken{core.Errorf(core.KindInternal, core.FaultDriver, "%s", refused.Message)}
	}
	if err != nil || refused.Kind != core.KindInvalid && refused.Kind != core.KindTooLarge {
		return nil, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance refused its result in a way that cannot be read: %q", body[:min(len(body), 100)])}
	}
	return nil, core.Errorf(refused.Kind, core.FaultHandler, "%s", refused.Message)
}
