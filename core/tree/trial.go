package tree

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Trial is what became of an instance that was started to see what its handler does when it is imported.
type Trial struct {
	core.HandlerReport
	Ahead bool // something had been imported ahead of the handler
}

// Try starts an instance of a function, as Start does, and ends it: its handler can be imported. With alone,
// nothing is imported ahead of that. The errors are those of Start, and nothing is left.
func (t *Tree) Try(ctx context.Context, fn *core.Function, alone bool) (trial Trial, err error) {
	if alone {
		bare := *fn
		bare.Imports, bare.Loaded, bare.Aside = nil, nil, fn.Packages
		fn = &bare
	}
	n, _, _, err := t.begin(ctx, fn, "", &trial)
	if err != nil {
		return trial, err
	}
	n.Kill()
	<-n.Done()
	return trial, nil
}
