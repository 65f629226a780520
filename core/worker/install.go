package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// installation is whom packages are installed for, and how.
type installation struct {
	driver  core.Installer
	fn      *core.Function
	runtime core.Runtime
	allow   []string    // packages that may run code of their own
	code    string      // directory of the function's code
	out     string      // directory of Stage, with what was handed over to the first step; empty when there is nothing
	hold    *store.Hold // gets what is installed
}

// install returns the packages as they are in the store, after installing those that were not.
func (w *Worker) install(ctx context.Context, in installation, wanted []core.Locked, progress func(core.Progress)) (core.Set, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	have, missing, free, err := w.claimMissing(ctx, in.runtime.ID, wanted, in.hold)
	if err != nil {
		return nil, err
	}
	defer free()
	done := timed(core.Progress{Verb: "install", Item: in.fn.Name, Total: int64(len(missing))}, progress)
	for _, p := range have {
		progress(core.Progress{Verb: "install", Item: p.String(), Detail: inStore, Ended: true})
	}
	if len(missing) == 0 {
		done(core.Count(len(have), "package", "packages")+", all in the store", 0)
		return core.NewSet(have...), nil
	}
	if err := refuseScripts(missing, in.allow); err != nil {
		return nil, err
	}
	meter := newMeter(progress)
	for _, together := range inTurn(missing, in.allow) {
		in.fn.Packages = core.NewSet(have...)
		installed, err := w.fetch(ctx, in, together, meter.step)
		if err != nil {
			return nil, err
		}
		in.out = ""
		for _, p := range installed {
			have = append(have, p.Package)
			meter.done(p)
		}
	}
	done(fmt.Sprintf("%s, %d of them in the store", core.Count(len(wanted), "package", "packages"), len(wanted)-len(missing)), meter.bytes)
	return core.NewSet(have...), nil
}

// inTurn says which packages are installed together, and in which order. One that may run code of its own could write into the others,
// which all functions share: it is alone, after all that run none and after those that it requires, and sees them as they are in the store.
func inTurn(packages []core.Locked, allow []string) (turns [][]core.Locked) {
	var inert []core.Locked
	running := map[string]core.Locked{}
	for _, p := range packages {
		if p.Scripts || allows(allow, p) {
			running[p.String()] = p
		} else {
			inert = append(inert, p)
		}
	}
	if len(inert) > 0 {
		turns = append(turns, inert)
	}
	var take func(p core.Locked)
	take = func(p core.Locked) {
		delete(running, p.String())
		for _, required := range p.Requires {
			if q, waits := running[required]; waits {
				take(q)
			}
		}
		turns = append(turns, []core.Locked{p})
	}
	for _, p := range packages {
		if _, waits := running[p.String()]; waits {
			take(p)
		}
	}
	return turns
}

// fetch installs packages that are claimed. The function has those that they are to see.
func (w *Worker) fetch(ctx context.Context, in installation, packages []core.Locked, progress func(core.Progress)) ([]core.Installed, error) {
	out := in.out
	if out == "" {
		var err error
		if out, err = w.store.Stage(); err != nil {
			return nil, err
		}
		defer func() { _ = w.store.Discard(out) }()
	}
	receipts := map[string]core.Receipt{}
	err := w.inSandbox(ctx, in.fn, in.runtime, []core.Mount{{Source: out, Target: core.OutDir, Writable: true}}, true, installTimeout,
		func(ctx context.Context, sandbox core.Sandbox) error {
			all, err := in.driver.Install(ctx, core.InstallRequest{Runtime: in.runtime.ID, Packages: packages, Allow: in.allow, Sandbox: sandbox}, progress)
			for _, r := range all {
				receipts[r.Name+"=="+r.Version] = r
			}
			return err
		}, core.Mount{Source: in.code, Target: core.CodeDir})
	if err != nil {
		return nil, err
	}
	var staged []store.Staged
	for _, p := range packages {
		staged = append(staged, store.Staged{Locked: p, Receipt: receipts[p.String()], Dir: filepath.Join(out, p.Base())})
	}
	return w.store.CommitPackages(in.runtime.ID, staged, in.hold)
}

// refuseScripts refuses packages that cannot be installed without running code of their own, unless the function allows it.
func refuseScripts(packages []core.Locked, allow []string) error {
	for _, p := range packages {
		if p.Scripts && !allows(allow, p) {
			return core.Errorf(core.KindInstall, core.FaultCaller,
				"%s runs code of its own when it is installed: take a version that does not, or allow it with 'allow_scripts: [%s]' in %s", p, p.Name, store.ManifestFile)
		}
	}
	return nil
}

// allows reports whether a package is among those that may run code. What is a slash in a name is a plus in the name of a directory.
func allows(allow []string, p core.Locked) bool {
	return slices.ContainsFunc(allow, func(name string) bool { return strings.ReplaceAll(name, "/", "+") == p.Name })
}

// claimMissing looks up the packages of a lock, and claims those that have to be installed: while somebody else installs one of them it
// waits, for then it may be there, so that what two deploys share is fetched once. Deploys that share nothing do not wait for each
// other. The caller calls done when it has installed what is missing, or has failed to.
func (w *Worker) claimMissing(ctx context.Context, runtime core.RuntimeID, wanted []core.Locked, hold *store.Hold) (have []core.Package, missing []core.Locked, done func(), err error) {
	for {
		if _, missing, err = w.store.Take(runtime, wanted, hold); err != nil {
			return nil, nil, nil, err
		}
		done, busy := w.tryClaim(runtime, missing)
		if busy == nil { // but somebody may have finished just before it was claimed
			if have, missing, err = w.store.Take(runtime, wanted, hold); err != nil {
				done()
				return nil, nil, nil, err
			}
			return have, missing, done, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, nil, nil, ctx.Err()
		}
	}
}

// tryClaim claims all of the packages, or returns what is closed when one of them that is claimed is free again.
func (w *Worker) tryClaim(runtime core.RuntimeID, wanted []core.Locked) (done func(), busy <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := func(p core.Locked) string { return string(runtime) + " " + p.String() }
	for _, p := range wanted {
		if claimed := w.claims[key(p)]; claimed != nil {
			return nil, claimed
		}
	}
	mine := make(chan struct{})
	for _, p := range wanted {
		w.claims[key(p)] = mine
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range wanted {
			delete(w.claims, key(p))
		}
		close(mine)
	}, nil
}
