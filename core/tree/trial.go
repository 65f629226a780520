package tree

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Try starts an instance of a version of a function that is not deployed, as Start does, and ends it: its handler can be imported. It
// returns what the instance has imported besides what the function is known to import. The errors are those of Start, and nothing is left.
func (t *Tree) Try(ctx context.Context, fn *core.Function) (loaded []string, err error) {
	n, _, _, err := t.Start(ctx, fn, "")
	if err != nil {
		return nil, err
	}
	n.Kill()
	<-n.Done()
	return n.loaded, nil
}
