package v1

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

func (a *api) functions(w http.ResponseWriter, r *http.Request) error {
	functions, err := a.service.Catalog.Functions(r.Context())
	if err != nil {
		return err
	}
	if namespace := r.URL.Query().Get("namespace"); namespace != "" {
		functions = slices.DeleteFunc(functions, func(f core.Function) bool { return core.Namespace(f.Name) != namespace })
	}
	if functions == nil {
		functions = []core.Function{}
	}
	return gateway.WriteJSON(w, http.StatusOK, functions)
}

func (a *api) function(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	functions, err := a.service.Catalog.Functions(r.Context())
	if err != nil {
		return err
	}
	names := make([]string, len(functions))
	for i, f := range functions {
		if f.Name == name {
			return gateway.WriteJSON(w, http.StatusOK, f)
		}
		names[i] = f.Name
	}
	return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q%s; GET /v1/functions lists those there are", gateway.Clip(name), nearest.Question(name, names))
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	if err := a.service.Catalog.Remove(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) tree(w http.ResponseWriter, r *http.Request) error {
	snapshot, err := a.service.Tree.Snapshot(r.Context())
	if err != nil {
		return err
	}
	if snapshot.Nodes == nil {
		snapshot.Nodes = []core.NodeInfo{}
	}
	if snapshot.Drivers == nil {
		snapshot.Drivers = []core.DriverInfo{}
	}
	return gateway.WriteJSON(w, http.StatusOK, snapshot)
}

func (a *api) demand(w http.ResponseWriter, r *http.Request) error {
	demand, err := a.service.Planner.Demand(r.Context())
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, demand)
}

// deploy deploys the body as a function. PUT names it in the path, POST in the settings.
func (a *api) deploy(w http.ResponseWriter, r *http.Request) error {
	request, err := optionsOf(r)
	if err != nil {
		return err
	}
	request.Archive = r.Body
	if r.Method == http.MethodPut {
		if request.Name, err = gateway.NameOf(r); err != nil {
			return err
		}
	}
	if request.Signature, err = signatureOf(r.Header); err != nil {
		return err
	}
	return a.follow(w, r, "function", func(progress func(core.Progress)) (any, int, error) {
		function, err := a.service.Catalog.Deploy(r.Context(), request, progress)
		if err != nil {
			return nil, 0, err
		}
		return function, deployed(w, function), nil
	})
}

// optionsOf returns a deploy request with the options in the query.
func optionsOf(r *http.Request) (options core.DeployRequest, err error) {
	if options.Again, err = flag(r, "anew"); err == nil {
		options.Force, err = flag(r, "force")
	}
	switch wait := r.URL.Query().Get("wait"); wait {
	case "", "deployed":
	case "ready":
		options.Ready = true
	default:
		err = core.Errorf(core.KindInvalid, core.FaultCaller, "wait is %q; it is deployed or ready", gateway.Clip(wait))
	}
	return options, err
}

// lock resolves the packages of the archive in the body.
func (a *api) lock(w http.ResponseWriter, r *http.Request) error {
	if a.service.Locker == nil {
		return gateway.NotFound(w, r)
	}
	return a.follow(w, r, "lock", func(progress func(core.Progress)) (any, int, error) {
		lock, err := a.service.Locker.Lock(r.Context(), core.DeployRequest{Archive: r.Body}, progress)
		return lock, http.StatusOK, err
	})
}

// flag returns a boolean parameter of the query, false when it is absent.
func flag(r *http.Request, name string) (bool, error) {
	switch value := r.URL.Query().Get(name); value {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is %q; it is true or false", name, gateway.Clip(value))
	}
}

// deployed returns the status of a successful deploy.
func deployed(w http.ResponseWriter, f core.Function) int {
	if f.Replaced > 0 {
		return http.StatusOK
	}
	w.Header().Set("Location", "/v1/functions/"+url.PathEscape(f.Name))
	return http.StatusCreated
}
