package worker

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/relay"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// How long third-party code may run in a deploy.
const (
	resolveTimeout = 2 * time.Minute
	installTimeout = 10 * time.Minute
	buildTimeout   = 10 * time.Minute
)

// Deploy implements core.Catalog.
func (w *Worker) Deploy(ctx context.Context, request core.DeployRequest, progress func(core.Progress)) (_ core.Function, err error) {
	one := func(yield func(core.DeployRequest, error) bool) { yield(request, nil) }
	d := w.newDeploy("", progress)
	defer func() { d.end(err) }()
	if err := d.run(ctx, one); err != nil {
		return core.Function{}, err
	}
	return d.all[0].fn, nil
}

// deploy is functions on their way: one, or those of an application, of which none switches before every one is ready.
type deploy struct {
	*Worker
	application string // empty for a function alone
	function    string // the one that is looked at, empty as long as its name is not known
	progress    func(core.Progress)
	began       time.Time
	all         []*newcomer
	gone        []string // functions that the application has no more
	ends        []func()
}

// newcomer is a function that is to take its place.
type newcomer struct {
	request  core.DeployRequest
	dir      string // of its code, in staging until it is ready
	fn       core.Function
	runtime  core.Runtime
	manifest store.Manifest
	locked   []core.Locked
	loaded   []string // what its handler has imported in its trial besides what is known
}

// newDeploy returns a deploy. The caller calls end, whatever became of it.
func (w *Worker) newDeploy(application string, progress func(core.Progress)) *deploy {
	if progress == nil {
		progress = func(core.Progress) {}
	}
	return &deploy{Worker: w, application: application, progress: progress, began: time.Now()}
}

// end gives free what a deploy has held, the last first, and writes down why it has failed if it has.
func (d *deploy) end(err error) {
	if err != nil {
		d.refused(err)
	}
	for _, end := range slices.Backward(d.ends) {
		end()
	}
}

// run reads all functions, makes each ready, and lets them take their places.
func (d *deploy) run(ctx context.Context, requests iter.Seq2[core.DeployRequest, error]) (err error) {
	if err := d.receive(ctx, requests); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.forgetTrials()
		}
	}()
	d.ends = slices.Insert(d.ends, 0, d.collect) // the last of all: what no function refers to is not held any more then
	for _, n := range d.all {
		d.function = n.fn.Name
		if err := d.ready(ctx, n); err != nil {
			return d.because(err)
		}
	}
	for _, n := range d.all {
		d.catchUp(ctx, n)
	}
	return d.take()
}

// catchUp gives a function that is ready what the version before it has learned since it was looked at.
func (d *deploy) catchUp(ctx context.Context, n *newcomer) {
	fn := &n.fn
	before, replaces := d.store.Get(fn.Name)
	if !replaces || !hasImports(fn) {
		return
	}
	known := fn.Loaded
	inherit(fn, &before)
	d.part(fn, !n.request.Ready)
	if n.request.Ready && !slices.Equal(known, fn.Loaded) {
		d.preload(ctx, fn, d.progress)
	}
}

// forgetTrials forgets what is remembered of versions that were tried and that the next deploy may have again.
func (d *deploy) forgetTrials() {
	for _, n := range d.all {
		if n.fn.Version > 0 {
			d.tree.Evict(n.fn.Name, n.fn.Replaced)
		}
	}
}

// receive unpacks the functions, and looks at what they say of themselves.
func (d *deploy) receive(ctx context.Context, requests iter.Seq2[core.DeployRequest, error]) error {
	for request, err := range requests {
		if err != nil {
			return err
		}
		n := &newcomer{request: request}
		d.function = request.Name
		var told []string
		if n.dir, told, err = d.store.Unpack(ctx, request.Archive); err != nil {
			return d.because(err)
		}
		warn(d.progress, request.Name, told...)
		d.ends = append(d.ends, func() { _ = d.store.Discard(n.dir) }) // CommitCode has taken it if it came to that; what cannot be removed, the next start removes
		if err := d.admit(n); err != nil {
			return d.because(err)
		}
		d.all = append(d.all, n)
	}
	return nil
}

// admit decides whether a function may be deployed, before anything is resolved for it, and keeps its name for this deploy.
func (d *deploy) admit(n *newcomer) (err error) {
	n.fn, n.runtime, n.manifest, err = d.examine(n.dir, d.progress)
	n.fn.Name = cmp.Or(n.request.Name, n.fn.Name)
	d.function = n.fn.Name
	if err != nil {
		return err
	}
	if err := store.ValidName(n.fn.Name); err != nil {
		return err
	}
	if n.fn.Name == d.application {
		return takenByApplication(n.fn.Name)
	}
	done, err := d.claim(n.fn.Name)
	if err != nil {
		return err
	}
	d.ends = append(d.ends, done)
	if err := d.belongs(n); err != nil {
		return err
	}
	n.fn.Signers, err = d.checkSignature(n.dir, n.fn.Name, n.request.Signature, d.progress)
	return err
}

