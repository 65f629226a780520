package worker

import (
	"maps"
	"slices"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// uses is what the next worker is to know of this one's functions.
type uses struct {
	mu    sync.Mutex
	saved map[string]core.Use
	ended bool // the worker stops: its instances go, and what is saved is not to suffer from that
}

// saveUses keeps how much functions are used, when that is something else than what is kept.
func (w *Worker) saveUses() {
	w.uses.mu.Lock()
	defer w.uses.mu.Unlock()
	if w.uses.ended {
		return
	}
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

// saveLastUses is saveUses for the last time.
func (w *Worker) saveLastUses() {
	w.saveUses()
	w.uses.mu.Lock()
	w.uses.ended = true
	w.uses.mu.Unlock()
}

// replace puts functions in the place of those of their names, takes others away, and ends the zygotes that are of no use then.
func (w *Worker) replace(put []core.Function, gone []string) error {
	var before []core.Function
	for _, fn := range w.store.List() {
		if slices.Contains(gone, fn.Name) || slices.ContainsFunc(put, func(f core.Function) bool { return f.Name == fn.Name }) {
			before = append(before, fn)
		}
	}
	if err := w.store.Switch(put, gone); err != nil {
		return err
	}
	dropped := w.tree.Drop(before, w.store.List())
	if len(dropped) > 0 && w.learning.join() {
		go func() {
			defer w.learning.working.Done()
			for _, n := range dropped {
				select {
				case <-n.Done():
				case <-w.learning.ctx.Done():
					return
				}
			}
			w.collect() // their packages
		}()
	}
	return nil
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
