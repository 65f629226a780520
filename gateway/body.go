package gateway

import (
	"bytes"
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
	slowest = 1 << 10
)

// steadyBody is the body of a request. It ends with an error when it stalls. Only the time inside Read
// counts.
type steadyBody struct {
	io.ReadCloser
	connection *http.ResponseController
	read       int64
	waited     time.Duration
	stalled    bool
}

func steady(w http.ResponseWriter, body io.ReadCloser) *steadyBody {
	return &steadyBody{ReadCloser: body, connection: http.NewResponseController(w)}
}

func (b *steadyBody) Read(p []byte) (int, error) {
	began := time.Now()
	patience := stall + time.Duration(b.read)*(time.Second/slowest) - b.waited
	_ = b.connection.SetReadDeadline(began.Add(patience)) // fails without a connection, as in tests
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.waited += time.Since(began)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.stalled = true
		return n, core.Errorf(core.KindTimeout, core.FaultCaller, "the body of the request stalled after %d bytes; send it again, and faster: %w", b.read, err)
	}
	if err != nil {
		_ = b.connection.SetReadDeadline(time.Time{}) // the server keeps reading, to notice when the caller goes away
	}
	return n, err
}

// isStalled reports whether a request's body has stalled.
func isStalled(r *http.Request) bool {
	b, ok := r.Body.(*steadyBody)
	return ok && b.stalled
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

// readBody reads an event, and unpacks it when it is gzip. It allocates for the bytes that have arrived,
// whatever Content-Length promises, and stops reading one byte beyond the limit.
func readBody(r *http.Request, buffer *bytes.Buffer) error {
	var body io.Reader = r.Body
	var err error
	names := codings(r)
	switch {
	case len(names) == 0:
	case len(names) == 1 && (names[0] == "gzip" || names[0] == "x-gzip"):
		body, err = gzip.NewReader(r.Body)
	default:
		return unknownCoding(names, "gzip")
	}
	if err == nil {
		_, err = buffer.ReadFrom(io.LimitReader(body, core.MaxEvent+1))
	}
	var told *core.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told):
		return told
	case r.Context().Err() != nil, errors.Is(err, io.ErrUnexpectedEOF) && len(names) == 0:
		return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away while it sent the event: %w", err)
	case len(names) > 0:
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the event is not whole gzip, as its header Content-Encoding says: %w", err)
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