// ready resolves, installs and builds a function, and puts its code where it will be.
func (d *deploy) ready(ctx context.Context, n *newcomer) (err error) {
	fn := &n.fn
	before, replaces := d.store.Get(fn.Name)
	fn.Replaced = before.Version
	fn.Version = max(fn.Replaced, d.store.Removed(fn.Name)) + 1
	hold := d.store.Hold()
	d.ends = append(d.ends, hold.Release)
	if n.locked, err = d.resolve(ctx, fn, n.runtime, n.manifest, n.dir, n.request.Anew, hold, d.progress); err != nil {
		return err
	}
	if replaces {
		inherit(fn, &before)
	}
	if n.request.Force {
		untried(fn)
	}
	d.part(fn, true)
	var release func()
	if fn.Code == "" { // else it is what was built before
		if fn.Code, release, err = d.store.CommitCode(n.dir); err != nil {
			return err
		}
		d.ends = append(d.ends, release)
	}
	if n.request.Ready {
		d.prepareNow(ctx, fn, n.locked, d.progress)
	}
	if n.request.Force {
		return nil
	}
	if n.loaded, err = d.tryHandler(ctx, fn, d.progress); err == nil && len(fn.Changes) > 0 {
		d.part(fn, !n.request.Ready)
		if n.request.Ready {
			d.preload(ctx, fn, d.progress)
		}
	}
	return err
}

// take lets the functions take their places, all at once.
func (d *deploy) take() error {
	put := make([]core.Function, len(d.all))
	for i, n := range d.all {
		n.fn.Deployed = time.Now().UTC()
		put[i] = n.fn
	}
	if err := d.replace(put, d.gone); err != nil {
		return err
	}
	for _, n := range d.all {
		d.sched.Drain(n.fn.Name, n.fn.Version)
	}
	for _, name := range d.gone {
		d.forget(name)
	}
	d.saveUses()
	for _, n := range d.all {
		fn := &n.fn
		if !n.request.Ready {
			d.prepareLater(*fn, n.locked)
		}
		if deployed := *fn; len(n.loaded) > 0 {
			go d.loaded(&deployed, n.loaded)
		}
		fn.Unready = d.tree.Unready(fn)
		fn.Vulnerable = d.advisories.check(d.store, *fn, map[core.Package]core.Installed{})
		d.log.Info("deploy", "fn", fn.Name, "rt", fn.Runtime, "version", fn.Version, "packages", len(fn.Packages), "took", time.Since(d.began))
	}
	return nil
}

// examine returns what the unpacked code in dir says of itself: a function without code and packages, whose name may be empty.
func (w *Worker) examine(dir string, progress func(core.Progress)) (core.Function, core.Runtime, store.Manifest, error) {
	manifest, err := store.LoadManifest(dir)
	if err == nil && len(manifest.Functions) > 0 {
		err = core.Errorf(core.KindInvalid, core.FaultCaller,
			"%s lists %d functions, and an archive is one: `pipsqueak deploy DIR` deploys them together", store.ManifestFile, len(manifest.Functions))
	}
	if err != nil {
		return core.Function{}, core.Runtime{}, manifest, err
	}
	choice, err := store.Detect(dir, manifest, w.runtimes())
	if choice.Doubt != "" {
		warn(progress, cmp.Or(manifest.Name, "language"), choice.Doubt)
	}
	warn(progress, cmp.Or(manifest.Name, "packages"), store.OwnCode(os.DirFS(dir))...)
	return core.Function{Name: manifest.Name, Runtime: choice.Runtime.ID, Handler: choice.Handler, Env: manifest.Env, Limits: manifest.Limits},
		choice.Runtime, manifest, err
}

// claim keeps a name for one deploy or remove at a time.
func (w *Worker) claim(name string) (done func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, busy := w.deploying[name]; busy {
		e := core.Errorf(core.KindConflict, core.FaultCaller, "another deploy or removal of %q is under way; try again when it has ended", name)
		e.Retryable = true
		return nil, e
	}
	w.deploying[name] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.deploying, name)
	}, nil
}

func (w *Worker) runtimes() []core.Runtime {
	var all []core.Runtime
	for _, d := range w.fleet.Snapshot() {
		all = append(all, d.Runtimes...)
	}
	return all
}

