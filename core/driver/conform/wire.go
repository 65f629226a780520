package conform

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// wire is core's end of an endpoint, for frames as they should and as they should not be.
type wire struct {
	conn   net.Conn
	tokens bool   // what is said in an event begins with its token, as since version 3 of the protocol
	token  string // of the last event
	stream bool   // the responses to the events that follow may come in parts
}

// tokensSince is the version of the protocol with which tokens came.
const tokensSince = 3

// answer is one frame of an instance.
type answer struct {
	kind byte
	body []byte
}

func (a answer) String() string {
	text := string(a.body[:min(len(a.body), 300)])
	if len(a.body) > 300 {
		text += fmt.Sprintf("… (%d bytes)", len(a.body))
	}
	return fmt.Sprintf("%c %s", a.kind, text)
}

const frameLimit = core.MaxResult + 64<<10

func frame(kind byte, body []byte) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))
	return append(append(f, kind), body...)
}

// meta puts what is told of an event, a call or an answer before it.
func meta(text string, rest []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	return append(append(b, text...), rest...)
}

// eventBody makes the body of an event, with a token of its own.
func (w *wire) eventBody(event []byte, deadline time.Time) []byte {
	w.token = (rand.Text() + rand.Text())[:32]
	offer := ""
	if w.stream {
		offer = `,"stream":true`
	}
	return meta(`{"id":"kit-request","deadline_ms":`+strconv.FormatInt(deadline.UnixMilli(), 10)+`,"depth":3,"token":"`+w.token+`"`+offer+`}`, event)
}

// send writes a frame. That it cannot is seen at the answer.
func (w *wire) send(kind byte, body []byte) { w.write(frame(kind, body)) }

func (w *wire) write(b []byte) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = w.conn.Write(b)
}

// receiveAny reads one frame.
func (w *wire) receiveAny(patience time.Duration) (answer, error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 5)
	if _, err := io.ReadFull(w.conn, head); err != nil {
		return answer{}, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > frameLimit {
		return answer{}, fmt.Errorf("a frame of %d bytes", length)
	}
	a := answer{head[4], make([]byte, length-1)}
	_, err := io.ReadFull(w.conn, a.body)
	return a, err
}

// receive reads one frame, of which it checks what holds for all.
func (w *wire) receive(patience time.Duration) (answer, error) {
	a, err := w.receiveAny(patience)
	if err != nil {
		return a, err
	}
	return a, w.check(&a)
}

// check takes the token off what is said in an event, and looks at a result.
func (w *wire) check(a *answer) error {
	if w.tokens && strings.IndexByte("RXLDIS", a.kind) >= 0 {
		own, found := bytes.CutPrefix(a.body, []byte(w.token))
		if !found {
			return fmt.Errorf("%s does not begin with the token %s of its event", a, w.token)
		}
		a.body = own
	}
	if err := value.Check(a.body); a.kind == 'R' && err != nil {
		return fmt.Errorf("the result %s %w", a, err)
	}
	return nil
}

// silent reports whether nothing comes for a moment.
func (w *wire) silent() error {
	_ = w.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	b := make([]byte, 64)
	n, err := w.conn.Read(b)
	if n > 0 {
		return fmt.Errorf("it said %q unasked", b[:n])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// unread is a connection of which the first bytes have been read already.
type unread struct {
	net.Conn
	first []byte
}

func (u *unread) Read(b []byte) (int, error) {
	if len(u.first) > 0 {
		n := copy(b, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	return u.Conn.Read(b)
}
