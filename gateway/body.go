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

// A body may take as long as it takes, but it has to come on: stall is how long it may keep us waiting, and each byte that has come adds to that as if
// slowest bytes came in a second.
const (
	stall   = 30 * time.Second
	slowest = 1 << 10
)

// steadyBody is the body of a request that is ended when it stalls. Only the time that somebody waits for it counts.
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
	_ = b.connection.SetReadDeadline(began.Add(patience)) // fails where there is no connection, as in tests
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.waited += time.Since(began)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.stalled = true
		return n, core.Errorf(core.KindTimeout, core.FaultCaller, "the body of the request stalled after %d bytes; send it again, and faster: %w", b.read, err)
	}
	if err != nil {
		_ = b.connection.SetReadDeadline(time.Time{}) // the server goes on reading, to see whether the caller goes away
	}
	return n, err
}

// isStalled tells whether a request's body has been ended.
func isStalled(r *http.Request) bool {
	b, ok := r.Body.(*steadyBody)
	return ok && b.stalled
}

// codings returns the codings of a request's body, but for those that change nothing.
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

// readBody reads an event as its sender means it, as it is or out of gzip. No more is made room for than has come, whatever Content-Length promises,
// and no more is read than tells that it is too large.
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

// codingError is answered with 415, and with what would be understood.
type codingError struct {
	known string
	err   *core.Error
}

func (e *codingError) Error() string { return e.err.Error() }
func (e *codingError) Unwrap() error { return e.err }
