package v1

import (
	"errors"
	"io"
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// vault answers requests about secrets.
type vault struct{ secrets core.Secrets }

func (v vault) list(w http.ResponseWriter, r *http.Request) error {
	all, err := v.secrets.Secrets(r.Context())
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, all)
}

// set takes the body as the value, byte for byte.
func (v vault) set(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, core.MaxSecret))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return core.Errorf(core.KindTooLarge, core.FaultCaller, "the value of a secret has at most %d bytes", core.MaxSecret)
	case err != nil:
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the body breaks off: %w", err)
	}
	info, err := v.secrets.SetSecret(r.Context(), name, value)
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, info)
}

func (v vault) remove(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	if err := v.secrets.RemoveSecret(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
