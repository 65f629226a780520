package supply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

// An application is what its functions have in common: nothing is kept of it but its name, with each of them.

// DeployApplication implements core.Applications.
func (s *Supply) DeployApplication(ctx context.Context, request core.ApplicationRequest, progress func(core.Progress)) (_ core.Application, err error) {
	b := s.newBatch(request.Name, progress)
	defer func() { b.end(err) }()
	if err := core.ValidName(request.Name); err != nil {
		return core.Application{}, err
	}
	done, err := s.claims.name(request.Name)
	if err != nil {
		return core.Application{}, err
	}
	b.ends = append(b.ends, done)
	if fn, is := s.store.Get(request.Name); is {
		return core.Application{}, core.Errorf(core.KindConflict, core.FaultCaller,
			"there is a function %q, so an application cannot have the name too: give it another with 'name' in %s or --name", fn.Name, bundle.SettingsFile)
	}
	if err := b.run(ctx, b.listed(request)); err != nil {
		return core.Application{}, err
	}
	deployed := core.Application{Name: request.Name, Removed: b.gone}
	for _, d := range b.all {
		deployed.Functions = append(deployed.Functions, d.fn)
	}
	return deployed, nil
}

// listed yields the functions of a request. At its end it is known which functions the application has no
// more, and their names are kept for this deploy too.
func (b *batch) listed(request core.ApplicationRequest) func(yield func(core.DeployRequest, error) bool) {
	return func(yield func(core.DeployRequest, error) bool) {
		for one, err := range request.Functions {
			if err == nil && len(b.all) == core.MaxFunctions {
				err = core.Errorf(core.KindTooLarge, core.FaultCaller, "the application %s has more than %d functions: make it several applications", b.application, core.MaxFunctions)
			}
			if !yield(one, err) || err != nil {
				return
			}
		}
		if err := b.leaveOut(); err != nil {
			yield(core.DeployRequest{}, err)
		}
	}
}

// leaveOut finds out which functions the application has no more.
func (b *batch) leaveOut() error {
	if len(b.all) == 0 {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the application %s has no function: list one below 'functions' in %s, or remove the application", b.application, bundle.SettingsFile)
	}
	before, kept := b.FunctionsOf(b.application), false
	for _, name := range before {
		if slices.ContainsFunc(b.all, func(d *deployment) bool { return d.fn.Name == name }) {
			kept = true
			continue
		}
		done, err := b.claims.name(name)
		if err != nil {
			return err
		}
		b.ends = append(b.ends, done)
		if b.isOf(name, b.application) {
			b.gone = append(b.gone, name)
		}
	}
	if len(before) > 0 && !kept {
		return core.Errorf(core.KindConflict, core.FaultCaller,
			"there is an application %q with other functions (%s), and none of them is in this one: give this one another name with 'name' in %s or --name, or remove that one first",
			b.application, strings.Join(before, ", "), bundle.SettingsFile)
	}
	return nil
}

// belongs puts a function into the deploy's application, or leaves it in the one that it is in.
func (b *batch) belongs(d *deployment) error {
	before, _ := b.store.Get(d.fn.Name)
	d.fn.Application, d.fn.EnvSet = before.Application, before.EnvSet
	if err := d.fn.Agree(); err != nil {
		return err
	}
	switch {
	case b.application != "" && core.Namespace(d.fn.Name) != core.Namespace(b.application):
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the function %s is not in the namespace of its application %s: leave its namespace out, or name the application in the same one", d.fn.Name, b.application)
	case len(b.FunctionsOf(d.fn.Name)) > 0:
		return takenByApplication(d.fn.Name)
	case b.application != "" && before.Application != "" && before.Application != b.application:
		return core.Errorf(core.KindConflict, core.FaultCaller, "there is a function %q already, of the application %s: give this one another name, or remove that one first", d.fn.Name, before.Application)
	case b.application != "":
		d.fn.Application = b.application
	}
	return nil
}

func takenByApplication(name string) error {
	return core.Errorf(core.KindConflict, core.FaultCaller, "%q is the name of an application, so a function cannot have it: give one of them another name", name)
}

// because says for which function nothing of an application has changed.
func (b *batch) because(err error) error {
	if b.application == "" {
		return err
	}
	e := *core.AsError(err)
	e.Message = fmt.Sprintf("nothing of the application %s has changed, because of its function %s: %s", b.application, b.function, e.Message)
	return &e
}

// FunctionsOf returns the names of an application's functions, in order.
func (s *Supply) FunctionsOf(application string) (names []string) {
	for _, fn := range s.store.List() {
		if fn.Application == application && application != "" {
			names = append(names, fn.Name)
		}
	}
	return names
}

// RemoveApplication implements core.Applications.
func (s *Supply) RemoveApplication(_ context.Context, name string) ([]string, error) {
	done, err := s.claims.name(name)
	if err != nil {
		return nil, err
	}
	defer done()
	removed, err := s.removeAll(s.FunctionsOf(name), name)
	if err == nil && len(removed) == 0 {
		return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no application %q; pipsqueak list shows those that are deployed", name)
	}
	return removed, err
}

// isOf reports whether a function is of an application now, or is at all when the application is "".
func (s *Supply) isOf(name, application string) bool {
	fn, ok := s.store.Get(name)
	return ok && (application == "" || fn.Application == application)
}

// removeAll removes functions at once, and returns them: those that are of the application when their names
// are kept. Another deploy or removal may have been quicker.
func (s *Supply) removeAll(names []string, application string) (removed []string, err error) {
	for _, name := range names {
		done, err := s.claims.name(name)
		if err != nil {
			return nil, err
		}
		defer done()
		if s.isOf(name, application) {
			removed = append(removed, name)
		}
	}
	if len(removed) == 0 {
		return nil, nil
	}
	if err := s.replace(nil, removed); err != nil {
		return nil, err
	}
	for _, name := range removed {
		s.forget(name)
	}
	s.care.collect()
	return removed, nil
}

// replace puts functions in the place of those of their names, takes others away, and ends the zygotes that
// are of no use then.
func (s *Supply) replace(put []core.Function, gone []string) error {
	var before []core.Function
	for _, fn := range s.store.List() {
		if slices.Contains(gone, fn.Name) || slices.ContainsFunc(put, func(f core.Function) bool { return f.Name == fn.Name }) {
			before = append(before, fn)
		}
	}
	if err := s.store.Switch(put, gone); err != nil {
		return err
	}
	s.switched(before)
	return nil
}

// switched ends the zygotes that are of no use after these functions were replaced or removed.
func (s *Supply) switched(before []core.Function) {
	ended := s.live.Switched(before)
	if len(ended) == 0 {
		return
	}
	s.learning.begin(func(ctx context.Context) {
		for _, done := range ended {
			select {
			case <-done:
			case <-ctx.Done():
				return
			}
		}
		s.care.collect() // their packages
	})
}

// forget ends the instances of a function that is deployed no more, and removes what was kept of it.
func (s *Supply) forget(name string) {
	s.live.Removed(name, s.store.Removed(name))
	s.learning.forget(name)
	s.advisories.forget(name)
}
