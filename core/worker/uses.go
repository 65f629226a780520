package worker

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// saveEvery is how often it is saved how much functions are used.
const saveEvery = 10 * time.Second

// uses is what the next worker is to know of this one's functions. One goroutine saves it, and the end of the worker when that has ended.
type uses struct {
	saving sync.WaitGroup
	stop   context.CancelFunc // nil before keepUses
	soon   chan struct{}      // has one when something has changed that is worth saving at once
	saved  map[string]core.Use
	last   sync.Once
}

// saveUses keeps how much functions are used, when that is something else than what is kept.
func (w *Worker) saveUses() {
	now := w.tree.Uses(func(name string) bool { _, deployed := w.store.Get(name); return deployed })
	if maps.Equal(now, w.uses.saved) {
		return
	}
	if err := w.store.SetUses(now); err != nil {
		w.log.Warn("deploy", "err", err)
		return
	}
	w.uses.saved = now
}

// keepUses saves how much functions are used now and then, until saveLastUses.
func (w *Worker) keepUses() {
	ctx, stop := context.WithCancel(context.Background())
	w.uses.stop = stop
	w.uses.saving.Go(func() {
		ticks := time.NewTicker(saveEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			case <-w.uses.soon:
			}
			w.saveUses()
		}
	})
}

// saveUsesSoon has the uses saved without waiting for that. It does nothing once the worker stops.
func (w *Worker) saveUsesSoon() {
	select {
	case w.uses.soon <- struct{}{}:
	default:
	}
}

// saveLastUses is saveUses for the last time, once: the instances of a worker that stops go, and what is saved is not to suffer from that.
func (w *Worker) saveLastUses() {
	w.uses.last.Do(func() {
		if w.uses.stop != nil {
			w.uses.stop()
			w.uses.saving.Wait()
		}
		w.saveUses()
	})
}

// resume has the zygotes made of the functions that an earlier worker has used.
func (w *Worker) resume() {
	w.uses.saved = w.store.Uses()
	var used []tree.Used
	for _, fn := range w.store.List() {
		if use, known := w.uses.saved[fn.Name]; known {
			used = append(used, tree.Used{Function: fn, Use: use})
		}
	}
	w.tree.Resume(used)
}
