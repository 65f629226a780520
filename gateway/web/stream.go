package web

import (
	"context"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// stream sends a response while its function makes it: each part is a chunk of HTTP/1.1, or a frame of HTTP/2, and
// leaves at once. It implements core.Stream.
type stream struct {
	w        http.ResponseWriter
	r        *http.Request
	id       string
	shares   bool // its address, with other functions
	begun    bool
	bodiless bool
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
	s.begun, s.bodiless = true, answer.bodiless() || s.r.Method == http.MethodHead
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
	}
	if err == nil {
		err = connection.Flush()
	}
	if err != nil {
		return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away, or took too long, before it had the whole response: %w", err)
	}
	return nil
}
