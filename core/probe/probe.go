// Package probe imports each package of a function once, in a sandbox, and tells what it did, as it is seen from outside the process.
//
// Packages are imported one after the other by one process, those that others require first, and looked at in between: so each is
// seen when everything that it requires is there, and nothing is imported twice. What leaves a process that must not be forked, or ends
// it, is left out for those that follow, which a fresh fork of an earlier process imports.
package probe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

const (
	packageTime = 10 * time.Second // for the imports of one package
	wholeTime   = time.Minute      // for all packages of a function
	preloadTime = 10 * time.Second // for a root zygote
	memoryLimit = 4 << 30          // bytes of each process, as for an installer's
	maxDepth    = 8                // of processes forked from one another, as in the tree
	maxErrors   = 3                // modules of one package that may fail, before the others are left unknown
	looks       = 4                // at a process that has something new
	settling    = 10 * time.Millisecond
)

// Sandbox is where one process of a probe lives.
type Sandbox interface {
	Ref() core.Sandbox
	Entered() (pid int, enter time.Duration, err error)
	Observe() (sandbox.Observation, error)
	Done() <-chan struct{}
	Kill()
}

// Machine is what a probe needs of the worker.
type Machine struct {
	Driver  core.Driver
	Runtime core.Runtime
	// Create makes a sandbox with an ID of its own, whatever the config's is.
	Create func(context.Context, core.SandboxConfig) (Sandbox, error)
}

// Stale reports whether a package of these has to be probed: it never was, or what kept it out of zygotes is not among them.
func Stale(p core.Installed, all []core.Installed) bool {
	return p.Probe == nil || p.Probe.Through != "" && !slices.ContainsFunc(all, func(q core.Installed) bool { return q.String() == p.Probe.Through })
}

// Run probes those of the packages that are Stale, and calls done with each result as it comes. The packages are all that one
// function has: nothing else can be imported. An error is the machine's, a driver's or the context's, never a package's; packages
// that have no result by then are still unknown.
func Run(ctx context.Context, m Machine, packages []core.Installed, done func(core.Package, core.Probe)) error {
	r, err := open(ctx, m, packages)
	if err != nil {
		return err
	}
	defer r.close()
	var good []*core.Installed // their fork is still to be tried: one fork of all takes as long as of each
	for _, p := range r.order {
		if !Stale(*p, packages) {
			continue
		}
		probe, err := r.probe(p)
		if err != nil {
			return err
		}
		p.Probe = &probe
		if probe.Unforkable == "" {
			good = append(good, p)
			continue
		}
		done(p.Package, probe)
	}
	if len(good) > 0 {
		if err := r.forkAll(good); err != nil {
			return err
		}
	}
	for _, p := range good {
		done(p.Package, *p.Probe)
	}
	return nil
}

// Try tells which of some more modules a zygote that has imported the first ones could import as well: without an error, and still
// fit to be forked; and why not of the others. The errors are those of Run.
func Try(ctx context.Context, m Machine, packages []core.Installed, first, more []string) (good []string, bad map[string]string, err error) {
	r, err := open(ctx, m, packages)
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	r.good, r.forkEach, bad = first, true, map[string]string{}
	for _, module := range more {
		tried := core.Installed{Receipt: core.Receipt{Modules: []string{module}}}
		probe, err := r.probe(&tried)
		if err != nil {
			return nil, nil, err
		}
		if why := cmp.Or(probe.Errors[module], probe.Unforkable); why != "" {
			bad[module] = why
		} else {
			good = append(good, module)
		}
	}
	return good, bad, nil
}

// run is one probe of a function's packages.
type run struct {
	Machine
	ctx    context.Context
	cancel context.CancelFunc
	set    core.Set
	order  []*core.Installed // each after what it requires
	byName map[string]*core.Installed

	all      []*process
	root     *process             // has imported nothing
	base     *process             // has imported what is good, up to the last package that was not
	work     *process             // a fork of base that imports; nil when there is none
	good     []string             // the modules that work has imported, or would have
	seen     *sandbox.Observation // the last one of work, as long as it has imported nothing since
	forkEach bool                 // after each package
}

// process is one process of a probe, in a sandbox of its own.
type process struct {
	Sandbox
	modules []string // that it has imported, or what it was forked from
	depth   int
}

