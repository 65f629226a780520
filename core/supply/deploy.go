package supply

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

// How long third-party code may run in a deploy.
const (
	resolveTimeout = 2 * time.Minute
	installTimeout = 10 * time.Minute
	buildTimeout   = 10 * time.Minute
)

// Deploy implements core.Catalog.
func (s *Supply) Deploy(ctx context.Context, request core.DeployRequest, progress func(core.Progress)) (_ core.Function, err error) {
	one := func(yield func(core.DeployRequest, error) bool) { yield(request, nil) }
	b := s.newBatch("", progress)
	defer func() { b.end(err) }()
	if err := b.run(ctx, one); err != nil {
		return core.Function{}, err
	}
	return b.all[0].fn, nil
}

// batch is the functions of one request on their way: one, or those of an application. None of an application
// switches before all are ready.
type batch struct {
	*Supply
	application string // empty for a function alone
	function    string // the one that is looked at, empty as long as its name is not known
	progress    func(core.Progress)
	began       time.Time
	all         []*deployment
	gone        []string // functions that the application has no more
	ends        []func()
}

// newBatch returns a batch. The caller calls end, whatever became of it. Progress may be nil.
func (s *Supply) newBatch(application string, progress func(core.Progress)) *batch {
	return &batch{Supply: s, application: application, progress: progress, began: time.Now()}
}

// end releases everything that the deploy has held, the last first. If the deploy has failed, it logs why.
func (b *batch) end(err error) {
	if err != nil {
		b.refused(err)
	}
	for _, end := range slices.Backward(b.ends) {
		end()
	}
}

// How many bytes the worker's log has at the most of a deploy that failed.
const (
	maxName    = 100     // of a name, which may be none that a function can have
	maxRefusal = 2 << 10 // of the error, such as what a compiler has printed
)

// refused logs that a deploy has failed: in the worker's log, and in the function's own if a version of it is
// deployed.
func (b *batch) refused(err error) {
	e := core.AsError(err)
	var attributes []any
	if b.application != "" {
		attributes = append(attributes, "application", core.Clip(b.application, maxName))
	}
	if b.function != "" {
		attributes = append(attributes, "fn", core.Clip(b.function, maxName))
	}
	if b.failed != nil {
		b.failed(err)
	}
	b.log.Warn("deploy", append(attributes, "kind", e.Kind, "fault", e.Fault, "err", core.Clip(e.Message, maxRefusal))...)
	fn, ok := b.store.Get(b.function)
	if !ok {
		return
	}
	b.live.Note(&fn, "a deploy failed: "+e.Message)
}

// run reads all functions, makes each ready, and then switches to them.
func (b *batch) run(ctx context.Context, requests iter.Seq2[core.DeployRequest, error]) (err error) {
	if err := b.receive(ctx, requests); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.forgetTrials()
		}
	}()
	b.ends = slices.Insert(b.ends, 0, b.care.collect) // the last of all: what no function refers to is not held any more then
	for _, d := range b.all {
		b.function = d.fn.Name
		if err := b.ready(ctx, d); err != nil {
			return b.because(err)
		}
	}
	for _, d := range b.all {
		d.catchUp(ctx)
	}
	return b.take()
}

// catchUp gives a function that is ready everything that the version before it has learned in the meantime.
func (d *deployment) catchUp(ctx context.Context) {
	fn := &d.fn
	before, replaces := d.store.Get(fn.Name)
	if !replaces || !hasImports(fn) {
		return
	}
	known := fn.Loaded
	inherit(fn, &before)
	d.part(fn, !d.request.Ready)
	if d.request.Ready && !slices.Equal(known, fn.Loaded) {
		d.preload(ctx)
	}
}

// forgetTrials forgets the trials of versions that were not deployed: the next deploy may have the same
// versions.
func (b *batch) forgetTrials() {
	for _, d := range b.all {
		if d.fn.Version > 0 {
			b.live.Drain(d.fn.Name, d.fn.Replaced)
		}
	}
}

// receive unpacks the functions, and reads their descriptions of themselves.
func (b *batch) receive(ctx context.Context, requests iter.Seq2[core.DeployRequest, error]) error {
	for request, err := range requests {
		if err != nil {
			return err
		}
		b.function = request.Name
		if err := checkRoom(b.store.Staging(), b.bench.keepFree); err != nil {
			return b.because(err)
		}
		dir, told, err := bundle.Unpack(ctx, request.Archive, b.store.Staging())
		if err != nil {
			return b.because(err)
		}
		d := b.deployment(request, dir, b.progress)
		d.warn(request.Name, told...)
		// CommitCode has taken the directory if it came to that; one that cannot be removed, the next start
		// removes.
		b.ends = append(b.ends, func() { _ = b.store.Discard(dir) })
		if err := b.admit(d); err != nil {
			return b.because(err)
		}
		b.all = append(b.all, d)
	}
	return b.allow()
}

