package supply

import (
	"context"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
)

// Functions implements core.Catalog.
func (s *Supply) Functions(context.Context) ([]core.Function, error) {
	all := s.store.List()
	for i := range all {
		all[i].Vulnerable = s.advisories.worst(all[i])
		all[i].Unready = s.live.Unready(&all[i])
		all[i].Network = all[i].Network.Under(s.network)
		all[i].Apart = s.live.Apart(&all[i])
	}
	return all, nil
}

// Remove implements core.Catalog.
func (s *Supply) Remove(_ context.Context, name string) error {
	removed, err := s.removeAll([]string{name}, "")
	if err == nil && len(removed) == 0 {
		return s.NotFound(name)
	}
	return err
}

// NotFound returns the error for a function that does not exist. It names the function or application that
// was probably meant.
func (s *Supply) NotFound(name string) error {
	if names := s.FunctionsOf(name); len(names) > 0 {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "%q is an application; its functions are %s", name, strings.Join(names, ", "))
	}
	var names []string
	for _, fn := range s.store.List() {
		names = append(names, fn.Name)
	}
	return NotFound(name, names...)
}

// NotFound is the error of a function that there is not, but others.
func NotFound(name string, others ...string) error {
	return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q%s; pipsqueak list shows those that are deployed", name, nearest.Question(name, others))
}
