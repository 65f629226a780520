package worker

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

const (
	defaultPackageAge = 30 * 24 * time.Hour
	collectEvery      = time.Hour
	sampleEvery       = time.Minute
	saveEvery         = 10 * time.Second // how much functions are used
	sampleFiles       = 32               // of one package or code, each time
)

// keeper looks after the store in the background: it collects packages, verifies a few files now and then, and tries again to mend
// what is damaged.
type keeper struct {
	ctx     context.Context // ends with the worker
	cancel  context.CancelFunc
	working sync.WaitGroup
	collect chan struct{}    // asks for a collection
	next    []store.HeldTree // to be sampled; their holds are released
}

func (w *Worker) startKeeper() {
	w.keeper.ctx, w.keeper.cancel = context.WithCancel(context.Background())
	w.keeper.collect = make(chan struct{}, 1)
	w.keeper.working.Go(w.keep)
}

// stopKeeper returns when nothing is being done in the background any more.
func (w *Worker) stopKeeper() {
	if w.keeper.cancel != nil {
		w.keeper.cancel()
		w.keeper.working.Wait()
	}
}

func (w *Worker) keep() {
	hourly, sampling, saving := time.NewTicker(collectEvery), time.NewTicker(sampleEvery), time.NewTicker(saveEvery)
	defer hourly.Stop()
	defer saving.Stop()
	defer sampling.Stop()
	w.mendAll()
	for {
		select {
		case <-w.keeper.ctx.Done():
			return
		case <-w.keeper.collect:
			w.collectPackages()
		case <-hourly.C:
			w.mendAll()
			w.collectPackages()
		case <-saving.C:
			w.saveUses()
		case <-sampling.C:
			if !w.busy() {
				w.sample()
			}
		}
	}
}

// collect removes what nobody uses any more: code at once, packages soon. A failure costs disk space only.
func (w *Worker) collect() {
	if _, err := w.store.Collect(w.house.uses); err != nil {
		w.log.Warn("evict", "err", err)
	}
	select {
	case w.keeper.collect <- struct{}{}:
	default: // it has been asked for already
	}
}

func (w *Worker) collectPackages() {
	w.store.CollectLocks(time.Now().Add(-w.age))
	if _, err := w.Collect(w.keeper.ctx, w.age); err != nil {
		w.log.Warn("evict", "err", err)
	}
}

// Collect implements core.Packages.
func (w *Worker) Collect(_ context.Context, olderThan time.Duration) ([]core.Installed, error) {
	limit, err := w.storeLimit()
	if err != nil {
		return nil, err
	}
	removed, err := w.store.CollectPackages(store.Keep{Since: time.Now().Add(-olderThan), Limit: limit}, w.house.uses)
	for _, p := range removed {
		w.log.Info("evict", "package", p, "rt", p.Runtime, "size", p.Size, "used", p.Used)
	}
	return removed, err
}

// storeLimit returns how many bytes packages may have.
func (w *Worker) storeLimit() (int64, error) {
	if w.limit > 0 {
		return w.limit, nil
	}
	size, _, err := w.store.Disk()
	return size / 2, err
}

// mendAll tries to mend everything that is damaged.
func (w *Worker) mendAll() {
	for tree := range w.store.Damaged() {
		if w.keeper.ctx.Err() != nil {
			return
		}
		name := w.packageOf(tree)
		if err := w.mend(w.keeper.ctx, tree); err != nil {
			w.log.Warn("quarantine", "package", name, "digest", tree.Digest, "err", err)
		} else {
			w.log.Info("quarantine", "package", name, "digest", tree.Digest, "outcome", "it is whole again, or was removed")
		}
	}
}

// busy tells whether the processors have better to do than to look for damage.
func (w *Worker) busy() bool {
	w.mu.Lock()
	deploying := len(w.deploying)
	w.mu.Unlock()
	busy := 0
	for _, n := range w.tree.Snapshot() {
		if n.Role == core.RoleInstance && n.State == "busy" {
			busy++
		}
	}
	return deploying > 0 || busy >= runtime.NumCPU()
}

