package supply

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
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

// resolve finds out what the function needs, installs what is missing of it, and builds the code.
func (d *deployment) resolve(ctx context.Context) error {
	if err := d.find(ctx); err != nil {
		return err
	}
	if d.parts.Installer == nil {
		return d.refuseDebian() // a function without packages
	}
	out, err := d.store.Stage()
	if err != nil {
		return err
	}
	defer func() { _ = d.store.Discard(out) }()
	d.out = out
	lock, resolution, err := d.lock(ctx)
	if err != nil {
		return err
	}
	d.locked = lock.Packages
	d.fn.Imports, d.fn.Perhaps, d.fn.Sets, d.fn.Offers = resolution.Imports, resolution.Perhaps, resolution.Sets, resolution.Offers
	if err := d.refuseVulnerable(); err != nil {
		return err
	}
	if err := d.install(ctx); err != nil {
		return err
	}
	if err := d.refuseBundles(); err != nil {
		return err
	}
	judged := d.judge(ctx) // meanwhile
	err = d.build(ctx)
	return cmp.Or(judged(), err)
}

// A lock is found in one of three ways, the first that there is: the function brings pipsqueak.lock; the
// worker has resolved the same inputs before; the driver resolves them, with the network. In the first two
// nothing is fetched to find out what a function needs.

// inputs returns the digest of everything that decides which packages a function has.
func (d *deployment) inputs() (string, error) {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "reading %s: %w", d.dir, err)
	}
	defer root.Close()
	names, err := manifests(root.FS(), d.runtime.Manifests)
	if err != nil {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "reading %s: %w", d.dir, err)
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
	all := []any{"pipsqueak inputs 1", d.runtime.ID, files, slices.Sorted(slices.Values(d.settings.Debian)), slices.Sorted(slices.Values(d.settings.Allow)),
		slices.Sorted(slices.Values(d.runtime.Registries))}
	if brought := bundle.Brought(root.FS()); len(brought) > 0 { // its packages are not installed
		all = append(all, brought)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text)), nil
}

// manifests returns the names of a runtime's manifests in order: those of all directories for "**/name", and
// else the name itself.
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

// knownLock returns the lock that there is already, nil when there is none, and the inputs that it has or
// will have. Where nothing asks for packages, that is a lock without any, and without inputs: there is
// nothing to be resolved.
func (d *deployment) knownLock() (lock *core.Lock, asked string, err error) {
	if found := present(d.dir, append(slices.Clone(d.runtime.Manifests), bundle.LockFile)); len(found) == 0 && len(d.settings.Debian) == 0 {
		return &core.Lock{Runtime: d.runtime.ID}, "", nil
	}
	if asked, err = d.inputs(); err != nil {
		return nil, "", err
	}
	if d.request.Again {
		return nil, asked, nil
	}
	if lock, err = bundle.LoadLock(d.dir); err != nil {
		return nil, "", err
	}
	switch {
	case lock == nil:
		return d.store.RememberedLock(asked), asked, nil
	case lock.Runtime != d.runtime.ID:
		return nil, "", core.Errorf(core.KindInstall, core.FaultCaller, "%s is for %s, and the function for %s: run `pipsqueak lock`, and deploy both", bundle.LockFile, lock.Runtime, d.runtime.ID)
	case lock.Inputs != asked:
		return nil, "", core.Errorf(core.KindInstall, core.FaultCaller, "%s was made from other manifests than are there (%s), or for another registry: run `pipsqueak lock`, and deploy both",
			bundle.LockFile, strings.Join(append([]string{bundle.SettingsFile}, present(d.dir, d.runtime.Manifests)...), ", "))
	}
	return lock, asked, nil
}

// present returns those of a runtime's manifests that are in the directory.
func present(dir string, wanted []string) []string {
	names, err := manifests(os.DirFS(dir), wanted)
	if err != nil {
		return wanted // a tree that cannot be searched may have any
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, missing := os.Lstat(filepath.Join(dir, name))
		return missing != nil
	})
}

// writeFiles puts the lock files of the language's own tool into the code, unless the function brings its
// own.
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
func (d *deployment) refuseDebian() error {
	if len(d.settings.Debian) > 0 && !d.can(core.CapabilityDebian) {
		return core.Errorf(core.KindUnsupported, core.FaultCaller, "functions of %s cannot have Debian packages: take 'debian' out of %s", d.runtime.ID, bundle.SettingsFile)
	}
	return nil
}

// refuseConcurrency refuses several events at once in one instance for a language whose driver cannot give it
// them.
func (d *deployment) refuseConcurrency() error {
	if d.settings.Limits.Shared() && !d.can(core.CapabilityConcurrency) {
		return core.Errorf(core.KindUnsupported, core.FaultCaller, "an instance of %s has one event at a time: take 'concurrency' out of %s, and raise 'max_instances' instead", d.runtime.ID, bundle.SettingsFile)
	}
	return nil
}

// decode writes the manifests as UTF-8.
func (d *deployment) decode() error {
	names, err := manifests(os.DirFS(d.dir), d.runtime.Manifests)
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "reading %s: %w", d.dir, err)
	}
	return bundle.Decode(d.dir, names)
}