func open(ctx context.Context, m Machine, packages []core.Installed) (*run, error) {
	r := &run{Machine: m, byName: map[string]*core.Installed{}}
	packages = slices.Clone(packages)
	for i := range packages {
		r.set = append(r.set, packages[i].Package)
		r.byName[packages[i].String()] = &packages[i]
	}
	r.set = core.NewSet(r.set...)
	for i := range packages {
		r.order = append(r.requires(&packages[i], r.order), &packages[i])
	}
	r.order = unique(r.order)
	r.ctx, r.cancel = context.WithTimeout(ctx, wholeTime)
	var err error
	if r.root, err = r.process(nil); err != nil {
		r.close()
		return nil, err
	}
	r.base = r.root
	return r, nil
}

func (r *run) close() {
	r.cancel()
	for _, p := range slices.Backward(r.all) {
		p.Kill()
	}
	for _, p := range r.all {
		<-p.Done()
	}
}

// requires appends what a package requires, directly or not, each after what it requires itself.
func (r *run) requires(p *core.Installed, found []*core.Installed) []*core.Installed {
	var visit func(p *core.Installed)
	seen := map[*core.Installed]bool{p: true}
	visit = func(p *core.Installed) {
		for _, name := range p.Locked.Requires {
			if q := r.byName[name]; q != nil && !seen[q] {
				seen[q] = true
				visit(q)
				found = append(found, q)
			}
		}
	}
	visit(p)
	return found
}

func unique(all []*core.Installed) []*core.Installed {
	var once []*core.Installed
	for _, p := range all {
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	return once
}

// process makes a process: a fork of the parent, or a root zygote when there is none.
func (r *run) process(parent *process) (*process, error) {
	ctx, cancel := context.WithTimeout(r.ctx, preloadTime)
	defer cancel()
	box, err := r.Create(ctx, core.SandboxConfig{Role: core.RoleZygote, Runtime: r.Runtime, Packages: r.set, Limits: core.Limits{Memory: memoryLimit}})
	if err != nil {
		return nil, err
	}
	p := &process{Sandbox: box}
	r.all = append(r.all, p)
	id := box.Ref().ID
	if parent == nil {
		err = r.Driver.Preload(ctx, id, r.Runtime.ID, box.Ref())
	} else {
		p.modules, p.depth = parent.modules, parent.depth+1
		err = r.Driver.Fork(ctx, id, parent.Ref().ID, box.Ref())
	}
	if err == nil {
		_, _, err = box.Entered()
	}
	if err != nil {
		r.end(p)
		return nil, err
	}
	return p, nil
}

// end ends a process and everything that was forked from it.
func (r *run) end(p *process) {
	p.Kill()
	<-p.Done()
	if p == r.work {
		r.work, r.seen = nil, nil
	}
}

// observe looks at the process to work with.
func (r *run) observe() (sandbox.Observation, error) {
	if r.seen == nil {
		seen, err := r.work.Observe()
		if err != nil {
			return seen, err
		}
		r.seen = &seen
	}
	return *r.seen, nil
}

// load has a process import modules.
func (r *run) load(ctx context.Context, p *process, modules ...string) error {
	dirs := make([]string, len(r.set))
	for i, one := range r.set {
		dirs[i] = core.PackageDir(one)
	}
	if p == r.work {
		r.seen = nil
	}
	_, err := r.Driver.Import(ctx, p.Ref().ID, core.Load{Packages: dirs, Modules: modules})
	if err == nil {
		p.modules = slices.Concat(p.modules, modules)
	}
	return err
}

// ready sees to it that there is a process to work with, which has imported all that is good and is needed. What cannot be imported any
// more is good no longer.
func (r *run) ready(needed []string) error {
	if r.work == nil {
		if err := r.refork(); err != nil {
			return err
		}
	}
	if missing := without(needed, r.work.modules); len(missing) > 0 {
		if err := r.load(r.ctx, r.work, missing...); err != nil {
			r.end(r.work)
			return r.refork()
		}
		r.good = r.work.modules
	}
	return nil
}

// refork makes a process to work with after the last one was spoilt. What that had imported beyond base is imported again, once: a copy of the
// result is base from then on.
func (r *run) refork() error {
	for r.ctx.Err() == nil {
		p, err := r.process(r.base)
		if err != nil {
			if r.base == r.root {
				return err
			}
			r.base, r.good = r.root, nil // a package has harmed it after all
			continue
		}
		r.work = p
		// Also when nothing is missing: what has answered has done what it does after a fork.
		missing := without(r.good, p.modules)
		if err := r.load(r.ctx, p, missing...); err != nil {
			r.end(p)
			if len(missing) == 0 {
				return err
			}
			r.good = r.base.modules
			continue
		}
		if len(missing) == 0 || p.depth >= maxDepth {
			return nil
		}
		r.base, r.work, r.seen = p, nil, nil
	}
	return r.ctx.Err()
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(m string) bool { return slices.Contains(b, m) })
}

