package worker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// A lock is found in one of three ways, the first that there is: the function brings pipsqueak.lock; the worker has resolved the same
// inputs before; the driver resolves them, with the network. In the first two nothing is fetched to find out what a function needs.

// inputs returns the digest of everything that decides which packages a function has.
func inputs(dir string, runtime core.Runtime, manifest store.Manifest) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "reading %s: %w", dir, err)
	}
	defer root.Close()
	names, err := manifests(root.FS(), runtime.Manifests)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "reading %s: %w", dir, err)
	}
	type file struct{ Name, Content string }
	var files []file
	for _, name := range names {
		content, err := root.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", core.Errorf(core.KindInvalid, core.FaultCaller, "%s cannot be read: %w", name, err)
		}
		files = append(files, file{name, string(content)})
	}
	all := []any{"pipsqueak inputs 1", runtime.ID, files, slices.Sorted(slices.Values(manifest.Debian)), slices.Sorted(slices.Values(manifest.Allow)),
		slices.Sorted(slices.Values(runtime.Registries))}
	if brought := store.Brought(root.FS()); len(brought) > 0 { // its packages are not installed
		all = append(all, brought)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text)), nil
}

// manifests returns the names of a runtime's manifests in order: those of all directories for "**/name", and else the name itself.
func manifests(dir fs.FS, wanted []string) ([]string, error) {
	var names, everywhere []string
	for _, name := range wanted {
		if deep, is := strings.CutPrefix(name, "**/"); is {
			everywhere = append(everywhere, deep)
		} else {
			names = append(names, name)
		}
	}
	if len(everywhere) > 0 {
		err := fs.WalkDir(dir, ".", func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && slices.Contains(everywhere, entry.Name()) {
				names = append(names, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// knownLock returns the lock that there is already, nil when there is none, and the inputs that it has or will have. Where nothing asks for packages,
// that is a lock without any, and without inputs: there is nothing to be resolved.
func (w *Worker) knownLock(dir string, runtime core.Runtime, manifest store.Manifest, anew bool) (lock *core.Lock, asked string, err error) {
	if found := present(dir, append(slices.Clone(runtime.Manifests), store.LockFile)); len(found) == 0 && len(manifest.Debian) == 0 {
		return &core.Lock{Runtime: runtime.ID}, "", nil
	}
	if asked, err = inputs(dir, runtime, manifest); err != nil {
		return nil, "", err
	}
	if anew {
		return nil, asked, nil
	}
	if lock, err = store.LoadLock(dir); err != nil {
		return nil, "", err
	}
	switch {
	case lock == nil:
		return w.store.Lock(asked), asked, nil
	case lock.Runtime != runtime.ID:
		return nil, "", core.Errorf(core.KindInstall, core.FaultCaller, "%s is for %s, and the function for %s: run `pipsqueak lock`, and deploy both", store.LockFile, lock.Runtime, runtime.ID)
	case lock.Inputs != asked:
		return nil, "", core.Errorf(core.KindInstall, core.FaultCaller, "%s was made from other manifests than are there (%s), or for another registry: run `pipsqueak lock`, and deploy both",
			store.LockFile, strings.Join(append([]string{store.ManifestFile}, present(dir, runtime.Manifests)...), ", "))
	}
	return lock, asked, nil
}

// present returns those of a runtime's manifests that are in the directory.
func present(dir string, wanted []string) []string {
	names, err := manifests(os.DirFS(dir), wanted)
	if err != nil {
		return wanted // what cannot be looked through may have any
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, missing := os.Lstat(filepath.Join(dir, name))
		return missing != nil
	})
}

// writeFiles puts the lock files of the language's own tool into the code, unless the function brings its own.
func writeFiles(dir string, files map[string]string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "writing into %s: %w", dir, err)
	}
	defer root.Close()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			_, err = file.WriteString(files[name])
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return core.Errorf(core.KindInternal, core.FaultWorker, "writing %s into the code: %w", name, err)
		}
	}
	return nil
}

// refuseDebian refuses Debian packages for a language whose driver knows none.
func (w *Worker) refuseDebian(d core.Driver, runtime core.Runtime, manifest store.Manifest) error {
	if len(manifest.Debian) > 0 && !can(d, core.CapabilityDebian) {
		return core.Errorf(core.KindUnsupported, core.FaultCaller, "functions of %s cannot have Debian packages: take 'debian' out of %s", runtime.ID, store.ManifestFile)
	}
	return nil
}

// decode writes the manifests in dir as UTF-8.
func decode(dir string, runtime core.Runtime) error {
	names, err := manifests(os.DirFS(dir), runtime.Manifests)
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "reading %s: %w", dir, err)
	}
	return store.Decode(dir, names)
}

