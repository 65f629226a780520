package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// stream sends a response while its function makes it: each part is a chunk of HTTP/1.1, or a frame of
// HTTP/2, and leaves at once. It implements core.Stream.
type stream struct {
	w        http.ResponseWriter
	r        *http.Request
	id       string
	shares   bool // its address, with other functions
	begun    bool
	bodiless bool
	length   string // of the body, as the function says; empty if it does not
	written  uint64 // bytes of it
}

// Begin implements core.Stream.
func (s *stream) Begin(head []byte, result core.Result) error {
	object := gjson.ParseBytes(head)
	if !object.IsObject() {
		return wrong("its head is %s, and not an object with statusCode, headers and cookies", object)
	}
	answer, err := fieldsOf(object).head("application/octet-stream")
	if err != nil {
		return err
	}
	if s.shares {
		answer.share()
	}
	gateway.Describe(s.w.Header(), s.id, result)
	answer.addTo(s.w.Header())
	if s.r.Method == http.MethodHead && !answer.bodiless() {
		answer.tellLength(s.w.Header())
	}
	s.begun, s.bodiless, s.length = true, answer.bodiless() || s.r.Method == http.MethodHead, answer.length
	s.w.WriteHeader(answer.status)
	return nil
}

// Write implements core.Stream. A caller that goes away ends it too.
func (s *stream) Write(ctx context.Context, part []byte) error {
	connection := http.NewResponseController(s.w)
	cut := func() { _ = connection.SetWriteDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, cut)()
	defer context.AfterFunc(s.r.Context(), cut)()
	var err error
	if !s.bodiless {
		_, err = s.w.Write(part)
		s.written += uint64(len(part))
	}
	if err == nil {
		err = connection.Flush()
	}
	if err != nil {
		return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away, or took too long, before it had the whole response: %w", err)
	}
	return nil
}

// end returns an error if the function has ended before the length that it has told: the caller must not take
// that for the whole.
func (s *stream) end() error {
	if length, err := strconv.ParseUint(s.length, 10, 63); err == nil && !s.bodiless && s.written < length {
		return core.Errorf(core.KindInvalid, core.FaultHandler, "the handler's response ended after %d bytes, and its Content-Length is %d", s.written, length)
	}
	return nil
}
