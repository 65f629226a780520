package gateway

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// Reading and running an event is the one path that has to be cheap. It reuses the buffers of events.

// LogEvent writes the log line of an event that has been answered, if events are logged.
func (g *Gateway) LogEvent(w http.ResponseWriter, r *http.Request, name, id string, result core.Result, err error) {
	out, is := w.(*reply)
	if !g.logEvents || !is {
		return
	}
	kind := core.KindNone
	if err != nil {
		kind = settle(r, err).Kind
	}
	g.log.Info("event", "fn", Clip(name), "version", result.Version, "request", id, "start", result.Start, "took", result.Phases.Total,
		"kind", kind, "status", cmp.Or(out.status, http.StatusOK), "in", max(r.ContentLength, 0), "out", out.size)
}

// Reading makes an event from a request. The event may lie in the buffer, which is empty at first. On an
// error there is no event.
type Reading func(r *http.Request, buffer *Held) ([]byte, error)

// Invoke reads the event from a request, runs it and counts it. It does not answer: on an error the caller
// uses Fail. The result has its Start and its Total also with an error. The stream takes the response in
// parts; it is nil if that is impossible. The caller has to have ScopeInvoke for the name.
func (g *Gateway) Invoke(w http.ResponseWriter, r *http.Request, name, id string, read Reading, stream core.Stream) (core.Result, error) {
	began := time.Now()
	result, err := g.invoke(w, r, name, id, read, stream)
	if result.Start == "" {
		result.Start = core.StartNone
	}
	if result.Phases.Total == 0 {
		result.Phases.Total = time.Since(began)
	}
	kind := core.KindNone
	if err != nil {
		kind = settle(r, err).Kind
		if g.connections.refuse() != nil {
			w.Header()["Connection"] = closeIt
		}
		if out, is := w.(*reply); is && !out.caller.May(core.ScopeInvoke, name) { // it is public
			err = Private(err, id)
		}
	}
	g.metrics.observe(result, kind)
	if isRefusal(result, kind) && g.connections.refuse() == nil { // else it is to end its connection, so that others have one
		g.awaitRefusal(r, name)
	}
	return result, err
}

var closeIt = []string{"close"}

func (g *Gateway) invoke(w http.ResponseWriter, r *http.Request, name, id string, read Reading, stream core.Stream) (core.Result, error) {
	if _, err := g.enter(w, r, id, core.ScopeInvoke, ofNamed, name); err != nil {
		return core.Result{}, err
	}
	if err := cmp.Or(CheckName(name), g.connections.refuse()); err != nil {
		return core.Result{}, err
	}
	if err := g.service.Invoker.Admit(name, id); err != nil {
		return core.Result{}, err
	}
	var room core.Room
	if out, is := w.(*reply); is {
		out.kept.namespace, room = core.Namespace(name), out
	}
	buffer := g.hold(name)
	defer buffer.release()
	event, err := read(r, buffer)
	var result core.Result
	if err == nil {
		result, err = g.service.Invoker.Invoke(r.Context(), core.Invocation{Function: name, ID: id, Event: event, Stream: stream, Room: room})
	}
	buffer.over = true // not after a panic: then somebody may still read it
	return result, err
}

// noEvent is the event of an empty body.
var noEvent = []byte("{}")

// TooLarge is the error about a request that makes a larger event than core.MaxEvent.
func TooLarge() error {
	return core.Errorf(core.KindTooLarge, core.FaultCaller,
		"the event is over %d bytes; send less, or the address of the data instead", core.MaxEvent)
}

// ReadJSON is the Reading of a body that is the event: one JSON value, or nothing for {}.
func ReadJSON(r *http.Request, buffer *Held) ([]byte, error) {
	if r.ContentLength > core.MaxEvent {
		return nil, TooLarge()
	}
	if r.ContentLength != 0 {
		if err := unpackBody(r, buffer); err != nil {
			return nil, err
		}
	}
	event := buffer.Bytes()
	switch {
	case len(event) == 0:
		return noEvent, nil
	case len(event) > core.MaxEvent:
		return nil, TooLarge()
	}
	if err := value.Check(event); err != nil {
		hint := ""
		if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); media != "" && !strings.HasSuffix(media, "json") { // curl says so of JSON too
			hint = ": a body of the type " + Clip(media) + " is an HTTP request, for /fn/" + Clip(strings.TrimPrefix(r.URL.Path, "/run/"))
		}
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the event %w; send one JSON value, or nothing for {}%s", err, hint)
	}
	return event, nil
}

// Header keys are spelled as net/http does, so that they need not be canonicalised for every event.
const (
	headerStart  = "Pipsqueak-Start"
	headerTiming = "Server-Timing"
)

// Describe adds the headers of every answer to an event: its id, how its instance came to be, and the phases.
func Describe(header http.Header, id string, result core.Result) {
	values := []string{id, string(result.Start), serverTiming(result.Phases)}
	header[HeaderRequestID], header[headerStart], header[headerTiming] = values[:1:1], values[1:2:2], values[2:]
}

// serverTiming returns the phases that happened as a Server-Timing header, in milliseconds with three
// decimals.
func serverTiming(p core.Phases) string {
	line := make([]byte, 0, 160)
	for i, took := range p.Durations() {
		if took <= 0 {
			continue
		}
		if len(line) > 0 {
			line = append(line, ", "...)
		}
		line = append(line, core.PhaseNames[i]...)
		line = append(line, ";dur="...)
		us := took.Round(time.Microsecond).Microseconds()
		line = strconv.AppendInt(line, us/1000, 10)
		us %= 1000
		line = append(line, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
	}
	return string(line)
}