// lock returns the lock of the code in dir, and what else was found out of the code. A lock that was not there is remembered. In out, a directory of Stage, is what
// the driver hands over from one step to the next.
func (w *Worker) lock(ctx context.Context, d core.Driver, fn *core.Function, runtime core.Runtime, manifest store.Manifest, dir, out string, anew bool, progress func(core.Progress)) (core.Lock, core.Resolution, error) {
	var resolution core.Resolution
	if err := cmp.Or(w.refuseDebian(d, runtime, manifest), decode(dir, runtime)); err != nil {
		return core.Lock{}, resolution, err
	}
	known, asked, err := w.knownLock(dir, runtime, manifest, anew)
	if err != nil {
		return core.Lock{}, resolution, err
	}
	if !can(d, core.CapabilityLock) {
		known = nil
	}
	done := timed(core.Progress{Verb: "resolve", Item: fn.Name}, progress)
	if known != nil {
		if err := writeFiles(dir, known.Files); err != nil {
			return core.Lock{}, resolution, err
		}
	}
	request := core.ResolveRequest{Runtime: runtime.ID, Handler: fn.Handler, Debian: manifest.Debian, Allow: manifest.Allow, Lock: known}
	writable := []core.Mount{{Source: dir, Target: core.CodeDir, Writable: true}}
	if known == nil && len(manifest.Allow) == 0 && can(d, core.CapabilityHandover) {
		writable = append(writable, core.Mount{Source: out, Target: core.OutDir, Writable: true})
	}
	err = w.inSandbox(ctx, fn, runtime, writable, known == nil, resolveTimeout, func(ctx context.Context, sandbox core.Sandbox) (err error) {
		request.Sandbox = sandbox
		resolution, err = d.(core.Installer).Resolve(ctx, request)
		return err
	})
	if err != nil {
		return core.Lock{}, resolution, err
	}
	if known != nil {
		detail := core.Count(len(known.Packages), "package", "packages") + ", as locked before"
		if known.Inputs == "" {
			detail = "no packages are asked for"
		}
		done(detail, 0)
		w.nameAsInstalled(runtime.ID, known.Packages)
		return *known, resolution, nil
	}
	done(core.Count(len(resolution.Packages), "package", "packages"), 0)
	lock := core.Lock{Runtime: runtime.ID, Inputs: asked, Packages: resolution.Packages, Files: resolution.Files}
	slices.SortFunc(lock.Packages, func(a, b core.Locked) int {
		return core.Package{Name: a.Name, Version: a.Version}.Compare(core.Package{Name: b.Name, Version: b.Version})
	})
	for _, p := range lock.Packages {
		if !filepath.IsLocal(p.Base()) { // a resolver runs code of the function's, and its word is a path here
			return core.Lock{}, resolution, core.Errorf(core.KindInstall, core.FaultHandler, "the package %q would not be in a directory of its own", p)
		}
	}
	if can(d, core.CapabilityLock) {
		for _, p := range lock.Packages {
			if len(p.Archives) == 0 {
				return core.Lock{}, resolution, core.Errorf(core.KindInstall, core.FaultDriver, "%s was resolved without a digest", p)
			}
		}
		err = w.store.RememberLock(lock)
	}
	w.nameAsInstalled(runtime.ID, lock.Packages)
	return lock, resolution, err
}

// Lock implements core.Locker.
func (w *Worker) Lock(ctx context.Context, request core.DeployRequest, progress func(core.Progress)) (core.Lock, error) {
	if progress == nil {
		progress = func(core.Progress) {}
	}
	dir, told, err := w.store.Unpack(ctx, request.Archive)
	if err != nil {
		return core.Lock{}, err
	}
	warn(progress, request.Name, told...)
	lock, err := w.lockOnly(ctx, dir, progress)
	return lock, errors.Join(err, w.store.Discard(dir))
}

func (w *Worker) lockOnly(ctx context.Context, dir string, progress func(core.Progress)) (core.Lock, error) {
	fn, runtime, manifest, err := w.examine(dir, progress)
	if err != nil {
		return core.Lock{}, err
	}
	fn.Name = cmp.Or(fn.Name, "lock")
	d, _, _, err := w.fleet.Driver(ctx, runtime.ID)
	if err != nil {
		return core.Lock{}, err
	}
	if !can(d, core.CapabilityLock) {
		return core.Lock{}, core.Errorf(core.KindUnsupported, core.FaultCaller, "the driver of %s makes no locks: deploy the function without one", runtime.ID)
	}
	out, err := w.store.Stage()
	if err != nil {
		return core.Lock{}, err
	}
	defer func() { _ = w.store.Discard(out) }()
	lock, _, err := w.lock(ctx, d, &fn, runtime, manifest, dir, out, true, progress)
	if err == nil {
		err = writeFiles(dir, lock.Files)
	}
	if err == nil {
		lock.Inputs, err = inputs(dir, runtime, manifest)
	}
	return lock, err
}
