package supply

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxChanges is how many variables a function is believed to set: above it, they count as all.
const maxChanges = 64

// tryHandler has an instance import the handler of the function, and ends it. It notes with the function
// which variables that has changed, and keeps what the instance has imported besides what is known. An error
// is the handler's, KindImport, or the context's; when the worker could not make the instance, nothing is
// known against the function, and the person who waits is told.
func (d *deployment) tryHandler(ctx context.Context) error {
	fn := &d.fn
	done := d.timed(core.Progress{Verb: "import", Item: fn.Name})
	id := trialID(fn.Name, fn.Version)
	d.bench.lastWords.expect(id)
	trial, err := d.importOnce(ctx, fn, func() {
		d.bench.lastWords.forget(id)
		d.bench.lastWords.expect(id)
	})
	if err == nil {
		d.bench.lastWords.forget(id)
		note(fn, trial)
		done("", 0)
		d.loaded = trial.Loaded
		return nil
	}
	said, _ := d.bench.lastWords.take(id)
	e := core.AsError(err)
	switch {
	case ctx.Err() != nil:
		return e
	case e.Fault != core.FaultHandler:
		untried(fn)
		d.warn(fn.Name, "the import of its handler could not be tried: "+e.Message)
		return nil
	}
	refused := core.Errorf(core.KindImport, core.FaultHandler, "%s is not deployed, for its handler cannot be imported: %w", fn.Name, e)
	refused.Exception = e.Exception
	if said != "" {
		refused.Message += "; it printed: " + d.live.Hide(fn, said)
	}
	refused.Message += "; fix it, or deploy it without a trial with --force (force=true over HTTP)"
	return refused
}

// importOnce has an instance import the handler of a function, and ends it. With something imported ahead of
// it that is only half of a trial when the handler's code sets what it looks at. So it is tried once more,
// after again, with nothing ahead, when it raises, or sets what puts apart something that was ahead.
func (k *knowledge) importOnce(ctx context.Context, fn *core.Function, again func()) (Trial, error) {
	trial, err := k.live.Try(ctx, unmeasured(fn), false)
	if !trial.Ahead || ctx.Err() != nil {
		return trial, err
	}
	switch {
	case core.IsKind(err, core.KindException):
		again()
		return k.live.Try(ctx, unmeasured(fn), true)
	case err == nil && overtook(fn, trial, k.installed(fn)):
		again()
		return k.live.Try(ctx, unmeasured(fn), true)
	}
	return trial, err
}

// overtook reports whether something that was perhaps imported ahead of a function's handler looks at what a
// trial has shown the handler to set.
func overtook(fn *core.Function, trial Trial, packages []core.Installed) bool {
	shown := *fn
	if note(&shown, trial); len(shown.Changes) == 0 {
		return false
	}
	aside := unshared(&shown, packages)
	return len(aside) > len(fn.Aside) || slices.ContainsFunc(slices.Concat(fn.Imports, fn.Loaded), func(module string) bool {
		why, _ := reason(&shown, module, packages, aside, true)
		return why != "" && fn.Apart[module] == ""
	})
}

// changes are the variables that a trial has shown a function to set, besides those that are known.
func changes(fn *core.Function, trial Trial) []string {
	known := slices.Concat(fn.OwnVariables(), fn.Sets)
	names := slices.Compact(slices.Sorted(slices.Values(trial.Sets)))
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(known, name) })
	if len(names) > maxChanges || slices.Contains(names, core.AllVariables) {
		return []string{core.AllVariables}
	}
	return names
}

// note notes what a trial has shown of a function.
func note(fn *core.Function, trial Trial) {
	fn.Watched, fn.Changes = true, nil
	if names := changes(fn, trial); len(names) > 0 {
		fn.Changes = names
	}
}

// untried notes that nobody knows yet what a function's handler does when it is imported: until then it
// imports everything itself.
func untried(fn *core.Function) {
	if fn.Watched = !hasImports(fn); !fn.Watched {
		fn.Changes = []string{core.AllVariables}
	}
}

// watch has the handler of a deployed function imported when nobody has seen what that does, for it was
// deployed by force, or by a worker that did not look. It reports whether that is something else than what
// was taken for known. End is to be called when later instances start with what is known now: it ends those
// that may have been overtaken.
func (k *knowledge) watch(ctx context.Context, name string, version int) (news bool, end func()) {
	end = func() {}
	k.watching.Lock()
	defer k.watching.Unlock()
	fn, ok := k.store.Get(name)
	if !ok || fn.Version != version || fn.Watched || !hasImports(&fn) {
		return false, end
	}
	before := slices.Concat(fn.Sets, fn.Changes)
	trial, err := k.importOnce(ctx, &fn, func() {})
	if err == nil {
		fn, err = k.store.Amend(name, version, func(f *core.Function) { note(f, trial) })
	}
	if err != nil {
		k.log.Info("import", "fn", name, "err", err) // its events tell
		return false, end
	}
	if !slices.Contains(before, core.AllVariables) && len(fn.Changes) > 0 {
		end = func() { k.live.Drain(name) }
	}
	return !slices.Equal(before, slices.Concat(fn.Sets, fn.Changes)), end
}

// watchLater does so off every request's path.
func (s *Supply) watchLater(fn core.Function) {
	s.learning.begin(func(ctx context.Context) {
		news, end := s.watch(ctx, fn.Name, fn.Version)
		if known, ok := s.store.Get(fn.Name); news && ok && known.Version == fn.Version {
			s.preloadSettled(ctx, known)
			s.settle(fn.Name, fn.Version, false)
			end()
		}
	})
}

// unmeasuredBytes is the memory that packages may take at import in a trial, when it was not measured: as
// much as in a probe.
const unmeasuredBytes = 4 << 30

// unmeasured returns the function with room for packages that were not probed yet: what they take is not the
// function's own memory.
func unmeasured(fn *core.Function) *core.Function {
	for module, why := range fn.Apart {
		if strings.HasSuffix(why, unprobed) {
			roomy := *fn
			roomy.Weights = maps.Clone(fn.Weights)
			if roomy.Weights == nil {
				roomy.Weights = map[string]int64{}
			}
			roomy.Weights[module] = unmeasuredBytes
			return &roomy
		}
	}
	return fn
}
