package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// Quarantine implements core.Packages.
func (w *Worker) Quarantine(_ context.Context, rule core.Forbidden) ([]core.Installed, error) {
	rule.Added = time.Now().UTC()
	all, err := w.store.Forbid(rule)
	if err != nil {
		return nil, err
	}
	if rule.Reason == "" {
		w.log.Info("release", "rule", rule, "packages", len(all))
		return all, nil
	}
	w.log.Warn("quarantine", "rule", rule, "packages", len(all), "reason", rule.Reason)
	for _, p := range all {
		w.tree.Expel(p.Digest)
	}
	return all, nil
}

// damaged keeps everybody from a tree whose files are not what they were, and mends it if that can be.
func (w *Worker) damaged(ctx context.Context, tree store.Tree, files []core.DamagedFile) core.Damage {
	d := core.Damage{Package: w.packageOf(tree), Digest: tree.Digest, Functions: []string{}, Files: files}
	for _, fn := range w.users(tree) {
		d.Functions = append(d.Functions, fn.Name)
	}
	if err := w.store.Mark(tree, files[0]); err != nil {
		d.Outcome = "it is in quarantine until the worker stops: " + err.Error()
	}
	if tree.Area == store.Packages {
		w.tree.Expel(tree.Digest)
	} else {
		for _, name := range d.Functions {
			w.sched.Drain(name)
		}
	}
	w.log.Warn("quarantine", "package", d.Package, "digest", d.Digest, "functions", d.Functions, "reason", files[0])
	if err := w.mend(ctx, tree); err != nil {
		d.Outcome = strings.TrimPrefix(d.Outcome+"; "+err.Error(), "; ")
		w.log.Warn("quarantine", "package", d.Package, "digest", d.Digest, "err", err)
		return d
	}
	d.Mended, d.Outcome = true, "it was installed anew"
	if len(d.Functions) == 0 {
		d.Outcome = "it was removed: no function uses it"
	}
	w.log.Info("quarantine", "package", d.Package, "digest", d.Digest, "outcome", d.Outcome)
	return d
}

// users returns the functions that use a tree.
func (w *Worker) users(tree store.Tree) (users []core.Function) {
	for _, fn := range w.store.List() {
		if tree.Area == store.Code && fn.Code == tree.Digest ||
			tree.Area == store.Packages && slices.ContainsFunc(fn.Packages, func(p core.Package) bool { return p.Digest == tree.Digest }) {
			users = append(users, fn)
		}
	}
	return users
}

// packageOf returns the name and version of the package that a tree is, "" for code and for what nobody knows any more.
func (w *Worker) packageOf(tree store.Tree) string {
	if tree.Area == store.Code {
		return ""
	}
	for _, p := range w.store.Installed() {
		if p.Digest == tree.Digest {
			return p.String()
		}
	}
	for _, fn := range w.store.List() {
		for _, p := range fn.Packages {
			if p.Digest == tree.Digest {
				return p.String()
			}
		}
	}
	return ""
}

// mend makes a damaged tree whole again, or removes one that nobody needs. An error says why it cannot, and what to do.
func (w *Worker) mend(ctx context.Context, tree store.Tree) error {
	users := w.users(tree)
	switch {
	case len(users) == 0 && tree.Area == store.Code:
		w.collect()
		return nil
	case len(users) == 0:
		dropped, err := w.store.Drop(tree.Digest)
		if err == nil && !dropped {
			err = core.Errorf(core.KindConflict, core.FaultWorker, "it stays in quarantine: a deploy has just asked for it")
		}
		w.collect()
		return err
	case tree.Area == store.Code:
		return core.Errorf(core.KindUnavailable, core.FaultWorker, "only its author has the code: deploy %s again", users[0].Name)
	}
	for _, p := range w.store.Installed() {
		for _, fn := range users {
			if p.Digest == tree.Digest && p.Runtime == fn.Runtime {
				return w.reinstall(ctx, fn, p)
			}
		}
	}
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "it is not known what it was installed from: deploy %s again", users[0].Name)
}

// reinstall installs a package anew, as the function's driver did the first time.
func (w *Worker) reinstall(ctx context.Context, fn core.Function, damaged core.Installed) error {
	hold := w.store.Hold()
	defer hold.Release()
	hold.Keep(fn.Code)
	code, err := w.store.CodePath(fn.Code)
	if err != nil {
		return err
	}
	d := w.deployment(core.DeployRequest{}, code, nil)
	d.fn, d.hold = fn, hold
	if d.manifest, err = bundle.LoadManifest(code); err != nil {
		return err
	}
	if err := d.find(ctx); err != nil {
		return err
	}
	if !can(d.driver, core.CapabilityInstall) {
		return core.Errorf(core.KindUnsupported, core.FaultDriver, "the driver of %s installs no packages any more", fn.Runtime)
	}
	d.fn.Packages = nil // as in a deploy: an installer sees no other packages
	have, missing, free, err := w.claimMissing(ctx, fn.Runtime, []core.Locked{damaged.Locked}, d.hold)
	if err != nil {
		return err
	}
	defer free()
	if len(missing) > 0 {
		installed, err := d.fetch(ctx, missing, nil)
		if err != nil {
			return core.Errorf(core.KindUnavailable, core.FaultWorker, "it stays in quarantine, for it could not be installed anew: %w; mend that, then run `pipsqueak store verify %s`", err, damaged)
		}
		have = append(have, installed[0].Package)
	}
	defer w.collect() // what was damaged, as soon as no process has it
	if have[0].Digest != damaged.Digest {
		return w.exchange(damaged.Package, have[0])
	}
	if fn, deployed := w.store.Get(fn.Name); deployed {
		w.prepareLater(fn, nil)
	}
	return nil
}

// exchange gives the functions that have a package the same one with another digest: not every installer leaves the same files each time.
func (w *Worker) exchange(old, new core.Package) error {
	var all error
	for _, fn := range w.users(store.Tree{Area: store.Packages, Digest: old.Digest}) {
		if err := w.exchangeIn(fn.Name, old, new); err != nil {
			all = errors.Join(all, fmt.Errorf("installed anew it has other files, and %s cannot have them: %w; deploy it again", fn.Name, err))
		}
	}
	return all
}

func (w *Worker) exchangeIn(name string, old, new core.Package) error {
	done, err := w.claim(name)
	if err != nil {
		return err
	}
	defer done()
	fn, ok := w.store.Get(name)
	if !ok {
		return nil
	}
	packages := slices.Clone(fn.Packages)
	for i := range packages {
		if packages[i] == old {
			packages[i] = new
		}
	}
	fn.Packages = core.NewSet(packages...)
	fn.Replaced, fn.Version = fn.Version, fn.Version+1
	fn.Imports, fn.Loaded, fn.Tried = slices.Clone(fn.Imports), nil, nil // what the other files do when they are imported nobody has seen
	w.part(&fn, true)
	if err := w.store.Put(fn); err != nil {
		return err
	}
	w.sched.Drain(name, fn.Version)
	w.prepareLater(fn, nil)
	return nil
}
