package gateway

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// Header keys as net/http spells them, so that the map can be written without canonicalising them for every event.
const (
	headerRequestID = "X-Request-Id"
	headerStart     = "Pipsqueak-Start"
	headerTiming    = "Server-Timing"
)

var closeIt = []string{"close"}

// phaseNames are the phases in the order in which they happen; durations has theirs.
var phaseNames = [...]string{"queue", "sandbox", "preload", "fork", "enter", "import", "handler", "total"}

func durations(p core.Phases) [len(phaseNames)]time.Duration {
	return [...]time.Duration{p.Queue, p.Sandbox, p.Preload, p.Fork, p.Enter, p.Import, p.Handler, p.Total}
}

// run answers an event: the one path that has to be cheap. It allocates no buffer for the event and formats nothing with fmt.
func (g *Gateway) run(w *reply, r *http.Request, name string) {
	began := time.Now()
	id := requestID(r.Header)
	if r.Method != http.MethodPost {
		w.Header()[headerRequestID] = []string{id}
		g.answer(func(w http.ResponseWriter, r *http.Request) error { return otherMethod(w, r, "OPTIONS, POST") }).ServeHTTP(w, r)
		return
	}
	result, err := g.invoke(r, name, id)
	if result.Start == "" {
		result.Start = core.StartNone
	}
	if result.Phases.Total == 0 {
		result.Phases.Total = time.Since(began)
	}
	kind := core.KindNone
	if err != nil {
		kind = settle(r, err).Kind
	}
	g.metrics.observe(result, kind)
	if g.logEvents {
		defer g.logEvent(w, r, name, id, result, kind)
	}

	header := w.Header()
	values := make([]string, 5)
	set := func(i int, key, value string) {
		values[i] = value
		header[key] = values[i : i+1 : i+1]
	}
	set(0, headerRequestID, id)
	set(1, headerStart, string(result.Start))
	set(2, headerTiming, serverTiming(result.Phases))
	if err != nil {
		if g.connections.refuse() != nil {
			header["Connection"] = closeIt
		}
		g.fail(w, r, err)
		return
	}
	set(3, "Content-Type", "application/json")
	set(4, "Content-Length", strconv.Itoa(len(result.Body)))
	_, _ = w.Write(result.Body) // a caller that has gone by now has nobody to be told
}

// logEvent writes the line about an event that has been answered.
func (g *Gateway) logEvent(w *reply, r *http.Request, name, id string, result core.Result, kind core.Kind) {
	g.log.Info("event", "fn", clip(name), "version", result.Version, "request", id, "start", result.Start, "took", result.Phases.Total,
		"kind", kind, "status", cmp.Or(w.status, http.StatusOK), "in", max(r.ContentLength, 0), "out", w.size)
}

// invoke reads the event and runs it.
func (g *Gateway) invoke(r *http.Request, name, id string) (core.Result, error) {
	if err := cmp.Or(checkName(name), g.connections.refuse()); err != nil {
		return core.Result{}, err
	}
	buffer := events.Get().(*bytes.Buffer)
	event, err := readEvent(r, buffer)
	var result core.Result
	if err == nil {
		result, err = g.service.Invoker.Invoke(r.Context(), core.Invocation{Function: name, ID: id, Event: event})
	}
	// Not deferred: after a panic nobody knows who still reads the buffer.
	if buffer.Cap() <= keptEvent {
		buffer.Reset()
		events.Put(buffer)
	}
	return result, err
}

// events are buffers for events. One that grew over keptEvent is left to the garbage collector.
var events = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 4<<10)) }}

const keptEvent = 256 << 10

// noEvent is what a handler gets when the body is empty.
var noEvent = []byte("{}")

// readEvent reads the body, which has to be one JSON value, into the buffer. What it returns is the buffer's.
func readEvent(r *http.Request, buffer *bytes.Buffer) ([]byte, error) {
	tooLarge := func() error {
		return core.Errorf(core.KindTooLarge, core.FaultCaller,
			"the event is over %d bytes; send less, or the address of the data instead", core.MaxEvent)
	}
	if r.ContentLength > core.MaxEvent {
		return nil, tooLarge()
	}
	if r.ContentLength != 0 {
		if err := readBody(r, buffer); err != nil {
			return nil, err
		}
	}
	event := buffer.Bytes()
	switch {
	case len(event) == 0:
		return noEvent, nil
	case len(event) > core.MaxEvent:
		return nil, tooLarge()
	}
	if err := value.Check(event); err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the event %w; send one JSON value, or nothing for {}", err)
	}
	return event, nil
}

// requestID returns the id that the request came with when it is fit for logs and headers, and makes one otherwise.
func requestID(header http.Header) string {
	if given := header[headerRequestID]; len(given) == 1 && len(given[0]) > 0 && len(given[0]) <= 128 {
		sane := true
		for _, c := range []byte(given[0]) {
			sane = sane && c > ' ' && c < 0x7f
		}
		if sane {
			return given[0]
		}
	}
	// It has to be unique, not secret; this source costs no system call.
	const digits = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		for bits, i := rand.Uint64(), 0; i < 16; bits, i = bits>>4, i+1 {
			id[half*16+i] = digits[bits&15]
		}
	}
	return string(id[:])
}

// serverTiming returns the phases that happened as a Server-Timing header: milliseconds with three digits of µs.
func serverTiming(p core.Phases) string {
	line := make([]byte, 0, 160)
	for i, took := range durations(p) {
		if took <= 0 {
			continue
		}
		if len(line) > 0 {
			line = append(line, ", "...)
		}
		line = append(line, phaseNames[i]...)
		line = append(line, ";dur="...)
		us := took.Round(time.Microsecond).Microseconds()
		line = strconv.AppendInt(line, us/1000, 10)
		us %= 1000
		line = append(line, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	}
	return string(line)
}

// checkName refuses names that no function can have, whatever the service thinks of the rest.
func checkName(name string) error {
	reason := ""
	switch {
	case name == "":
		reason = "is empty"
	case len(name) > 255:
		reason = "is over 255 bytes long"
	case name == "." || name == "..":
		reason = "is a directory"
	}
	for _, c := range name {
		if c == '/' || c == '\\' || c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			reason = "has a character that is not allowed: " + strconv.QuoteRune(c)
			break
		}
	}
	if reason == "" {
		return nil
	}
	return core.Errorf(core.KindInvalid, core.FaultCaller, "the function name %q %s; use letters, digits and - _ .", clip(name), reason)
}
