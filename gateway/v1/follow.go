package v1

import (
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// ndjson is the media type of one JSON value a line.
const ndjson = "application/x-ndjson"

// follow answers with what work on the request's body gives, and its status. When the request asks for that, it tells of the work while
// it goes on; the status is 200 from the first progress on then, and what ends before has the status it has without a stream.
func (a *api) follow(w http.ResponseWriter, r *http.Request, what string, work func(progress func(core.Progress)) (any, int, error)) error {
	if !gateway.Accepts(r, ndjson) {
		value, code, err := work(nil)
		if err != nil {
			return ofDeploy(err)
		}
		return gateway.WriteJSON(w, code, value)
	}
	control := http.NewResponseController(w)
	// Progress may come while the archive is still being read; without this net/http would throw the rest away with the first line.
	if err := control.EnableFullDuplex(); err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "cannot send progress on this connection: %w", err)
	}
	// A body that was not read to its end makes net/http panic on such a connection when it waits for the next request ("invalid
	// concurrent Body.Read call", seen with Go 1.26), so there is no next one.
	w.Header().Set("Connection", "close")
	begun := false
	send := func(code int, value any) {
		if !begun {
			w.Header().Set("Content-Type", ndjson)
			w.WriteHeader(code)
			begun = true
		}
		if line, err := gateway.JSONLine(value); err == nil {
			_, _ = w.Write(line) // a caller that has gone ends the request's context, and with it the work
			_ = control.Flush()
		}
	}
	value, code, err := work(func(p core.Progress) { send(http.StatusOK, map[string]core.Progress{"progress": p}) })
	switch {
	case err == nil:
		send(code, map[string]any{what: value})
	case begun:
		send(0, gateway.ErrorBody(a.front.Failure(r, err)))
	default:
		return ofDeploy(err)
	}
	return nil
}

// ofDeploy gives an error of a deploy its status. There the function is what the caller has sent, so what its author has done
// wrong is a bad request and not a bad answer; the error still says that the fault is the handler's.
func ofDeploy(err error) error {
	e := core.AsError(err)
	if e.Fault != core.FaultHandler {
		return err
	}
	asCaller := *e
	asCaller.Fault = core.FaultCaller
	return gateway.WithStatus(gateway.Status(&asCaller), e)
}
