package v1

import (
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// ndjson is the media type of JSON values, one a line.
const ndjson = "application/x-ndjson"

// follow runs work and answers with its value and status. If the caller accepts NDJSON, progress is streamed;
// the status is then 200 from the first line on. Work that ends before any progress keeps its own status.
func (a *api) follow(w http.ResponseWriter, r *http.Request, what string, work func(progress func(core.Progress)) (any, int, error)) error {
	if !gateway.Accepts(r, ndjson) {
		value, code, err := work(nil)
		if err != nil {
			return ofDeploy(err)
		}
		return gateway.WriteJSON(w, code, value)
	}
	control := http.NewResponseController(w)
	// Progress may come while the archive is still being read. Without full duplex net/http would discard the
	// rest of it with the first line.
	if err := control.EnableFullDuplex(); err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "cannot send progress on this connection: %w", err)
	}
	// The connection takes no further request. After a body that was not read to its end, net/http would
	// panic while it waits for one ("invalid concurrent Body.Read call", seen with Go 1.26).
	w.Header().Set("Connection", "close")
	begun := false
	send := func(code int, value any) {
		if !begun {
			w.Header().Set("Content-Type", ndjson)
			w.WriteHeader(code)
			begun = true
		}
		if line, err := gateway.JSONLine(value); err == nil {
			_, _ = w.Write(line) // when the caller has gone, the request's context ends the work
			_ = control.Flush()
		}
	}
	value, code, err := work(func(p core.Progress) { send(http.StatusOK, map[string]core.Progress{"progress": p}) })
	switch {
	case err == nil:
		send(code, map[string]any{what: value})
	case begun:
		send(0, gateway.ErrorBody(a.front.Failure(w, r, err)))
	default:
		return ofDeploy(err)
	}
	return nil
}

// ofDeploy gives an error of a deploy its status. The caller of a deploy sends the function, so its author's
// mistake is a bad request and not a bad answer. The error still says that the fault is the handler's.
func ofDeploy(err error) error {
	e := core.AsError(err)
	if e.Fault != core.FaultHandler {
		return err
	}
	asCaller := *e
	asCaller.Fault = core.FaultCaller
	return gateway.WithStatus(gateway.Status(&asCaller), e)
}
