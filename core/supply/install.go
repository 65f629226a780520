package supply

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// install installs those of the locked packages that the store does not have, and gives the function all of
// them.
func (d *deployment) install(ctx context.Context) error {
	if len(d.locked) == 0 {
		return nil
	}
	have, missing, free, err := d.claimMissing(ctx, d.runtime.ID, d.locked, d.hold)
	if err != nil {
		return err
	}
	defer free()
	done := d.timed(core.Progress{Verb: "install", Item: d.fn.Name, Total: int64(len(missing))})
	for _, p := range have {
		d.progress(core.Progress{Verb: "install", Item: p.String(), Detail: inStore, Ended: true})
	}
	if len(missing) == 0 {
		done(core.Count(len(have), "package", "packages")+", all in the store", 0)
		d.fn.Packages = core.NewSet(have...)
		return nil
	}
	allow := d.settings.Allow
	if err := refuseScripts(missing, allow); err != nil {
		return err
	}
	meter := newMeter(d.progress)
	for _, together := range inTurn(missing, allow) {
		d.fn.Packages = core.NewSet(have...)
		installed, err := d.fetch(ctx, together, meter.step)
		if err != nil {
			return err
		}
		d.out = ""
		for _, p := range installed {
			have = append(have, p.Package)
			meter.done(p)
		}
	}
	done(fmt.Sprintf("%s, %d of them in the store", core.Count(len(d.locked), "package", "packages"), len(d.locked)-len(missing)), meter.bytes)
	d.fn.Packages = core.NewSet(have...)
	return nil
}

// inTurn says which packages are installed together, and in which order. One that may run code of its own
// could write into the others, which all functions share: it is alone, after all that run none and after
// those that it requires, and sees them as they are in the store.
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

// fetch installs claimed packages. While they install they see those that the function has so far.
func (d *deployment) fetch(ctx context.Context, packages []core.Locked, progress func(core.Progress)) ([]core.Installed, error) {
	out := d.out
	if out == "" {
		var err error
		if out, err = d.store.Stage(); err != nil {
			return nil, err
		}
		defer func() { _ = d.store.Discard(out) }()
	}
	receipts := map[string]core.Receipt{}
	t := d.task(installTimeout, func(ctx context.Context, door core.Door) error {
		request := core.InstallRequest{Runtime: d.runtime.ID, Packages: packages, Allow: d.settings.Allow, Door: door}
		all, err := d.parts.Installer.Install(ctx, request, progress)
		for _, r := range all {
			receipts[r.Name+"=="+r.Version] = r
		}
		return err
	}, outMount(out))
	t.network, t.shown = true, []core.Mount{{Source: d.dir, Target: core.CodeDir}}
	if err := d.bench.do(ctx, t); err != nil {
		return nil, err
	}
	var staged []store.Staged
	for _, p := range packages {
		staged = append(staged, store.Staged{Locked: p, Receipt: receipts[p.String()], Dir: filepath.Join(out, p.Base())})
	}
	return d.store.CommitPackages(d.runtime.ID, staged, d.hold)
}

// refuseScripts refuses packages that cannot be installed without running code of their own, unless the
// function allows it.
func refuseScripts(packages []core.Locked, allow []string) error {
	for _, p := range packages {
		if p.Scripts && !allows(allow, p) {
			return core.Errorf(core.KindInstall, core.FaultCaller,
				"%s runs code of its own when it is installed: take a version that does not, or allow it with 'allow_scripts: [%s]' in %s", p, p.Name, bundle.SettingsFile)
		}
	}
	return nil
}

// allows reports whether a package is among those that may run code. A slash in a name is a plus in the name
// of a directory.
func allows(allow []string, p core.Locked) bool {
	return slices.ContainsFunc(allow, func(name string) bool { return strings.ReplaceAll(name, "/", "+") == p.Name })
}

// claimMissing looks up the packages of a lock, and claims those that have to be installed: while somebody
// else installs one of them it waits, for then it may be there, so that what two deploys share is fetched
// once. Deploys that share nothing do not wait for each other. The caller calls done when it has installed
// what is missing, or has failed to.
func (s *Supply) claimMissing(ctx context.Context, runtime core.RuntimeID, wanted []core.Locked, hold *store.Hold) (have []core.Package, missing []core.Locked, done func(), err error) {
	for {
		if _, missing, err = s.store.Take(runtime, wanted, hold); err != nil {
			return nil, nil, nil, err
		}
		done, busy := s.claims.packages(runtime, missing)
		if busy == nil { // but somebody may have finished just before it was claimed
			if have, missing, err = s.store.Take(runtime, wanted, hold); err != nil {
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
