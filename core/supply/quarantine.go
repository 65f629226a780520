package supply

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
func (c *care) Quarantine(_ context.Context, rule core.Forbidden) ([]core.Installed, error) {
	rule.Added = time.Now().UTC()
	all, err := c.store.Forbid(rule)
	if err != nil {
		return nil, err
	}
	if rule.Reason == "" {
		c.log.Info("release", "rule", rule, "packages", len(all))
		return all, nil
	}
	c.log.Warn("quarantine", "rule", rule, "packages", len(all), "reason", rule.Reason)
	for _, p := range all {
		c.live.Expel(p.Digest)
	}
	return all, nil
}

// damaged keeps everybody from a tree whose files are not what they were, and repairs it if that can be.
func (c *care) damaged(ctx context.Context, tree store.Tree, files []core.DamagedFile) core.Damage {
	d := core.Damage{Package: c.packageOf(tree), Digest: tree.Digest, Functions: []string{}, Files: files}
	for _, fn := range c.users(tree) {
		d.Functions = append(d.Functions, fn.Name)
	}
	if err := c.store.Mark(tree, files[0]); err != nil {
		d.Outcome = "it is in quarantine until the worker stops: " + err.Error()
	}
	if tree.Area == store.Packages {
		c.live.Expel(tree.Digest)
	} else {
		for _, name := range d.Functions {
			c.live.Drain(name)
		}
	}
	c.log.Warn("quarantine", "package", d.Package, "digest", d.Digest, "functions", d.Functions, "reason", files[0])
	if err := c.repair(ctx, tree); err != nil {
		d.Outcome = strings.TrimPrefix(d.Outcome+"; "+err.Error(), "; ")
		c.log.Warn("quarantine", "package", d.Package, "digest", d.Digest, "err", err)
		return d
	}
	d.Repaired, d.Outcome = true, "it was installed again"
	if len(d.Functions) == 0 {
		d.Outcome = "it was removed: no function uses it"
	}
	c.log.Info("quarantine", "package", d.Package, "digest", d.Digest, "outcome", d.Outcome)
	return d
}

// users returns the functions that use a tree.
func (c *care) users(tree store.Tree) (users []core.Function) {
	for _, fn := range c.store.List() {
		if tree.Area == store.Code && fn.Code == tree.Digest ||
			tree.Area == store.Packages && slices.ContainsFunc(fn.Packages, func(p core.Package) bool { return p.Digest == tree.Digest }) {
			users = append(users, fn)
		}
	}
	return users
}

// packageOf returns the name and version of the package that a tree is, "" for code and for what nobody knows
// any more.
func (c *care) packageOf(tree store.Tree) string {
	if tree.Area == store.Code {
		return ""
	}
	for _, p := range c.store.Installed() {
		if p.Digest == tree.Digest {
			return p.String()
		}
	}
	for _, fn := range c.store.List() {
		for _, p := range fn.Packages {
			if p.Digest == tree.Digest {
				return p.String()
			}
		}
	}
	return ""
}

// repair makes a damaged tree whole again, or removes one that nobody needs. An error says why it cannot, and
// what to do.
func (c *care) repair(ctx context.Context, tree store.Tree) error {
	users := c.users(tree)
	switch {
	case len(users) == 0 && tree.Area == store.Code:
		c.collect()
		return nil
	case len(users) == 0:
		dropped, err := c.store.Drop(tree.Digest)
		if err == nil && !dropped {
			err = core.Errorf(core.KindConflict, core.FaultWorker, "it stays in quarantine: a deploy has just asked for it")
		}
		c.collect()
		return err
	case tree.Area == store.Code:
		return core.Errorf(core.KindUnavailable, core.FaultWorker, "only its author has the code: deploy %s again", users[0].Name)
	}
	for _, p := range c.store.Installed() {
		for _, fn := range users {
			if p.Digest == tree.Digest && p.Runtime == fn.Runtime {
				return c.reinstall(ctx, fn, p)
			}
		}
	}
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "it is not known what it was installed from: deploy %s again", users[0].Name)
}

// reinstall installs a package again, as the function's driver did the first time.
func (c *care) reinstall(ctx context.Context, fn core.Function, damaged core.Installed) error {
	hold := c.store.Hold()
	defer hold.Release()
	hold.Keep(fn.Code)
	code, err := c.store.CodePath(fn.Code)
	if err != nil {
		return err
	}
	d := c.deployment(core.DeployRequest{}, code, nil)
	d.fn, d.hold = fn, hold
	if d.settings, err = bundle.LoadSettings(code); err != nil {
		return err
	}
	if err := d.find(ctx); err != nil {
		return err
	}
	if d.parts.Installer == nil {
		return core.Errorf(core.KindUnsupported, core.FaultDriver, "the driver of %s installs no packages any more", fn.Runtime)
	}
	d.fn.Packages = nil // as in a deploy: an installer sees no other packages
	have, missing, free, err := c.claimMissing(ctx, fn.Runtime, []core.Locked{damaged.Locked}, d.hold)
	if err != nil {
		return err
	}
	defer free()
	if len(missing) > 0 {
		installed, err := d.fetch(ctx, missing, nil)
		if err != nil {
			return core.Errorf(core.KindUnavailable, core.FaultWorker, "it stays in quarantine, for it could not be installed again: %w; fix that, then run `pipsqueak store verify %s`", err, damaged)
		}
		have = append(have, installed[0].Package)
	}
	defer c.collect() // what was damaged, as soon as no process has it
	if have[0].Digest != damaged.Digest {
		return c.exchange(damaged.Package, have[0])
	}
	if fn, deployed := c.store.Get(fn.Name); deployed {
		c.prepareLater(fn, nil)
	}
	return nil
}

// exchange gives the functions that have a package the same one with another digest: not every installer
// leaves the same files each time.
func (c *care) exchange(old, new core.Package) error {
	var all error
	for _, fn := range c.users(store.Tree{Area: store.Packages, Digest: old.Digest}) {
		if err := c.exchangeIn(fn.Name, old, new); err != nil {
			all = errors.Join(all, fmt.Errorf("installed again it has other files, and %s cannot have them: %w; deploy it again", fn.Name, err))
		}
	}
	return all
}

func (c *care) exchangeIn(name string, old, new core.Package) error {
	done, err := c.claims.name(name)
	if err != nil {
		return err
	}
	defer done()
	fn, ok := c.store.Get(name)
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
	c.part(&fn, true)
	if err := c.store.Put(fn); err != nil {
		return err
	}
	c.live.Drain(name, fn.Version)
	c.prepareLater(fn, nil)
	return nil
}
