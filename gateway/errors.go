package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// statusClientClosedRequest is nginx's word for a caller that has gone away; nobody but logs and proxies will
// see it.
const statusClientClosedRequest = 499

// byFault is the status of one kind of error for each fault.
type byFault struct{ caller, handler, driver, worker int }

// statuses is the one table from errors to statuses; docs/http.md shows it to users.
//
//	4xx  send something else
//	429  send less at once
//	500  the handler raised, or Pipsqueak is broken
//	502  the handler or the driver gave no answer that can be passed on
//	503  send it again later
//	504  there was no answer in time
//	507  send it again when there is room on the disk
var statuses = map[core.Kind]byFault{
	core.KindInvalid:     {400, 502, 502, 500}, // of the handler: a result that is not JSON
	core.KindDenied:      {403, 403, 403, 403}, // 401 without a good token
	core.KindNotFound:    {404, 404, 404, 404},
	core.KindConflict:    {409, 409, 409, 409},
	core.KindTooLarge:    {413, 502, 502, 500}, // of the handler: a result over its limit
	core.KindUnsupported: {501, 501, 501, 501},
	core.KindInstall:     {422, 422, 502, 503},
	core.KindBuild:       {422, 422, 502, 503},
	core.KindImport:      {422, 422, 502, 503},
	core.KindLoop:        {508, 508, 508, 508},
	core.KindExhausted:   {429, 429, 503, 507}, // of the worker: its disk is full; a shortage that passes is 503 (Status)
	core.KindTimeout:     {504, 504, 504, 504},
	core.KindCanceled:    {statusClientClosedRequest, statusClientClosedRequest, 503, 503}, // of the worker: it ends
	core.KindException:   {422, 500, 502, 500},
	core.KindExit:        {422, 502, 502, 502},
	core.KindMemory:      {422, 502, 502, 502},
	core.KindUnavailable: {503, 503, 503, 503},
	core.KindInternal:    {500, 500, 500, 500},
}

// Status returns the status for an error. A kind that is not in the table is a defect, so 500.
func Status(e *core.Error) int {
	s, known := statuses[e.Kind]
	switch {
	case !known:
		return http.StatusInternalServerError
	case e.Kind == core.KindExhausted && e.Retryable && e.Fault == core.FaultWorker:
		return http.StatusServiceUnavailable
	case e.Fault == core.FaultCaller:
		return s.caller
	case e.Fault == core.FaultHandler:
		return s.handler
	case e.Fault == core.FaultDriver:
		return s.driver
	default:
		return s.worker
	}
}

// statusError is an error with another status than the table's.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// WithStatus gives an error another status than the table's.
func WithStatus(status int, err error) error { return &statusError{status, err} }

// ErrorBody returns the JSON object for an error.
func ErrorBody(e *core.Error) map[string]*core.Error {
	if e.Exception != nil && e.Exception.Stack == nil {
		whole, exception := *e, *e.Exception
		exception.Stack = []string{}
		whole.Exception, e = &exception, &whole
	}
	return map[string]*core.Error{"error": e}
}

// Fail answers with an error. When an answer has begun already, Fail breaks it off, so that nobody takes it
// for a whole one.
func (g *Gateway) Fail(w http.ResponseWriter, r *http.Request, err error) {
	e := g.Failure(w, r, err)
	if out, ok := w.(*reply); ok && out.begun {
		panic(http.ErrAbortHandler)
	}
	if isUnread(r) {
		w.Header().Set("Connection", "close") // the server would read it before it answers
	}
	code := Status(e)
	var s *statusError
	var coding *codingError
	switch {
	case errors.As(err, &s):
		code = s.status
	case errors.As(err, &coding):
		code = http.StatusUnsupportedMediaType
		w.Header().Set("Accept-Encoding", coding.known)
	case isStalled(r):
		code = http.StatusRequestTimeout
		w.Header().Set("Connection", "close")
	}
	if e.Kind == core.KindDenied {
		w.Header().Set("WWW-Authenticate", challenge(r, code))
	}
	g.write(w, code, e)
}

// Failure returns err as the core.Error to answer with. It logs a defect, for whoever can fix it.
func (g *Gateway) Failure(w http.ResponseWriter, r *http.Request, err error) *core.Error {
	e := settle(r, err)
	if out, is := w.(*reply); is {
		e = hideOthers(out.caller, r, e)
	}
	if e.Kind == core.KindInternal {
		g.log.Error("answer", "method", r.Method, "path", r.URL.Path, "err", e)
	}
	return e
}

// Private returns an error without the exception that a handler has raised. Whoever visits a site, or needs
// no token, is not whom the author tells about it; the function's log has it.
func Private(err error, id string) error {
	e := core.AsError(err)
	if e.Fault != core.FaultHandler {
		return err
	}
	return core.Errorf(e.Kind, e.Fault, "the function failed; its author finds the reason in its log, under the request id %s", id)
}

// settle returns err as a core.Error. An error that follows from the caller's leaving becomes KindCanceled.
func settle(r *http.Request, err error) *core.Error {
	var e *core.Error
	known := errors.As(err, &e)
	if !known || e.Kind == core.KindCanceled {
		var cause *core.Error
		if errors.As(context.Cause(r.Context()), &cause) { // otherwise the caller has gone
			return cause
		}
	}
	if !known && (r.Context().Err() != nil || errors.Is(err, context.Canceled)) {
		return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away: %w", err)
	}
	return core.AsError(err)
}

func (g *Gateway) write(w http.ResponseWriter, code int, e *core.Error) {
	if e.Retryable && (code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable) {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.RetryAfter().Seconds())))))
	}
	if err := WriteJSON(w, code, ErrorBody(e)); err != nil {
		g.log.Debug("answer", "err", err)
	}
}

// WriteJSON answers with a value as one line of JSON. An error means that the value has no JSON.
func WriteJSON(w http.ResponseWriter, code int, value any) error {
	line, err := JSONLine(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(line) // on an error the caller has gone; there is nobody to report it to
	return nil
}

// JSONLine returns a value as JSON with a newline. It does not escape <, > and &.
func JSONLine(value any) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "cannot write the answer as JSON: %w", err)
	}
	return line.Bytes(), nil
}

// Clip shortens a caller's text for a message.
func Clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
