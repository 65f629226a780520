package worker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// reports writes down how events have ended: in the worker's log, and in those of functions.
type reports struct {
	log     *slog.Logger
	logs    *logs
	secrets *secrets
	counts  *counts
}

// refusalRest is how often at the most a log reports events that were refused because there were too many.
const refusalRest = time.Second

// failed writes down that an event of a function has failed: a line in the worker's log, and one with all
// that is known in the function's.
func (r *reports) failed(fn *core.Function, invocation core.Invocation, node core.NodeID, err error) {
	e, log := core.AsError(r.secrets.hide(fn, err)), r.logs.of(fn.Name, fn.Version)
	text := e.Message
	if e.Kind == core.KindExhausted && log != nil {
		more, tell := log.refuse(time.Now())
		if !tell {
			return
		}
		if more > 0 {
			text = fmt.Sprintf("%s (and %s since the last such line)", text, core.Count(more, "event more was refused", "events more were refused"))
		}
	}
	attributes := []any{"fn", fn.Name, "version", fn.Version, "request", invocation.ID, "kind", e.Kind, "fault", e.Fault}
	if node != "" {
		attributes = append(attributes, "node", node)
	}
	if e.Fault != core.FaultHandler { // else it is in the function's log, and its author's affair
		attributes = append(attributes, "err", text)
	}
	r.log.Warn("invoke", attributes...)
	if log == nil {
		return
	}
	line := core.LogLine{Time: time.Now().UTC(), Function: fn.Name, Request: invocation.ID, Node: node, Stream: "worker", Text: core.Clip(strings.TrimSuffix(text, core.SeeLogs), maxLine),
		Failure: &core.Failure{Kind: e.Kind, Fault: e.Fault}}
	if e.Exception != nil {
		line.Failure.Exception = e.Exception.Short()
	}
	log.add(line)
}

// retired writes down that an instance was ended after an event, in the worker's log and in the function's.
func (r *reports) retired(fn *core.Function, invocation core.Invocation, node core.NodeID, why string) {
	r.log.Info("evict", "fn", fn.Name, "version", fn.Version, "request", invocation.ID, "node", node, "err", why)
	if log := r.logs.of(fn.Name, fn.Version); log != nil {
		log.add(core.LogLine{Time: time.Now().UTC(), Function: fn.Name, Request: invocation.ID, Node: node, Stream: "worker", Text: "the instance was ended after this event: " + why})
	}
}

// refused writes down what an instance was refused by the router.
func (r *reports) refused(config core.SandboxConfig, text string) {
	r.counts.refused(config.Function)
	if log := r.logs.of(config.Function, config.Version); log != nil {
		log.add(core.LogLine{Time: time.Now().UTC(), Function: config.Function, Node: config.ID, Stream: "worker", Text: text})
	}
}

// add writes one line.
func (f *functionLog) add(line core.LogLine) {
	var out bytes.Buffer
	appendLine(&out, line)
	f.write(out.Bytes())
}

// refuse reports whether the log is to tell of one more event that was refused, and how many it was not told
// of since it was told last.
func (f *functionLog) refuse(now time.Time) (more int, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.refused) < refusalRest {
		f.more++
		return 0, false
	}
	more, f.more, f.refused = f.more, 0, now
	return more, true
}

// event writes the line about an event that another function has sent: of the others the gateway does, which
// has more to say.
func (r *reports) event(fn *core.Function, invocation core.Invocation, result core.Result, err error) {
	kind := core.KindNone
	if err != nil {
		kind = core.AsError(err).Kind
	}
	r.log.Info("event", "fn", fn.Name, "version", fn.Version, "request", invocation.ID, "depth", invocation.Depth, "start", startOf(result),
		"took", result.Phases.Total, "kind", kind, "in", len(invocation.Event), "out", len(result.Body))
}