// admit decides whether a function may be deployed, before anything is resolved for it, and claims its name
// for this deploy.
func (b *batch) admit(d *deployment) error {
	err := d.identify()
	d.fn.Name = cmp.Or(d.request.Name, d.fn.Name)
	if b.application != "" {
		d.fn.Name = core.FullName(d.fn.Name, core.Namespace(b.application))
	}
	b.function = d.fn.Name
	if err != nil {
		return err
	}
	if err := core.ValidName(d.fn.Name); err != nil {
		return err
	}
	if d.fn.Name == b.application {
		return takenByApplication(d.fn.Name)
	}
	done, err := b.claims.name(d.fn.Name)
	if err != nil {
		return err
	}
	b.ends = append(b.ends, done)
	if err := b.belongs(d); err != nil {
		return err
	}
	namespace, err := b.store.Namespace(core.Namespace(d.fn.Name))
	if err != nil {
		return err
	}
	d.fn.Isolated = namespace.Isolated
	return d.checkSignature()
}

// allow refuses the functions so far when their namespaces have no room for them. It is decided again by the
// switch.
func (b *batch) allow() error {
	put := make([]core.Function, len(b.all))
	for i, d := range b.all {
		put[i] = d.fn
	}
	return b.store.Allow(put, b.gone)
}

// ready resolves, installs and builds a function, and puts its code where it will be.
func (b *batch) ready(ctx context.Context, d *deployment) (err error) {
	fn := &d.fn
	before, replaces := b.store.Get(fn.Name)
	fn.Replaced = before.Version
	fn.Version = max(fn.Replaced, b.store.Removed(fn.Name)) + 1
	d.hold = b.store.Hold()
	b.ends = append(b.ends, d.hold.Release)
	if err := d.resolve(ctx); err != nil {
		return err
	}
	if replaces {
		inherit(fn, &before)
	}
	if d.request.Force {
		untried(fn)
	}
	var release func()
	if err := d.makePlace(); err != nil {
		return err
	}
	if fn.Code == "" { // else it is what was built before
		if fn.Code, release, err = b.store.CommitCode(d.dir); err != nil {
			return err
		}
		b.ends = append(b.ends, release)
	}
	if fn.Storage != nil {
		if err := b.makeStorage(fn); err != nil {
			return err
		}
	}
	return d.arrange(ctx)
}

// arrange decides what zygotes import for the function, and tries its handler.
func (d *deployment) arrange(ctx context.Context) (err error) {
	fn := &d.fn
	d.part(fn, true)
	if d.request.Ready {
		d.prepareNow(ctx)
	}
	if d.request.Force {
		return nil
	}
	if err = d.tryHandler(ctx); err == nil && len(fn.Changes) > 0 {
		d.part(fn, !d.request.Ready)
		if d.request.Ready {
			d.preload(ctx)
		}
	}
	return err
}

// take switches to all functions at once.
func (b *batch) take() error {
	put := make([]core.Function, len(b.all))
	for i, d := range b.all {
		d.fn.Deployed = time.Now().UTC()
		put[i] = d.fn
	}
	for _, d := range b.all {
		if d.signed.IsZero() {
			continue
		}
		if err := b.store.NoteSigned(d.fn.Name, d.signed); err != nil { // before the switch: nothing that is older may come after it
			return err
		}
	}
	if err := b.replace(put, b.gone); err != nil {
		return err
	}
	for _, d := range b.all {
		b.live.Drain(d.fn.Name, d.fn.Version)
	}
	for _, name := range b.gone {
		b.forget(name)
	}
	for _, d := range b.all {
		fn := &d.fn
		if !d.request.Ready {
			b.prepareLater(*fn, d.locked)
		}
		if deployed := *fn; len(d.loaded) > 0 {
			go b.Loaded(&deployed, d.loaded)
		}
		fn.Unready = b.live.Unready(fn)
		fn.Network = fn.Network.Under(b.network)
		fn.Vulnerable = b.advisories.check(b.store, *fn, map[core.Package]core.Installed{})
		b.log.Info("deploy", "fn", fn.Name, "rt", fn.Runtime, "version", fn.Version, "packages", len(fn.Packages), "took", time.Since(b.began))
	}
	return nil
}
