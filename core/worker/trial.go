package worker

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// tryHandler has an instance import the handler of a function that is about to be deployed, and ends it. It returns what the instance has imported
// besides what is known. An error is the handler's, KindImport, or the context's; when the worker could not make the instance, nothing is known
// against the function, and the person who waits is told.
func (w *Worker) tryHandler(ctx context.Context, fn *core.Function, progress func(core.Progress)) (loaded []string, err error) {
	done := timed(core.Progress{Verb: "import", Item: fn.Name}, progress)
	id := trialID(fn.Name, fn.Version)
	w.lastWords.expect(id)
	loaded, err = w.tree.Try(ctx, fn)
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
