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
	var asked struct {
		Set   map[string]*string `json:"set"`
		Unset []string           `json:"unset"`
	}
	if err := question(w, r, &asked); err != nil {
		return err
	}
	change := core.EnvChange{Set: map[string]string{}, Unset: asked.Unset, Force: options.Force, Ready: options.Ready}
	for name, value := range asked.Set {
		if value == nil {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "the value of %s is null; set a text, or have the variable in unset", gateway.Clip(name))
		}
		change.Set[name] = *value
	}
	if change.Function, err = gateway.NameOf(r); err != nil {
		return err
	}
	return a.follow(w, r, "function", func(progress func(core.Progress)) (any, int, error) {
		function, err := a.service.Settings.SetEnv(r.Context(), change, progress)
		return function, http.StatusOK, err
	})
}
