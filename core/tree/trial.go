package tree

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Trial is the outcome of an instance that was started to see what its handler does when it is imported.
type Trial struct {
	core.HandlerReport
	Ahead bool // modules had been imported before the handler
}

// Try starts an instance of a function as Start does, and ends it again: no error means that its handler can
// be imported. With alone, no module is imported before the handler. The errors are those of Start. Nothing
// is left of the instance.
func (t *Tree) Try(ctx context.Context, fn *core.Function, alone bool) (trial Trial, err error) {
	if alone {
		bare := *fn
		bare.Imports, bare.Loaded, bare.Aside, bare.Changes = nil, nil, fn.Packages, []string{core.AllVariables}
		fn = &bare
	}
	n, _, _, err := t.startOrTry(ctx, fn, "", &trial)
	if err != nil {
		return trial, err
	}
	n.Kill()
	<-n.Done()
	return trial, nil
}
