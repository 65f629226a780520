package gateway

import (
	"bytes"
	"cmp"
	"net/http"
	"sync"
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

// Invoke reads the event from a request's body, runs it and counts it. It does not answer: on an error the
// caller uses Fail. The result has its Start and its Total also with an error.
func (g *Gateway) Invoke(w http.ResponseWriter, r *http.Request, name, id string) (core.Result, error) {
	began := time.Now()
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
		if g.connections.refuse() != nil {
			w.Header()["Connection"] = closeIt
		}
	}
	g.metrics.observe(result, kind)
	return result, err
}

var closeIt = []string{"close"}

func (g *Gateway) invoke(r *http.Request, name, id string) (core.Result, error) {
	if err := cmp.Or(CheckName(name), g.connections.refuse()); err != nil {
		return core.Result{}, err
	}
	buffer := buffers.Get().(*bytes.Buffer)
	event, err := readEvent(r, buffer)
	var result core.Result
	if err == nil {
		result, err = g.service.Invoker.Invoke(r.Context(), core.Invocation{Function: name, ID: id, Event: event})
	}
	// Not deferred: after a panic somebody may still read the buffer.
	if buffer.Cap() <= keptEvent {
		buffer.Reset()
		buffers.Put(buffer)
	}
	return result, err
}

// buffers are for events. A buffer larger than keptEvent is left to the garbage collector.
var buffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 4<<10)) }}

const keptEvent = 256 << 10

// noEvent is the event of an empty body.
var noEvent = []byte("{}")

// readEvent reads the body into the buffer and checks that it is one JSON value. The event it returns is in
// the buffer.
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
