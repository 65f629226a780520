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
	manifest, err := store.LoadManifest(dir)
	if err != nil {
		return core.Function{}, err
	}
	if len(manifest.Functions) > 0 {
		return core.Function{}, core.Errorf(core.KindInvalid, core.FaultCaller,
			"%s lists %d functions, and an archive is one: `pipsqueak deploy DIR` deploys them one by one", store.ManifestFile, len(manifest.Functions))
	}
	name := cmp.Or(request.Name, manifest.Name)
	if err := store.ValidName(name); err != nil {
		return core.Function{}, err
	}
	done, err := w.claim(name)
	if err != nil {
		return core.Function{}, err
	}
	defer done()
	runtime, handler, err := store.Detect(dir, manifest, w.runtimes())
	if err != nil {
		return core.Function{}, err
	}
	fn := core.Function{Name: name, Version: 1, Runtime: runtime.ID, Handler: handler, Env: manifest.Env, Limits: manifest.Limits, Deployed: time.Now().UTC()}
	if before, ok := w.store.Get(name); ok {
		fn.Version = before.Version + 1
	}
	if err := w.resolve(ctx, &fn, runtime, manifest, dir, request.Anew, progress); err != nil {
		return core.Function{}, err
	}
	w.part(&fn)
	digest, release, err := w.store.CommitCode(dir)
	if err != nil {
		return core.Function{}, err
	}
	defer release()
	fn.Code = digest
	if err := w.store.Put(fn); err != nil {
		return core.Function{}, err
	}
	w.sched.Drain(name, fn.Version)
	w.collect()
	return fn, nil
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

// collect removes code that nobody uses any more. A failure costs disk space only.
func (w *Worker) collect() {
	if _, err := w.store.Collect(w.house.uses); err != nil {
		w.log.Warn("evict", "err", err)
	}
}

// resolve finds out what the function needs, installs what is missing of it, and builds the code.
func (w *Worker) resolve(ctx context.Context, fn *core.Function, runtime core.Runtime, manifest store.Manifest, dir string, anew bool, progress func(core.Progress)) error {
	d, _, _, err := w.fleet.Driver(ctx, runtime.ID)
	if err != nil {
		return err
	}
	if len(manifest.Debian) > 0 && !can(d, core.CapabilityDebian) {
		return core.Errorf(core.KindUnsupported, core.FaultCaller, "functions of %s cannot have Debian packages: take 'debian' out of %s", runtime.ID, store.ManifestFile)
	}
	if !can(d, core.CapabilityInstall) {
		return nil // a function without packages
	}
	progress(core.Progress{Verb: "deploy", Item: fn.Name, Detail: "resolving"})
	lock, imports, err := w.lock(ctx, d, fn, runtime, manifest, dir, anew)
	if err != nil {
		return err
	}
	fn.Imports = imports
	if fn.Packages, err = w.install(ctx, d.(core.Installer), fn, runtime, manifest.Allow, dir, lock.Packages, progress); err != nil {
		return err
	}
	w.probe(ctx, d, fn, runtime, lock.Packages, progress)
	if !can(d, core.CapabilityBuild) {
		return nil
	}
	progress(core.Progress{Verb: "deploy", Item: fn.Name, Detail: "building"})
	code := core.Mount{Source: dir, Target: core.CodeDir, Writable: true}
	return w.inSandbox(ctx, fn, runtime, code, false, buildTimeout, func(ctx context.Context, sandbox core.Sandbox) error {
		built, err := d.(core.Builder).Build(ctx, core.BuildRequest{Runtime: runtime.ID, Handler: fn.Handler, Packages: fn.Packages, Sandbox: sandbox}, progress)
		for _, name := range built.Imports {
			if !slices.Contains(fn.Imports, name) {
				fn.Imports = append(fn.Imports, name)
			}
		}
		return err
	})
}

// can reports whether a driver has a capability.
func can(d core.Driver, capability string) bool {
	described, ok := d.(interface{ Description() core.Description })
	return ok && slices.Contains(described.Description().Capabilities, capability)
}

// install returns the packages as they are in the store, after installing those that were not.
func (w *Worker) install(ctx context.Context, installer core.Installer, fn *core.Function, runtime core.Runtime, allow []string, dir string, wanted []core.Locked, progress func(core.Progress)) (core.Set, error) {
	if _, missing := w.lookup(runtime.ID, wanted); len(missing) > 0 {
		w.installs.Lock()
		defer w.installs.Unlock()
	}
	have, missing := w.lookup(runtime.ID, wanted) // again: another deploy may have installed them meanwhile
	for _, p := range have {
		progress(core.Progress{Verb: "install", Item: p.String(), Detail: "in the store"})
	}
	if len(missing) == 0 {
		return core.NewSet(have...), nil
	}
	for _, p := range missing {
		if p.Scripts && !slices.Contains(allow, p.Name) {
			return nil, core.Errorf(core.KindInstall, core.FaultCaller, "%s runs code of its own when it is installed: take a version that does not, or allow it with 'allow_scripts: [%s]' in %s", p, p.Name, store.ManifestFile)
		}
	}
	out, err := w.store.Stage()
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.store.Discard(out) }()
	receipts := map[string]core.Receipt{}
	err = w.inSandbox(ctx, fn, runtime, core.Mount{Source: out, Target: core.OutDir, Writable: true}, true, installTimeout,
		func(ctx context.Context, sandbox core.Sandbox) error {
			all, err := installer.Install(ctx, core.InstallRequest{Runtime: runtime.ID, Packages: missing, Allow: allow, Sandbox: sandbox}, progress)
			for _, r := range all {
				receipts[r.Name+"=="+r.Version] = r
			}
			return err
		}, core.Mount{Source: dir, Target: core.CodeDir})
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		installed, err := w.store.CommitPackage(runtime.ID, p, receipts[p.String()], filepath.Join(out, p.Base()))
		if err != nil {
			return nil, err
		}
		have = append(have, installed.Package)
	}
	return core.NewSet(have...), nil
}

func (w *Worker) lookup(runtime core.RuntimeID, wanted []core.Locked) (have []core.Package, missing []core.Locked) {
	for _, p := range wanted {
		if installed, ok := w.store.Lookup(runtime, p); ok {
			have = append(have, installed.Package)
		} else {
			missing = append(missing, p)
		}
	}
	return have, missing
}

// inSandbox runs a step of an installation with a sandbox of its own, in which the directory of the mount can be written to, and
// the packages that the function has so far are seen, and more.
func (w *Worker) inSandbox(ctx context.Context, fn *core.Function, runtime core.Runtime, mount core.Mount, network bool, timeout time.Duration, step func(context.Context, core.Sandbox) error, more ...core.Mount) error {
	if err := openDirectories(mount.Source); err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "preparing %s: %w", mount.Source, err)
	}
	w.mu.Lock()
	w.counter++
	id := core.NodeID(fmt.Sprintf("i%d", w.counter))
	w.mu.Unlock()
	w.lastWords.expect(id)
	s, err := w.house.create(ctx, core.SandboxConfig{ID: id, Role: core.RoleInstaller, Runtime: runtime, Network: network, Packages: fn.Packages,
		Mounts: slices.Concat([]core.Mount{mount}, more, runtime.Tools), Function: fn.Name, Limits: fn.Limits})
	if err != nil {
		w.lastWords.forget(id)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = step(ctx, s.Ref())
	s.Kill()
	<-s.Done()
	said := w.lastWords.take(id)
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
