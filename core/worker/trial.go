package worker

import (
	"context"
	"maps"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// tryHandler has an instance import the handler of a function that is about to be deployed, and ends it. It returns what the instance has imported
// besides what is known. An error is the handler's, KindImport, or the context's; when the worker could not make the instance, nothing is known
// against the function, and the person who waits is told.
func (w *Worker) tryHandler(ctx context.Context, fn *core.Function, progress func(core.Progress)) (loaded []string, err error) {
	done := timed(core.Progress{Verb: "import", Item: fn.Name}, progress)
	id := trialID(fn.Name, fn.Version)
	w.lastWords.expect(id)
	loaded, err = w.tree.Try(ctx, unmeasured(fn))
	if err == nil {
		w.lastWords.forget(id)
		done("", 0)
		return loaded, nil
	}
	said, _ := w.lastWords.take(id)
	e := core.AsError(err)
	switch {
	case ctx.Err() != nil:
		return nil, e
	case e.Fault != core.FaultHandler:
		progress(core.Progress{Verb: core.VerbWarn, Item: fn.Name, Detail: "the import of its handler could not be tried: " + e.Message, Ended: true})
		return nil, nil
	}
	refused := core.Errorf(core.KindImport, core.FaultHandler, "%s is not deployed, for its handler cannot be imported: %w", fn.Name, e)
	refused.Exception = e.Exception
	if said != "" {
		refused.Message += "; it printed: " + said
	}
	refused.Message += "; fix it, or deploy it without a trial with --force (force=true over HTTP)"
	return nil, refused
}

// unmeasuredBytes is what packages may take at import in a trial, when that was not measured: as much as in a probe.
const unmeasuredBytes = 4 << 30

// unmeasured returns the function with room for packages that were not probed yet: what they take is not the function's own memory.
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