// resolve finds out what the function needs, installs what is missing of it, and builds the code. It returns the packages as they are locked.
func (w *Worker) resolve(ctx context.Context, fn *core.Function, runtime core.Runtime, manifest store.Manifest, dir string, anew bool, hold *store.Hold, progress func(core.Progress)) ([]core.Locked, error) {
	d, _, _, err := w.fleet.Driver(ctx, runtime.ID)
	if err != nil {
		return nil, err
	}
	if !can(d, core.CapabilityInstall) {
		return nil, w.refuseDebian(d, runtime, manifest) // a function without packages
	}
	out, err := w.store.Stage()
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.store.Discard(out) }()
	lock, resolution, err := w.lock(ctx, d, fn, runtime, manifest, dir, out, anew, progress)
	if err != nil {
		return nil, err
	}
	fn.Imports, fn.Perhaps, fn.Sets, fn.Offers = resolution.Imports, resolution.Perhaps, resolution.Sets, resolution.Offers
	if err := w.refuseVulnerable(fn.Name, lock.Packages, progress); err != nil {
		return nil, err
	}
	in := installation{driver: d.(core.Installer), fn: fn, runtime: runtime, allow: manifest.Allow, code: dir, out: out, hold: hold}
	if fn.Packages, err = w.install(ctx, in, lock.Packages, progress); err != nil {
		return nil, err
	}
	if err := w.refuseBundles(*fn, progress); err != nil {
		return nil, err
	}
	judged := w.judge(ctx, d, *fn, runtime, progress) // meanwhile
	err = w.build(ctx, in, anew, progress)
	return lock.Packages, cmp.Or(judged(), err)
}

// timed tells that a step begins. The caller calls done at its end, with a phrase and the bytes that were fetched.
func timed(step core.Progress, progress func(core.Progress)) (done func(detail string, bytes int64)) {
	began := time.Now()
	progress(step)
	return func(detail string, bytes int64) {
		step.Detail, step.Bytes, step.Ended, step.Took = detail, bytes, true, time.Since(began)
		progress(step)
	}
}

// warn tells what is no step but something to know.
func warn(progress func(core.Progress), item string, said ...string) {
	for _, one := range said {
		progress(core.Progress{Verb: core.VerbWarn, Item: cmp.Or(item, "archive"), Detail: one, Ended: true})
	}
}

// can reports whether a driver has a capability.
func can(d core.Driver, capability string) bool {
	described, ok := d.(interface{ Description() core.Description })
	return ok && slices.Contains(described.Description().Capabilities, capability)
}

// inSandbox runs a step of an installation with a sandbox of its own, in which the writable mounts can be written to, and
// the packages that the function has so far are seen, and more. Network is whether it reaches the registries.
func (w *Worker) inSandbox(ctx context.Context, fn *core.Function, runtime core.Runtime, writable []core.Mount, network bool, timeout time.Duration, step func(context.Context, core.Sandbox) error, more ...core.Mount) error {
	for _, mount := range writable {
		if err := openDirectories(mount.Source); err != nil {
			return core.Errorf(core.KindInternal, core.FaultWorker, "preparing %s: %w", mount.Source, err)
		}
	}
	var registries []string
	if network {
		registries = slices.Concat(runtime.Registries, w.registries)
	}
	if _, err := relay.Addresses(registries); err != nil {
		return err
	}
	w.mu.Lock()
	w.counter++
	id := core.NodeID(fmt.Sprintf("i%d", w.counter))
	w.mu.Unlock()
	w.lastWords.expect(id)
	s, err := w.house.create(ctx, core.SandboxConfig{ID: id, Role: core.RoleInstaller, Runtime: runtime, Registries: registries, Packages: fn.Packages,
		Mounts: slices.Concat(writable, more, runtime.Tools), Function: fn.Name, Limits: fn.Limits})
	if err != nil {
		w.lastWords.forget(id)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var watches []*diskWatch
	for _, mount := range writable {
		watches = append(watches, watchDisk(fn.Name, mount.Source, maxInstall, s.Kill))
	}
	err = step(ctx, s.Ref())
	if err != nil && ctx.Err() == nil {
		err = explainEntry(err, s)
	}
	for _, watch := range watches {
		if e := watch.stop(); e != nil {
			err = e
		}
	}
	s.Kill()
	<-s.Done()
	said, words := w.lastWords.take(id)
	err = withoutCredentials(explainUnreached(explainRefused(err, words.refused), words.unreached))
	if err != nil && s.Exit().OutOfMemory {
		return core.Errorf(core.KindInstall, core.FaultCaller, "installing the packages of %s takes more memory than an installation may use", fn.Name)
	}
	if e := core.AsError(err); err != nil && said != "" && e.Fault != core.FaultCaller {
		e.Message += "; it said: " + said
		return e
	}
	return err
}

// openDirectories lets everybody write into the directories of a staged tree: only the sandbox that shows it can reach it,
// under a user id that is not known before.
func openDirectories(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o777)
	})
}
