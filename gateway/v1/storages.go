package v1

import (
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// stocks answers requests about storages.
type stocks struct{ storages core.Storages }

func (s stocks) list(w http.ResponseWriter, r *http.Request) error {
	all, err := s.storages.Storages(r.Context())
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, all)
}

func (s stocks) remove(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	if err := s.storages.RemoveStorage(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