// lock returns the lock of the code, and what else was found out of the code. A lock that was not there is
// remembered.
func (d *deployment) lock(ctx context.Context) (core.Lock, core.Resolution, error) {
	if err := cmp.Or(d.refuseDebian(), d.refuseConcurrency(), d.decode()); err != nil {
		return core.Lock{}, core.Resolution{}, err
	}
	known, asked, err := d.knownLock()
	if err != nil {
		return core.Lock{}, core.Resolution{}, err
	}
	if !d.can(core.CapabilityLock) {
		known = nil
	}
	done := d.timed(core.Progress{Verb: "resolve", Item: d.fn.Name})
	if known != nil {
		if err := writeFiles(d.dir, known.Files); err != nil {
			return core.Lock{}, core.Resolution{}, err
		}
	}
	resolution, err := d.askDriver(ctx, known)
	if err != nil {
		return core.Lock{}, resolution, err
	}
	if known != nil {
		detail := core.Count(len(known.Packages), "package", "packages") + ", as locked before"
		if known.Inputs == "" {
			detail = "no packages are asked for"
		}
		done(detail, 0)
		d.nameAsInstalled(known.Packages)
		return *known, resolution, nil
	}
	done(core.Count(len(resolution.Packages), "package", "packages"), 0)
	lock, err := d.newLock(asked, resolution)
	if err == nil && d.can(core.CapabilityLock) {
		err = d.store.RememberLock(lock)
	}
	d.nameAsInstalled(lock.Packages)
	return lock, resolution, err
}

// askDriver has the driver resolve the code, by the lock that is known if there is one.
func (d *deployment) askDriver(ctx context.Context, known *core.Lock) (resolution core.Resolution, err error) {
	writable := []core.Mount{{Source: d.dir, Target: core.CodeDir, Writable: true}}
	if known == nil && len(d.settings.Allow) == 0 && d.can(core.CapabilityHandover) {
		writable = append(writable, core.Mount{Source: d.out, Target: core.OutDir, Writable: true})
	}
	t := d.task(resolveTimeout, func(ctx context.Context, door core.Door) (err error) {
		resolution, err = d.parts.Installer.Resolve(ctx, core.ResolveRequest{Runtime: d.runtime.ID, Handler: d.fn.Handler, Debian: d.settings.Debian,
			Allow: d.settings.Allow, Lock: known, Door: door})
		return err
	}, writable...)
	t.network = known == nil
	err = d.bench.do(ctx, t)
	return resolution, err
}

// newLock makes a lock of what a driver has resolved, when it is one.
func (d *deployment) newLock(asked string, resolution core.Resolution) (core.Lock, error) {
	lock := core.Lock{Runtime: d.runtime.ID, Inputs: asked, Packages: resolution.Packages, Files: resolution.Files}
	slices.SortFunc(lock.Packages, func(a, b core.Locked) int {
		return core.Package{Name: a.Name, Version: a.Version}.Compare(core.Package{Name: b.Name, Version: b.Version})
	})
	for _, p := range lock.Packages {
		switch {
		case !filepath.IsLocal(p.Base()): // a resolver runs code of the function's, and its word is a path here
			return core.Lock{}, core.Errorf(core.KindInstall, core.FaultHandler, "the package %q would not be in a directory of its own", p)
		case d.can(core.CapabilityLock) && len(p.Archives) == 0:
			return core.Lock{}, core.Errorf(core.KindInstall, core.FaultDriver, "%s was resolved without a digest", p)
		}
	}
	return lock, nil
}

// Lock implements core.Locker.
func (s *Supply) Lock(ctx context.Context, request core.DeployRequest, progress func(core.Progress)) (core.Lock, error) {
	dir, told, err := bundle.Unpack(ctx, request.Archive, s.store.Staging())
	if err != nil {
		return core.Lock{}, err
	}
	d := s.deployment(core.DeployRequest{Again: true}, dir, progress)
	d.warn(request.Name, told...)
	lock, err := d.lockOnly(ctx)
	return lock, errors.Join(err, s.store.Discard(dir))
}

func (d *deployment) lockOnly(ctx context.Context) (core.Lock, error) {
	if err := d.identify(); err != nil {
		return core.Lock{}, err
	}
	d.fn.Name = cmp.Or(d.fn.Name, "lock")
	if err := d.find(ctx); err != nil {
		return core.Lock{}, err
	}
	if !d.can(core.CapabilityLock) {
		return core.Lock{}, core.Errorf(core.KindUnsupported, core.FaultCaller, "the driver of %s makes no locks: deploy the function without one", d.runtime.ID)
	}
	out, err := d.store.Stage()
	if err != nil {
		return core.Lock{}, err
	}
	defer func() { _ = d.store.Discard(out) }()
	d.out = out
	lock, _, err := d.lock(ctx)
	if err == nil {
		err = writeFiles(d.dir, lock.Files)
	}
	if err == nil {
		lock.Inputs, err = d.inputs()
	}
	return lock, err
}
