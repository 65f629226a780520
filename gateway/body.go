package gateway

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A body may take any time, but it has to make progress. It may keep the gateway waiting for stall, and for
// one second more with each slowest bytes that have arrived.
const (
	stall   = 30 * time.Second
	slowest = 32 << 10
)

// steadyBody is the body of a request. It ends with an error when it stalls. Only the time inside Read
// counts.
type steadyBody struct {
	io.ReadCloser
	connection *http.ResponseController
	read       int64
	waited     time.Duration
	stalled    bool
	ended      bool
}

// steady returns a request's body as one that ends when it stalls. What nobody reads of it has stall to come,
// because the server waits for it before it answers.
func steady(w http.ResponseWriter, body io.ReadCloser) *steadyBody {
	b := &steadyBody{ReadCloser: body, connection: http.NewResponseController(w)}
	_ = b.connection.SetReadDeadline(time.Now().Add(stall)) // fails without a connection, as in tests
	return b
}

func (b *steadyBody) Read(p []byte) (int, error) {
	began := time.Now()
	patience := stall + time.Duration(b.read)*(time.Second/slowest) - b.waited
	_ = b.connection.SetReadDeadline(began.Add(patience))
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.waited += time.Since(began)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.stalled = true
		return n, core.Errorf(core.KindTimeout, core.FaultCaller, "the body of the request stalled after %d bytes; send it again, and faster: %w", b.read, err)
	}
	if err != nil {
		b.ended = true
		_ = b.connection.SetReadDeadline(time.Time{}) // the server keeps reading, to notice when the caller goes away
	}
	return n, err
}

// isStalled reports whether a request's body has stalled.
func isStalled(r *http.Request) bool {
	b, ok := r.Body.(*steadyBody)
	return ok && b.stalled
}

// isUnread reports whether much of a request's body has not been read, and may not have come.
func isUnread(r *http.Request) bool {
	b, ok := r.Body.(*steadyBody)
	return ok && !b.ended && (r.ContentLength < 0 || r.ContentLength > freeEvent)
}

// drained is how long the rest of a body is read that nobody wants. It is as long as the server waits for the
// same reason.
const drained = 500 * time.Millisecond

// drain sends the answer, and reads what the caller still sends, until he has the answer and closes. A
// connection that is closed before is reset, and then the caller may lose the answer.
func drain(w http.ResponseWriter, body io.Reader) {
	connection := http.NewResponseController(w)
	_ = connection.Flush() // on an error there is nobody to answer
	_ = connection.SetReadDeadline(time.Now().Add(drained))
	_, _ = io.Copy(io.Discard, body)
}

// codings returns the codings of a request's body, without "identity".
func codings(r *http.Request) (names []string) {
	for _, line := range r.Header["Content-Encoding"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
				names = append(names, name)
			}
		}
	}
	return names
}

// ReadBody appends a request's body to the buffer, as it was sent. It allocates for the bytes that have
// arrived, whatever Content-Length promises, and stops reading one byte beyond core.MaxEvent.
func ReadBody(r *http.Request, buffer *Held) error {
	err := buffer.Fill(io.LimitReader(r.Body, core.MaxEvent+1))
	return unread(r, err, errors.Is(err, io.ErrUnexpectedEOF))
}

// unpackBody does as ReadBody, and unpacks a body that is gzip.
func unpackBody(r *http.Request, buffer *Held) error {
	names := codings(r)
	switch {
	case len(names) == 0:
		return ReadBody(r, buffer)
	case len(names) > 1 || names[0] != "gzip" && names[0] != "x-gzip":
		return unknownCoding(names, "gzip")
	}
	body, err := gzip.NewReader(r.Body)
	if err == nil {
		err = buffer.Fill(io.LimitReader(body, core.MaxEvent+1))
	}
	var told *core.Error
	if err != nil && !errors.As(err, &told) && r.Context().Err() == nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the event is not whole gzip, as its header Content-Encoding says: %w", err)
	}
	return unread(r, err, false)
}

// unread returns the reason why a body could not be read, nil if it could.
func unread(r *http.Request, err error, cut bool) error {
	var told *core.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told):
		return told
	case r.Context().Err() != nil, cut:
		return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away while it sent the event: %w", err)
	default:
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the event cannot be read: %w", err)
	}
}

func unknownCoding(names []string, known string) error {
	return &codingError{known, core.Errorf(core.KindInvalid, core.FaultCaller,
		"the body has the Content-Encoding %q, and only %s is understood here: send it without", Clip(strings.Join(names, ", ")), known)}
}

// codingError is answered with 415, and with the coding that would be understood.
type codingError struct {
	known string
	err   *core.Error
}

func (e *codingError) Error() string { return e.err.Error() }
func (e *codingError) Unwrap() error { return e.err }
