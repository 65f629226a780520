package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// Of what an instance says that its function imports besides, so much is believed.
const (
	maxLoaded    = 64
	learnTimeout = time.Minute
	readyTimeout = 2 * time.Minute // that a deploy waits for its zygote, behind those of others
)

// machine is what a probe of a function's packages needs.
func (d *deployment) machine() probe.Machine {
	return probe.Machine{Driver: d.driver, Runtime: d.runtime, By: d.prober(d.runtime.ID), Create: d.bench.probed}
}

// prober names what makes probes of a runtime now, empty when its driver is not there.
func (w *Worker) prober(id core.RuntimeID) string {
	if w.fleet == nil {
		return ""
	}
	for _, d := range w.fleet.Snapshot() {
		for _, r := range d.Runtimes {
			if r.ID == id {
				own := core.BuildOf()
				return fmt.Sprintf("pipsqueak %s %s, %s driver %s, %s %s", own.Version, own.Revision, d.Language, d.Version, id, r.Version)
			}
		}
	}
	return ""
}

// installed returns what the store knows of the packages of a function.
func (w *Worker) installed(fn *core.Function) []core.Installed {
	if len(fn.Packages) == 0 {
		return nil
	}
	return w.of(fn, w.store.InstalledOf(fn.Runtime, fn.Packages))
}

// of returns those of the installed packages that a function has.
func (w *Worker) of(fn *core.Function, installed []core.Installed) []core.Installed {
	own := slices.DeleteFunc(slices.Clone(installed), func(p core.Installed) bool {
		_, has := slices.BinarySearchFunc(fn.Packages, p.Package, core.Package.Compare)
		return !has || p.Runtime != fn.Runtime
	})
	if by := w.prober(fn.Runtime); by != "" {
		for i := range own {
			own[i] = probe.Known(own[i], by)
		}
	}
	return own
}

// reconsider has what was found out about a function's imports by another probe than there is now found out
// again, as far as it failed. It returns whether there is anything.
func (w *Worker) reconsider(fn *core.Function, packages []core.Installed) (changed bool) {
	by := w.prober(fn.Runtime)
	if by == "" || !again(fn, packages, by) {
		return false
	}
	_, err := w.store.Amend(fn.Name, fn.Version, func(f *core.Function) { again(f, packages, by) })
	if err != nil {
		w.log.Warn("probe", "fn", fn.Name, "err", err)
	}
	return true
}

// again forgets trials that failed by another probe than by, and lets the modules that were left to the code
// for such a failure, or for that of a package, wait like those that were never probed.
func again(fn *core.Function, packages []core.Installed, by string) (changed bool) {
	failed := func(_ string, trial core.Trial) bool { return trial.Why != "" && trial.By != by }
	fn.Imports, fn.Apart = slices.Clone(fn.Imports), maps.Clone(fn.Apart)
	for _, module := range slices.Sorted(maps.Keys(fn.Apart)) {
		p, _ := owner(module, packages)
		if !failed(module, fn.Tried[module]) && (p == nil || !probe.Stale(*p, packages)) {
			continue
		}
		changed = true
		fn.Apart[module] = module + " " + unprobed
		if !slices.Contains(fn.Imports, module) && !slices.Contains(fn.Perhaps, module) {
			fn.Imports = append(fn.Imports, module)
		}
	}
	tried := maps.Clone(fn.Tried)
	maps.DeleteFunc(tried, failed)
	changed = changed || len(tried) < len(fn.Tried)
	fn.Tried = tried
	return changed
}

// unprobed is why modules are left to instances until their packages have been probed, which begins when the deploy has ended.
const unprobed = "is being probed"

