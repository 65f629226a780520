package v1

import (
	"net/http"
	"net/url"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// tenants answers requests about namespaces.
type tenants struct{ namespaces core.Namespaces }

func (t tenants) list(w http.ResponseWriter, r *http.Request) error {
	all, err := t.namespaces.Namespaces(r.Context())
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, all)
}

func (t tenants) create(w http.ResponseWriter, r *http.Request) error {
	var spec core.NamespaceSpec
	if err := question(w, r, &spec); err != nil {
		return err
	}
	if err := t.namespaces.CreateNamespace(r.Context(), spec); err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/namespaces/"+url.PathEscape(spec.Name))
	return gateway.WriteJSON(w, http.StatusCreated, spec)
}

func (t tenants) set(w http.ResponseWriter, r *http.Request) error {
	var spec core.NamespaceSpec
	name, err := gateway.NameOf(r)
	if err == nil {
		err = question(w, r, &spec)
	}
	if err != nil {
		return err
	}
	if spec.Name != "" && spec.Name != name {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the path has the namespace %q, and the body %q", gateway.Clip(name), gateway.Clip(spec.Name))
	}
	spec.Name = name
	if err := t.namespaces.SetNamespace(r.Context(), spec); err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, spec)
}

func (t tenants) remove(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	if err := t.namespaces.RemoveNamespace(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
