package worker

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// claimMissing looks up the packages of a lock, and claims those that have to be installed: while somebody else installs one of them it
// waits, for then it may be there, so that what two deploys share is fetched once. Deploys that share nothing do not wait for each
// other. The caller calls done when it has installed what is missing, or has failed to.
func (w *Worker) claimMissing(ctx context.Context, runtime core.RuntimeID, wanted []core.Locked, hold *store.Hold) (have []core.Package, missing []core.Locked, done func(), err error) {
	for {
		have, missing, err = w.store.Take(runtime, wanted, hold)
		if err != nil {
			return nil, nil, nil, err
		}
		done, busy := w.tryClaim(runtime, missing)
		if busy == nil { // but somebody may have finished just before it was claimed
			if have, missing, err = w.store.Take(runtime, wanted, hold); err != nil {
				done()
				return nil, nil, nil, err
			}
			return have, missing, done, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, nil, nil, ctx.Err()
		}
	}
}

// tryClaim claims all of the packages, or returns what is closed when one of them that is claimed is free again.
func (w *Worker) tryClaim(runtime core.RuntimeID, wanted []core.Locked) (done func(), busy <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := func(p core.Locked) string { return string(runtime) + " " + p.String() }
	for _, p := range wanted {
		if claimed := w.claims[key(p)]; claimed != nil {
			return nil, claimed
		}
	}
	mine := make(chan struct{})
	for _, p := range wanted {
		w.claims[key(p)] = mine
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range wanted {
			delete(w.claims, key(p))
		}
		close(mine)
	}, nil
}