// sample verifies a few files of the package or code whose turn it is.
func (w *Worker) sample() {
	if len(w.keeper.next) == 0 {
		w.keeper.next = w.store.HoldTrees()
		for _, tree := range w.keeper.next {
			tree.Release()
		}
		rand.Shuffle(len(w.keeper.next), func(i, j int) { w.keeper.next[i], w.keeper.next[j] = w.keeper.next[j], w.keeper.next[i] })
	}
	if len(w.keeper.next) == 0 {
		return
	}
	next := w.keeper.next[0].Tree
	w.keeper.next = w.keeper.next[1:]
	for _, tree := range w.store.HoldTrees() { // it may have been collected meanwhile
		if tree.Tree == next {
			if _, _, err := w.verify(w.keeper.ctx, tree, files.Sample{Files: sampleFiles}); err != nil {
				w.log.Warn("verify", "digest", next.Digest, "err", err)
			}
		}
		tree.Release()
	}
}

// verify verifies a tree, and gives its hold free. What is damaged is dealt with and returned.
func (w *Worker) verify(ctx context.Context, tree store.HeldTree, sample files.Sample) (files.Checked, *core.Damage, error) {
	checked, err := w.store.Verify(tree.Tree, sample)
	tree.Release()
	if err != nil || len(checked.Damaged) == 0 {
		return checked, nil, err
	}
	d := w.damaged(ctx, tree.Tree, checked.Damaged)
	return checked, &d, nil
}

// Verify implements core.Packages.
func (w *Worker) Verify(ctx context.Context, request core.VerifyRequest, progress func(core.Progress)) (core.Verified, error) {
	if !(request.Sample >= 0 && request.Sample <= 100) {
		return core.Verified{}, core.Errorf(core.KindInvalid, core.FaultCaller, "a sample of %v per cent cannot be taken: it is a number from 0 to 100", request.Sample)
	}
	trees := w.store.HoldTrees()
	defer func() {
		for _, tree := range trees {
			tree.Release()
		}
	}()
	names := w.names()
	for _, asked := range request.Packages {
		if !slices.ContainsFunc(trees, func(t store.HeldTree) bool { return names[t.Tree].is(asked) }) {
			return core.Verified{}, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no package %q in the store; `pipsqueak store list` shows those there are", asked)
		}
	}
	chosen := slices.DeleteFunc(slices.Clone(trees), func(t store.HeldTree) bool {
		return len(request.Packages) > 0 && !slices.ContainsFunc(request.Packages, names[t.Tree].is)
	})
	found := core.Verified{Trees: len(chosen), Damaged: []core.Damage{}}
	for i, tree := range chosen {
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		if progress != nil {
			progress(core.Progress{Verb: "verify", Item: names[tree.Tree].String(), Done: int64(i), Total: int64(len(chosen))})
		}
		checked, damage, err := w.verify(ctx, tree, files.Sample{Percent: request.Sample})
		if err != nil {
			return found, err
		}
		found.Files, found.Bytes = found.Files+checked.Files, found.Bytes+checked.Bytes
		if damage != nil {
			found.Damaged = append(found.Damaged, *damage)
		}
	}
	return found, nil
}

// treeName is what people know a tree by.
type treeName struct{ name, whole string }

func (n treeName) is(asked string) bool { return asked != "" && (asked == n.name || asked == n.whole) }
func (n treeName) String() string       { return n.whole }

// names returns the names of the packages, and those of functions for their code, which nobody can ask for.
func (w *Worker) names() map[store.Tree]treeName {
	names := map[store.Tree]treeName{}
	for _, fn := range w.store.List() {
		names[store.Tree{Area: store.Code, Digest: fn.Code}] = treeName{whole: "the code of " + fn.Name}
		for _, p := range fn.Packages {
			names[store.Tree{Area: store.Packages, Digest: p.Digest}] = treeName{p.Name, p.String()}
		}
	}
	for _, p := range w.store.Installed() {
		names[store.Tree{Area: store.Packages, Digest: p.Digest}] = treeName{p.Name, p.String()}
	}
	return names
}
