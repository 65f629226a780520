package supply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// readyTimeout is how long a deploy waits for its zygote, behind those of others.
const readyTimeout = 2 * time.Minute

// machine returns the part of the worker that a probe of the function's packages needs.
func (d *deployment) machine() probe.Machine {
	return probe.Machine{Driver: d.driver, Runtime: d.runtime, By: d.prober(d.runtime.ID), Create: d.bench.probed}
}

// prepareLater compiles and probes the packages of a function that is deployed, lets zygotes import what they
// may, and has its zygote made. When the probe fails they may try.
func (s *Supply) prepareLater(fn core.Function, locked []core.Locked) {
	s.learning.begin(func(ctx context.Context) {
		if d := s.deployed(fn, locked); d.find(ctx) == nil {
			d.prepare(ctx)
		}
		_, end := s.watch(ctx, fn.Name, fn.Version)
		if ctx.Err() != nil {
			return
		}
		for _, other := range s.store.List() {
			if own := other.Name == fn.Name && other.Version == fn.Version; own {
				s.preloadSettled(ctx, other)
				s.settle(fn.Name, fn.Version, false)
				end()
			} else if waits(&other) {
				s.settle(other.Name, other.Version, true)
			}
		}
	})
}

// prepareNow does the same for a function that is about to be deployed, and waits for all of it.
func (d *deployment) prepareNow(ctx context.Context) {
	if d.find(ctx) != nil {
		return // the next step reports it
	}
	if hasImports(&d.fn) {
		d.prepare(ctx)
		d.part(&d.fn, false)
	}
	d.preload(ctx)
}

// preload has the zygote made that the function is forked from.
func (d *deployment) preload(ctx context.Context) {
	done := d.timed(core.Progress{Verb: "preload", Item: d.fn.Name})
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	d.live.Preload(ctx, &d.fn)
	done(d.live.Unready(&d.fn), 0)
}

// prepare compiles the packages of the function that were never compiled, and imports those that were never
// probed, when it has a turn. Work that fails now is done for the next deploy that has the package.
func (d *deployment) prepare(ctx context.Context) {
	fn := &d.fn
	if !hasImports(fn) {
		return
	}
	all := d.installed(fn)
	if d.prepared(all) {
		return // it need not wait for the work of others
	}
	defer d.turn()()
	all = d.installed(fn)
	if err := d.compile(ctx, all); err != nil && ctx.Err() == nil {
		d.log.Warn("compile", "fn", fn.Name, "err", err)
	}
	for i := range all {
		if at := slices.IndexFunc(d.locked, func(l core.Locked) bool { return l.String() == all[i].String() }); at >= 0 {
			all[i].Locked = d.locked[at] // what it requires in this lock, which may be other versions than in the one it was installed for
		}
	}
	if slices.ContainsFunc(all, func(p core.Installed) bool { return probe.Stale(p, all) }) {
		d.probe(ctx, all)
	}
	if err := d.try(ctx); err != nil && ctx.Err() == nil && !core.IsKind(err, core.KindConflict) {
		d.log.Warn("probe", "fn", fn.Name, "err", err)
	}
}

// prepared reports whether there is nothing to compile, to probe or to try for the function.
func (d *deployment) prepared(all []core.Installed) bool {
	_, untried := modulesToTry(&d.fn, all)
	return len(untried) == 0 && !slices.ContainsFunc(all, func(p core.Installed) bool { return probe.Stale(p, all) }) &&
		(d.parts.Compiler == nil || len(d.store.Uncompiled(all)) == 0)
}

// turn takes a turn for the packages of the function. Whoever waits is told when it is for those of others.
func (d *deployment) turn() (end func()) {
	if d.later {
		return d.turns.takeLater()
	}
	return d.turns.take(func() func() {
		done := d.timed(core.Progress{Verb: "wait", Item: d.fn.Name, Detail: "the packages of another function or version are being probed"})
		return func() { done("", 0) }
	})
}

// probe imports those of all packages of the function that were never probed.
func (d *deployment) probe(ctx context.Context, all []core.Installed) {
	found, done := map[core.Package]core.Probe{}, d.timed(core.Progress{Verb: "probe", Item: d.fn.Name})
	err := probe.Run(ctx, d.machine(), all, func(p core.Package, seen core.Probe) {
		found[p] = seen
		why := verdict(seen)
		d.progress(core.Progress{Verb: "probe", Item: p.String(), Detail: why, Ended: why != "", Took: seen.Own})
		d.log.Info("probe", "rt", d.runtime.ID, "package", p.String(), "took", seen.Own, "unforkable", seen.Unforkable, "errors", seen.Errors)
	})
	if err != nil {
		err = fmt.Errorf("not all packages could be probed: %w", err)
	}
	if err := errors.Join(err, d.store.SetProbes(d.runtime.ID, found)); err != nil && ctx.Err() == nil {
		d.log.Warn("probe", "fn", d.fn.Name, "err", err)
	}
	d.learnAsks(d.installed(&d.fn))
	done(core.Count(len(found), "package", "packages"), 0)
}

// verdict is the result of a probe for a person: "" when it found nothing.
func verdict(p core.Probe) string {
	if p.Unforkable != "" || len(p.Errors) == 0 {
		return p.Unforkable
	}
	first := slices.Min(slices.Collect(maps.Keys(p.Errors)))
	line, _, _ := strings.Cut(p.Errors[first], "\n")
	return fmt.Sprintf("cannot be imported by itself: %.200s", line)
}

// try finds out what no probe of a package reports of what a function imports: whether a zygote could import
// modules that are deeper in a package, or in none, and those that the code imports perhaps.
func (d *deployment) try(ctx context.Context) error {
	packages := d.installed(&d.fn)
	first, more := modulesToTry(&d.fn, packages)
	if len(more) == 0 {
		return nil
	}
	trials, err := probe.Try(ctx, d.machine(), packages, first, more, d.fn.Settings())
	if err != nil {
		err = fmt.Errorf("not all that it imports could be tried: %w", err)
	}
	if len(trials) == 0 {
		return err
	}
	return errors.Join(err, d.noteAsks(d.runtime.ID, packages, trials), d.amend(func(f *core.Function) { take(f, more, trials, packages) }))
}
