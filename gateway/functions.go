package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/mux"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
)

// ndjson is the media type of one JSON value a line.
const ndjson = "application/x-ndjson"

// nameOf returns the function name in the request's path.
func nameOf(r *http.Request) (string, error) {
	encoded := mux.Vars(r)["name"]
	name, err := url.PathUnescape(encoded)
	if err != nil {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "the function name %q cannot be decoded: %w", clip(encoded), err)
	}
	return name, checkName(name)
}

// accepts reports whether the request names that media type as one it takes. A wildcard does not: it asks for the usual.
func accepts(r *http.Request, media string) bool {
	for _, line := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(line, ",") {
			one, _, _ = strings.Cut(one, ";")
			if strings.EqualFold(strings.TrimSpace(one), media) {
				return true
			}
		}
	}
	return false
}

func (g *Gateway) functions(w http.ResponseWriter, r *http.Request) error {
	functions, err := g.service.Catalog.Functions(r.Context())
	if err != nil {
		return err
	}
	if functions == nil {
		functions = []core.Function{}
	}
	return writeJSON(w, http.StatusOK, functions)
}

func (g *Gateway) function(w http.ResponseWriter, r *http.Request) error {
	name, err := nameOf(r)
	if err != nil {
		return err
	}
	functions, err := g.service.Catalog.Functions(r.Context())
	if err != nil {
		return err
	}
	names := make([]string, len(functions))
	for i, f := range functions {
		if f.Name == name {
			return writeJSON(w, http.StatusOK, f)
		}
		names[i] = f.Name
	}
	return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q%s; GET /v1/functions lists those there are", clip(name), nearest.Question(name, names))
}

func (g *Gateway) remove(w http.ResponseWriter, r *http.Request) error {
	name, err := nameOf(r)
	if err != nil {
		return err
	}
	if err := g.service.Catalog.Remove(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) tree(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := g.service.Tree.Snapshot(r.Context())
	if err != nil {
		return err
	}
	if snapshot.Nodes == nil {
		snapshot.Nodes = []core.NodeInfo{}
	}
	if snapshot.Drivers == nil {
		snapshot.Drivers = []core.DriverInfo{}
	}
	return writeJSON(w, http.StatusOK, snapshot)
}

// deploy makes a function of the body: of the path's name with PUT, of the manifest's with POST.
func (g *Gateway) deploy(w http.ResponseWriter, r *http.Request) error {
	request, err := optionsOf(r)
	if err != nil {
		return err
	}
	request.Archive = r.Body
	if r.Method == http.MethodPut {
		if request.Name, err = nameOf(r); err != nil {
			return err
		}
	}
	if request.Signature, err = signatureOf(r.Header); err != nil {
		return err
	}
	return g.follow(w, r, "function", func(progress func(core.Progress)) (any, int, error) {
		function, err := g.service.Catalog.Deploy(r.Context(), request, progress)
		if err != nil {
			return nil, 0, err
		}
		return function, deployed(w, function), nil
	})
}

// optionsOf returns a request with the options of a deploy that the query has.
func optionsOf(r *http.Request) (options core.DeployRequest, err error) {
	if options.Anew, err = flag(r, "anew"); err == nil {
		options.Force, err = flag(r, "force")
	}
	switch wait := r.URL.Query().Get("wait"); wait {
	case "", "deployed":
	case "ready":
		options.Ready = true
	default:
		err = core.Errorf(core.KindInvalid, core.FaultCaller, "wait is %q; it is deployed or ready", clip(wait))
	}
	return options, err
}

// lock resolves the packages of the body.
func (g *Gateway) lock(w http.ResponseWriter, r *http.Request) error {
	if g.service.Locker == nil {
		return notFound(w, r)
	}
	return g.follow(w, r, "lock", func(progress func(core.Progress)) (any, int, error) {
		lock, err := g.service.Locker.Lock(r.Context(), core.DeployRequest{Archive: r.Body}, progress)
		return lock, http.StatusOK, err
	})
}

// flag returns a parameter of the query that is true or false, false without one.
func flag(r *http.Request, name string) (bool, error) {
	switch value := r.URL.Query().Get(name); value {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is %q; it is true or false", name, clip(value))
	}
}

// deployed returns the status of a deploy that went well.
func deployed(w http.ResponseWriter, f core.Function) int {
	if f.Replaced > 0 {
		return http.StatusOK
	}
	w.Header().Set("Location", "/v1/functions/"+url.PathEscape(f.Name))
	return http.StatusCreated
}

// follow answers with what work on the request's body gives, and its status. When the request asks for that, it tells of the work while
// it goes on; the status is 200 from the first progress on then, and what ends before has the status it has without a stream.
func (g *Gateway) follow(w http.ResponseWriter, r *http.Request, what string, work func(progress func(core.Progress)) (any, int, error)) error {
	if !accepts(r, ndjson) {
		value, code, err := work(nil)
		if err != nil {
			return ofDeploy(err)
		}
		return writeJSON(w, code, value)
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
		if line, err := jsonLine(value); err == nil {
			_, _ = w.Write(line) // a caller that has gone ends the request's context, and with it the work
			_ = control.Flush()
		}
	}
	value, code, err := work(func(p core.Progress) { send(http.StatusOK, map[string]core.Progress{"progress": p}) })
	switch {
	case err == nil:
		send(code, map[string]any{what: value})
	case begun:
		e := settle(r, err)
		g.note(r, e)
		send(0, bodyOf(e))
	default:
		return ofDeploy(err)
	}
	return nil
}
