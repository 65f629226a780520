package v1

import (
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// setEnv changes the environment of a function as the body says.
func (a *api) setEnv(w http.ResponseWriter, r *http.Request) error {
	options, err := optionsOf(r)
	if err != nil {
		return err
	}
	change := core.EnvChange{Force: options.Force, Ready: options.Ready}
	if err := question(w, r, &change); err != nil {
		return err
	}
	if change.Function, err = gateway.NameOf(r); err != nil {
		return err
	}
	return a.follow(w, r, "function", func(progress func(core.Progress)) (any, int, error) {
		function, err := a.service.Settings.SetEnv(r.Context(), change, progress)
		return function, http.StatusOK, err
	})
}