// prepareLater compiles and probes the packages of a function that is deployed, lets zygotes import what they may, and has its zygote made.
// When the probe fails they may try.
func (w *Worker) prepareLater(fn core.Function, locked []core.Locked) {
	if !w.learning.join() {
		return // the next worker does it
	}
	go func() {
		defer w.learning.working.Done()
		ctx := w.learning.ctx
		if d := w.deployed(fn, locked); d.find(ctx) == nil {
			d.prepare(ctx)
		}
		_, end := w.watch(ctx, fn.Name, fn.Version)
		if ctx.Err() != nil {
			return
		}
		for _, other := range w.store.List() {
			if own := other.Name == fn.Name && other.Version == fn.Version; own {
				w.preloadSettled(ctx, other)
				w.settle(fn.Name, fn.Version, false)
				end()
			} else if waits(&other) {
				w.settle(other.Name, other.Version, true)
			}
		}
	}()
}

// waits tells whether modules of the function are left to instances for want of a probe.
func waits(fn *core.Function) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(fn.Apart)), func(why string) bool { return strings.HasSuffix(why, unprobed) })
}

// prepareNow does the same for a function that is about to be deployed, and waits for all of it.
func (d *deployment) prepareNow(ctx context.Context) {
	if d.find(ctx) != nil {
		return // what comes next tells
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
	d.tree.Preload(ctx, &d.fn)
	done(d.tree.Unready(&d.fn), 0)
}

// hasImports tells whether there is anything to find out about the imports of a function.
func hasImports(fn *core.Function) bool {
	return len(fn.Packages) > 0 || len(fn.Imports) > 0 || len(fn.Perhaps) > 0
}

// preloadSettled has the zygote made that a function is forked from when all is settled, before it is: meanwhile its starts are what they were.
func (w *Worker) preloadSettled(ctx context.Context, fn core.Function) {
	fn.Imports = slices.Clone(fn.Imports)
	w.part(&fn, false)
	w.tree.Preload(ctx, &fn)
}

// settle finds out anew which modules of a deployed function no zygote may import. With wait, what was not probed goes on waiting.
func (w *Worker) settle(name string, version int, wait bool) {
	settled, ok := w.store.Get(name)
	if !ok || settled.Version != version || !hasImports(&settled) {
		return
	}
	settled.Imports = slices.Clone(settled.Imports)
	w.part(&settled, wait)
	corrected, err := w.store.Amend(name, version, func(f *core.Function) {
		f.Imports, f.Apart, f.Aside, f.Loaded, f.Weights = settled.Imports, settled.Apart, settled.Aside, settled.Loaded, settled.Weights
		f.Offers = settled.Offers
	})
	if err == nil {
		w.sched.Correct(&corrected)
	} else if !core.IsKind(err, core.KindConflict) {
		w.log.Warn("probe", "fn", name, "err", err)
	}
}

// prepare compiles the packages of the function that were never compiled, and imports those that were never probed, when it has a
// turn. Work that fails now is done for the next deploy that has the package.
func (d *deployment) prepare(ctx context.Context) {
	fn := &d.fn
	if !hasImports(fn) {
		return
	}
	all := d.installed(fn)
	if d.prepared(all) {
		return // what others have under way is nothing to it
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

// prepared tells whether there is nothing to compile, to probe or to try for the function.
func (d *deployment) prepared(all []core.Installed) bool {
	_, untried := modulesToTry(&d.fn, all)
	return len(untried) == 0 && !slices.ContainsFunc(all, func(p core.Installed) bool { return probe.Stale(p, all) }) &&
		(!can(d.driver, core.CapabilityCompile) || len(d.store.Uncompiled(all)) == 0)
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

// verdict is what a person is told of a probe: nothing of one that found nothing.
func verdict(p core.Probe) string {
	if p.Unforkable == "" && len(p.Errors) > 0 {
		return "cannot be imported by itself"
	}
	return p.Unforkable
}

// compile has those of the packages compiled that were not. Without it they are imported all the same, only slower.
func (d *deployment) compile(ctx context.Context, all []core.Installed) error {
	packages := d.store.Uncompiled(all)
	if !can(d.driver, core.CapabilityCompile) || len(packages) == 0 {
		return nil
	}
	began, done := time.Now(), d.timed(core.Progress{Verb: "compile", Item: d.fn.Name})
	defer done("", 0)
	out, err := d.store.Stage()
	if err != nil {
		return err
	}
	defer func() { _ = d.store.Discard(out) }()
	dirs := map[core.Package]string{}
	for _, p := range packages {
		dirs[p] = filepath.Join(out, p.Base())
		if err := os.Mkdir(dirs[p], 0o755); err != nil {
			return err
		}
	}
	t := d.task(buildTimeout, func(ctx context.Context, sandbox core.Sandbox) error {
		return d.driver.Compile(ctx, core.CompileRequest{Runtime: d.runtime.ID, Packages: packages, Sandbox: sandbox})
	}, outMount(out))
	shown := d.fn
	shown.Packages, t.fn = core.NewSet(packages...), &shown
	err = d.bench.do(ctx, t)
	if err == nil {
		err = d.store.CommitCompiled(d.runtime.ID, dirs)
	}
	if err == nil {
		d.log.Info("compile", "fn", d.fn.Name, "packages", len(packages), "took", time.Since(began))
	}
	return err
}

// owner finds the package that a module is of: the one with the longest module that it is or begins with, and that module. When there is none, the way in
// which the module is imported, before a colon, does not count: a package tells of one way.
func owner(module string, packages []core.Installed) (found *core.Installed, own string) {
	for i := range packages {
		for _, m := range packages[i].Receipt.Modules {
			if len(m) > len(own) && plan.Within(module, m) {
				found, own = &packages[i], m
			}
		}
	}
	if _, name, ways := strings.Cut(module, ":"); found == nil && ways {
		return owner(name, packages)
	}
	return found, own
}

// learnCosts tells the tree what importing a function's modules takes, as their packages' probes have it, and which variables those read that are the language's own.
func (w *Worker) learnCosts(fn *core.Function, packages []core.Installed) {
	costs := map[string]time.Duration{}
	for _, module := range slices.Concat(fn.Imports, fn.Loaded) {
		if p, _ := owner(module, packages); p != nil && p.Probe != nil && len(p.Probe.Errors) == 0 {
			costs[module] = p.Probe.Took
		}
		if trial, tried := fn.Tried[module]; tried {
			costs[module] += trial.Took
		}
	}
	w.tree.Learn(fn.Runtime, costs)
	w.tree.LearnReads(fn.Runtime, unowned(fn, packages))
	w.tree.Weigh(fn.Runtime, fn.Weights)
}

// watched stands for the whole handler among the modules that were tried.
const watched = ""

// learning is what instances say that they import besides: what of it was tried, so that nothing is tried twice, and what is being tried.
type learning struct {
	ctx    context.Context // ends with the worker
	cancel context.CancelFunc

	mu      sync.Mutex
	working sync.WaitGroup
	tried   map[string]tried // by function
}

// tried is the modules that were tried for a version of a function.
type tried struct {
	version int
	modules []string
}

func newLearning() *learning {
	l := &learning{tried: map[string]tried{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// begin returns those of the modules that were not tried yet, and counts them as tried. When there are any, the caller calls working.Done.
func (l *learning) begin(fn *core.Function, modules []string) (fresh []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tried[fn.Name]
	if t.version > fn.Version {
		return nil // the instance is of a version that was replaced
	}
	if t.version < fn.Version {
		t = tried{version: fn.Version}
	}
	for _, m := range modules {
		if len(t.modules) < maxLoaded && !slices.Contains(t.modules, m) {
			t.modules = append(t.modules, m)
			fresh = append(fresh, m)
		}
	}
	l.tried[fn.Name] = t
	if l.ctx.Err() != nil {
		return nil
	}
	if len(fresh) > 0 {
		l.working.Add(1)
	}
	return fresh
}

// forget forgets what was tried for a function.
func (l *learning) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tried, name)
}

// join counts one more piece of work, which ends with working.Done, unless the worker is closing.
func (l *learning) join() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.working.Add(1)
	return true
}

// close ends what is being tried, and waits for it.
func (l *learning) close() {
	l.mu.Lock()
	l.cancel()
	l.mu.Unlock()
	l.working.Wait()
}

// loaded corrects what a function is known to import, by what an instance of it says that it did. The instance runs the function's code, so its
// word is taken for modules of the function's own packages, and after a zygote could import them in a probe.
func (w *Worker) loaded(fn *core.Function, modules []string) {
	if !fn.Watched && hasImports(fn) && len(w.learning.begin(fn, []string{watched})) > 0 { // it can be imported by now
		w.watchLater(*fn)
		w.learning.working.Done()
	}
	packages := w.installed(fn)
	modules = slices.DeleteFunc(modules, func(m string) bool {
		p, _ := owner(m, packages)
		return p == nil || p.Probe != nil && (p.Probe.Unforkable != "" || len(p.Probe.Errors) > 0) || fn.Apart[m] != "" || slices.Contains(fn.Imports, m) || slices.Contains(fn.Loaded, m)
	})
	if modules = w.learning.begin(fn, modules); len(modules) == 0 {
		return
	}
	defer w.learning.working.Done()
	ctx, cancel := context.WithTimeout(w.learning.ctx, learnTimeout)
	defer cancel()
	err := w.learn(ctx, fn, modules)
	if err != nil && ctx.Err() == nil {
		w.log.Warn("import", "fn", fn.Name, "modules", modules, "err", err)
	}
}

// learn tries those modules that an instance of a function has imported besides and that nobody has tried for
// it. The version that is deployed at the end has the use of it, as far as it is alike.
func (w *Worker) learn(ctx context.Context, fn *core.Function, modules []string) error {
	d := w.deployed(*fn, nil)
	if err := d.find(ctx); err != nil {
		return err
	}
	packages := w.installed(fn)
	trials, err := d.tryLoaded(ctx, modules, packages)
	for err == nil {
		known, ok := w.store.Get(fn.Name)
		if !ok || !alike(fn, &known) {
			return nil
		}
		before := known.Loaded
		take(&known, modules, trials, packages)
		news := !slices.Equal(before, known.Loaded)
		if !news && len(trials) == 0 {
			return nil // an earlier version has learned it all
		}
		if news {
			w.tree.Preload(ctx, &known) // before its starts want it
		}
		var corrected core.Function
		corrected, err = w.store.Amend(fn.Name, known.Version, func(f *core.Function) { take(f, modules, trials, packages) })
		if err == nil && news {
			w.learnCosts(&corrected, packages)
			w.sched.Correct(&corrected)
			w.log.Info("import", "fn", fn.Name, "loaded", corrected.Loaded)
		}
		if !core.IsKind(err, core.KindConflict) {
			return err
		}
		err = nil // it was replaced meanwhile
	}
	return err
}

// tryLoaded tries modules that an instance of the function has imported besides, but for those that were tried
// for it while this waited.
func (d *deployment) tryLoaded(ctx context.Context, modules []string, packages []core.Installed) (map[string]core.Trial, error) {
	defer d.turns.takeLater()()
	known, ok := d.store.Get(d.fn.Name)
	if !ok || !alike(&d.fn, &known) {
		return nil, nil
	}
	fresh := slices.DeleteFunc(slices.Clone(modules), func(m string) bool { _, tried := trialOf(&known, m); return tried })
	if len(fresh) == 0 {
		return nil, nil
	}
	first := slices.DeleteFunc(slices.Concat(known.Imports, known.Loaded), func(m string) bool { return known.Apart[m] != "" })
	trials, err := probe.Try(ctx, d.machine(), packages, first, fresh, known.Settings())
	return trials, errors.Join(err, d.noteAsks(d.runtime.ID, packages, trials))
}
