package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// Deploy implements core.Service.
func (w *Worker) Deploy(ctx context.Context, request core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
	if progress == nil {
		progress = func(core.Progress) {}
	}
	start := time.Now()
	dir, err := w.store.Unpack(ctx, request.Archive)
	if err != nil {
		return core.Function{}, err
	}
	fn, err := w.deploy(ctx, dir, request, progress)
	if err != nil {
		// CommitCode has taken the directory if it came to that; to discard nothing is no error.
		return core.Function{}, errors.Join(err, w.store.Discard(dir))
	}
	w.log.Info("deploy", "fn", fn.Name, "rt", fn.Runtime, "version", fn.Version, "packages", len(fn.Packages), "took", time.Since(start))
	return fn, nil
}

func (w *Worker) deploy(ctx context.Context, dir string, request core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
	fn, runtime, manifest, err := w.examine(dir, progress)
	if err != nil {
		return core.Function{}, err
	}
	fn.Name = cmp.Or(request.Name, fn.Name)
	if err := store.ValidName(fn.Name); err != nil {
		return core.Function{}, err
	}
	done, err := w.claim(fn.Name)
	if err != nil {
		return core.Function{}, err
	}
	defer done()
	if fn.Signers, err = w.checkSignature(dir, fn.Name, request.Signature, progress); err != nil {
		return core.Function{}, err
	}
	if before, ok := w.store.Get(fn.Name); ok {
		fn.Replaced = before.Version
	}
	fn.Version = max(fn.Replaced, w.store.Removed(fn.Name)) + 1
	hold := w.store.Hold()
	defer hold.Release()
	locked, err := w.resolve(ctx, &fn, runtime, manifest, dir, request.Anew, hold, progress)
	if err != nil {
		return core.Function{}, err
	}
	if before, ok := w.store.Get(fn.Name); ok {
		inherit(&fn, &before)
	}
	w.part(&fn, true)
	digest, release, err := w.store.CommitCode(dir)
	if err != nil {
		return core.Function{}, err
	}
	defer release()
	fn.Code = digest
	var loaded []string
	if !request.Force {
		loaded, err = w.tryHandler(ctx, &fn, progress)
	}
	if err == nil {
		err = w.store.Put(fn)
	}
	if err != nil {
		release()
		w.collect()
		return core.Function{}, err
	}
	w.sched.Drain(fn.Name, fn.Version)
	if len(fn.Packages) > 0 || len(fn.Imports) > 0 || len(fn.Perhaps) > 0 {
		w.prepareLater(fn, locked)
	}
	if deployed := fn; len(loaded) > 0 {
		go w.loaded(&deployed, loaded)
	}
	w.collect()
	fn.Vulnerable = w.advisories.check(w.store, fn, map[core.Package]core.Installed{})
	return fn, nil
}

// examine returns what the unpacked code in dir says of itself: a function without code and packages, whose name may be empty.
func (w *Worker) examine(dir string, progress func(core.Progress)) (core.Function, core.Runtime, store.Manifest, error) {
	manifest, err := store.LoadManifest(dir)
	if err == nil && len(manifest.Functions) > 0 {
		err = core.Errorf(core.KindInvalid, core.FaultCaller,
			"%s lists %d functions, and an archive is one: `pipsqueak deploy DIR` deploys them one by one", store.ManifestFile, len(manifest.Functions))
	}
	if err != nil {
		return core.Function{}, core.Runtime{}, manifest, err
	}
	choice, err := store.Detect(dir, manifest, w.runtimes())
	if choice.Doubt != "" {
		progress(core.Progress{Verb: core.VerbWarn, Item: cmp.Or(manifest.Name, "language"), Detail: choice.Doubt, Ended: true})
	}
	return core.Function{Name: manifest.Name, Runtime: choice.Runtime.ID, Handler: choice.Handler, Env: manifest.Env, Limits: manifest.Limits, Deployed: time.Now().UTC()},
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
	fn.Imports, fn.Perhaps, fn.Sets = resolution.Imports, resolution.Perhaps, resolution.Sets
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
	err = w.build(ctx, d, fn, runtime, dir, progress)
	return lock.Packages, cmp.Or(judged(), err)
}

// build makes of the code what its handler can be imported from, where the language needs it.
func (w *Worker) build(ctx context.Context, d core.Driver, fn *core.Function, runtime core.Runtime, dir string, progress func(core.Progress)) error {
	if !can(d, core.CapabilityBuild) {
		return nil
	}
	done := timed(core.Progress{Verb: "build", Item: fn.Name}, progress)
	code := core.Mount{Source: dir, Target: core.CodeDir, Writable: true}
	err := w.inSandbox(ctx, fn, runtime, []core.Mount{code}, false, buildTimeout, func(ctx context.Context, sandbox core.Sandbox) error {
		built, err := d.(core.Builder).Build(ctx, core.BuildRequest{Runtime: runtime.ID, Handler: fn.Handler, Packages: fn.Packages, Sandbox: sandbox}, progress)
		for _, name := range built.Imports {
			if !slices.Contains(fn.Imports, name) {
				fn.Imports = append(fn.Imports, name)
			}
		}
		return err
	})
	if err == nil {
		done("", 0)
	}
	return err
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
	said, refused := w.lastWords.take(id)
	err = explainRefused(err, refused)
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
