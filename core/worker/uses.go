package worker

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// saveEvery is how often it is saved how much functions are used.
const saveEvery = 10 * time.Second

// uses is what the next worker is to know of this one's functions. One goroutine saves it, and the end of the
// worker when that has ended.
type uses struct {
	log    *slog.Logger
	store  *store.Store
	tree   *tree.Tree
	saving sync.WaitGroup
	stop   context.CancelFunc // nil before keep
	soon   chan struct{}      // has one when something has changed that is worth saving at once
	saved  map[string]core.Use
	last   sync.Once
}

func newUses(log *slog.Logger, kept *store.Store, tree *tree.Tree) *uses {
	return &uses{log: log, store: kept, tree: tree, soon: make(chan struct{}, 1), saved: kept.Uses()}
}

// save keeps how much functions are used, when that is something else than what is kept.
func (u *uses) save() {
	now := u.tree.Uses(func(name string) bool { _, deployed := u.store.Get(name); return deployed })
	if maps.Equal(now, u.saved) {
		return
	}
	if err := u.store.SetUses(now); err != nil {
		u.log.Warn("deploy", "err", err)
		return
	}
	u.saved = now
}

// keep saves how much functions are used now and then, until saveLast.
func (u *uses) keep() {
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	u.saving.Go(func() {
		ticks := time.NewTicker(saveEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			case <-u.soon:
			}
			u.save()
		}
	})
}

// saveSoon has the uses saved without waiting for that. It does nothing once the worker stops.
func (u *uses) saveSoon() {
	select {
	case u.soon <- struct{}{}:
	default:
	}
}

// saveLast is save for the last time, once: the instances of a worker that stops go, and what is saved is not
// to suffer from that.
func (u *uses) saveLast() {
	u.last.Do(func() {
		if u.stop != nil {
			u.stop()
			u.saving.Wait()
		}
		u.save()
	})
}

// resume has the zygotes made of the functions that an earlier worker has used.
func (u *uses) resume() {
	var used []tree.Used
	for _, fn := range u.store.List() {
		if use, known := u.saved[fn.Name]; known {
			used = append(used, tree.Used{Function: fn, Use: use})
		}
	}
	u.tree.Resume(used)
}