// probe imports one package. Whether a failure is the package's or the machine's, the next fork shows.
func (r *run) probe(p *core.Installed) (core.Probe, error) {
	result := core.Probe{Time: time.Now().UTC()}
	required := r.requires(p, nil)
	ctx, cancel := context.WithTimeout(r.ctx, packageTime)
	defer cancel()
	for modules := p.Receipt.Modules; len(modules) > 0; {
		if err := r.ready(importable(required)); err != nil {
			return result, err
		}
		before, err := r.observe()
		if err != nil {
			return result, err
		}
		began := time.Now()
		module, err := r.importEach(ctx, modules)
		took := time.Since(began)
		var after sandbox.Observation
		if err == nil {
			if after, err = r.settled(before); err != nil {
				module, err = modules[len(modules)-1], fmt.Errorf("the process ended after its import: %w", err)
			}
		}
		if err != nil {
			r.end(r.work)
			if err := r.ready(nil); err != nil {
				return result, err
			}
			modules = without(modules, []string{module})
			if result.Errors == nil {
				result.Errors = map[string]string{}
			}
			result.Errors[module] = err.Error()
			if ctx.Err() != nil {
				result.Errors[module] = fmt.Sprintf("importing %s takes longer than %v", module, packageTime)
				break
			}
			if len(result.Errors) == maxErrors {
				break
			}
			continue
		}
		return result, r.judge(&result, before, after, took, required)
	}
	return result, nil
}

// importable are the modules of packages that are known to be good.
func importable(packages []*core.Installed) (modules []string) {
	for _, p := range packages {
		if p.Probe == nil || p.Probe.Unforkable != "" {
			continue
		}
		for _, m := range p.Receipt.Modules {
			if _, fails := p.Probe.Errors[m]; !fails {
				modules = append(modules, m)
			}
		}
	}
	return modules
}

// importEach imports modules one by one, and returns the one that failed.
func (r *run) importEach(ctx context.Context, modules []string) (failed string, err error) {
	for _, m := range modules {
		if err := r.load(ctx, r.work, m); err != nil {
			return m, err
		}
	}
	return "", nil
}

// settled looks at the process, and again after a moment while there is something that was not there before: threads and processes that were
// ended by who began them may take that long to be gone, and the language's own loop may just be reading a directory.
func (r *run) settled(before sandbox.Observation) (after sandbox.Observation, err error) {
	for range looks {
		if after, err = r.observe(); err != nil || compare(&core.Probe{}, before, after) == "" {
			return after, err
		}
		time.Sleep(settling)
		r.seen = nil
	}
	return after, nil
}

// judge fills in what was seen, and drops the process when it must not be forked.
func (r *run) judge(result *core.Probe, before, after sandbox.Observation, took time.Duration, required []*core.Installed) error {
	private := max(after.Memory.Private-before.Memory.Private, 0)
	why := compare(result, before, after)
	if why == "" && r.forkEach {
		why = r.tryFork()
	}
	result.Unforkable = why
	if why != "" {
		for _, q := range required {
			if q.Probe != nil && q.Probe.Unforkable != "" {
				result.Unforkable, result.Through = fmt.Sprintf("imports %s, which %s", q.Name, q.Probe.Unforkable), q.String()
				took, private = max(took-q.Probe.Own, 0), max(private-q.Probe.Private, 0) // it was not there before
				break
			}
		}
		r.end(r.work)
		if err := r.ready(nil); err != nil {
			return err
		}
	} else {
		r.good = r.work.modules
	}
	result.Own, result.Private, result.Took, result.Memory = took, private, took, private
	for _, q := range required {
		if q.Probe != nil {
			result.Took += q.Probe.Own
			result.Memory += q.Probe.Private
		}
	}
	return nil
}

// forkAll tries a fork of a process that has imported all the packages. When there is something wrong with it, each is probed once more, with a
// fork after each.
func (r *run) forkAll(good []*core.Installed) error {
	if err := r.ready(importable(good)); err != nil {
		return err
	}
	if r.tryFork() == "" {
		return nil
	}
	r.end(r.work)
	r.base, r.good, r.forkEach = r.root, nil, true
	for _, p := range good {
		probe, err := r.probe(p)
		if err != nil {
			return err
		}
		p.Probe = &probe
	}
	return nil
}

// tryFork tells why the process cannot be forked any more, if it cannot: a fork has to stand in its sandbox and answer.
func (r *run) tryFork() string {
	r.seen = nil // to fork leaves something as well
	child, err := r.process(r.work)
	if err == nil {
		err = r.load(r.ctx, child)
		r.end(child)
	}
	if err != nil {
		return "cannot be forked after its import: " + err.Error()
	}
	return ""
}
