package supply

import (
	"cmp"
	"context"
	"math/rand/v2"
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
	sampleFiles       = 32 // of one package or code, each time
)

// care looks after the store in the background: it collects packages, verifies a few files now and then, and
// tries again to repair what is damaged. It implements core.Packages.
type care struct {
	*Supply
	age   time.Duration // of packages that are collected
	limit int64         // of all packages, in bytes; 0 for half of the file system

	ctx     context.Context // ends with the supply
	cancel  context.CancelFunc
	working sync.WaitGroup
	wanted  chan struct{}    // asks for a collection
	next    []store.HeldTree // to be sampled; their holds are released
}

func newCare(s *Supply, age time.Duration, limit int64) *care {
	c := &care{Supply: s, age: cmp.Or(age, defaultPackageAge), limit: limit, wanted: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// start begins to look after the store, until stop.
func (c *care) start() { c.working.Go(c.keep) }

// stop returns when nothing is being done in the background any more.
func (c *care) stop() {
	c.cancel()
	c.working.Wait()
}

func (c *care) keep() {
	hourly, sampling := time.NewTicker(collectEvery), time.NewTicker(sampleEvery)
	defer hourly.Stop()
	defer sampling.Stop()
	c.repairAll()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.wanted:
			c.collectPackages()
		case <-hourly.C:
			c.repairAll()
			c.collectPackages()
		case <-sampling.C:
			if !c.claims.deploys() && !c.live.Busy() { // else the processors have better to do
				c.sample()
			}
		}
	}
}

// collect removes what nobody uses any more: code at once, packages soon. A failure costs disk space only.
func (c *care) collect() {
	if _, err := c.store.Collect(c.live.Uses); err != nil {
		c.log.Warn("collect", "err", err)
	}
	select {
	case c.wanted <- struct{}{}:
	default: // it has been asked for already
	}
}

func (c *care) collectPackages() {
	c.store.CollectLocks(time.Now().Add(-c.age))
	if _, err := c.Collect(c.ctx, c.age); err != nil {
		c.log.Warn("collect", "err", err)
	}
}

// Collect implements core.Packages.
func (c *care) Collect(_ context.Context, olderThan time.Duration) ([]core.Installed, error) {
	limit, err := c.storeLimit()
	if err != nil {
		return nil, err
	}
	removed, err := c.store.CollectPackages(store.Keep{Since: time.Now().Add(-olderThan), Limit: limit}, c.live.Uses)
	for _, p := range removed {
		c.log.Info("collect", "package", p, "rt", p.Runtime, "size", p.Size, "used", p.Used)
	}
	return removed, err
}

// storeLimit returns how many bytes packages may have.
func (c *care) storeLimit() (int64, error) {
	if c.limit > 0 {
		return c.limit, nil
	}
	size, _, err := c.store.Disk()
	return size / 2, err
}

// repairAll tries to repair everything that is damaged.
func (c *care) repairAll() {
	for tree := range c.store.Damaged() {
		if c.ctx.Err() != nil {
			return
		}
		name := c.packageOf(tree)
		if err := c.repair(c.ctx, tree); err != nil {
			c.log.Warn("quarantine", "package", name, "digest", tree.Digest, "err", err)
		} else {
			c.log.Info("quarantine", "package", name, "digest", tree.Digest, "outcome", "it is whole again, or was removed")
		}
	}
}

// sample verifies a few files of the package or code whose turn it is.
func (c *care) sample() {
	if len(c.next) == 0 {
		c.next = c.store.HoldTrees()
		for _, tree := range c.next {
			tree.Release()
		}
		rand.Shuffle(len(c.next), func(i, j int) { c.next[i], c.next[j] = c.next[j], c.next[i] })
	}
	if len(c.next) == 0 {
		return
	}
	next := c.next[0].Tree
	c.next = c.next[1:]
	_, known := c.store.Damaged()[next]
	for _, tree := range c.store.HoldTrees() { // it may have been collected meanwhile
		if tree.Tree == next {
			var err error
			if sample := (files.Sample{Files: sampleFiles}); known { // it is repaired every hour, and may be whole again
				_, err = c.store.Verify(next, sample)
			} else {
				_, _, err = c.verify(c.ctx, tree, sample)
			}
			if err != nil {
				c.log.Warn("verify", "digest", next.Digest, "err", err)
			}
		}
		tree.Release()
	}
}

// verify verifies a tree, and releases its hold. It repairs damage if it can, and returns the damage.
func (c *care) verify(ctx context.Context, tree store.HeldTree, sample files.Sample) (files.Checked, *core.Damage, error) {
	checked, err := c.store.Verify(tree.Tree, sample)
	tree.Release()
	if err != nil || len(checked.Damaged) == 0 {
		return checked, nil, err
	}
	d := c.damaged(ctx, tree.Tree, checked.Damaged)
	return checked, &d, nil
}

// Verify implements core.Packages.
func (c *care) Verify(ctx context.Context, request core.VerifyRequest, progress func(core.Progress)) (core.Verified, error) {
	if !(request.Sample >= 0 && request.Sample <= 100) {
		return core.Verified{}, core.Errorf(core.KindInvalid, core.FaultCaller, "a sample of %v per cent cannot be taken: it is a number from 0 to 100", request.Sample)
	}
	trees := c.store.HoldTrees()
	defer func() {
		for _, tree := range trees {
			tree.Release()
		}
	}()
	names := c.names()
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
		checked, damage, err := c.verify(ctx, tree, files.Sample{Percent: request.Sample})
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

// treeName is the name of a tree for people.
type treeName struct{ name, whole string }

func (n treeName) is(asked string) bool { return asked != "" && (asked == n.name || asked == n.whole) }
func (n treeName) String() string       { return n.whole }

// names returns the names of the packages, and those of functions for their code, which nobody can ask for.
func (c *care) names() map[store.Tree]treeName {
	names := map[store.Tree]treeName{}
	for _, fn := range c.store.List() {
		names[store.Tree{Area: store.Code, Digest: fn.Code}] = treeName{whole: "the code of " + fn.Name}
		for _, p := range fn.Packages {
			names[store.Tree{Area: store.Packages, Digest: p.Digest}] = treeName{p.Name, p.String()}
		}
	}
	for _, p := range c.store.Installed() {
		names[store.Tree{Area: store.Packages, Digest: p.Digest}] = treeName{p.Name, p.String()}
	}
	return names
}
