// Package probe imports each package of a function once, in a sandbox, and reports what the import did, as
// the kernel shows it from outside the process.
//
// One process imports the packages one after the other, required ones first, and is observed in between. So
// each package is seen when everything that it requires is there, and nothing is imported twice. A package
// that ends the process, or leaves it in a state that must not be forked, is left out for the packages after
// it: a fork of an earlier process imports those.
package probe

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

const (
	packageTime = 10 * time.Second      // for the imports of one package
	wholeTime   = time.Minute           // for all packages of a function
	preloadTime = 10 * time.Second      // for a root zygote
	memoryLimit = 4 << 30               // bytes of each process, as for an installer's
	maxDepth    = 8                     // of processes forked from one another, as in the tree
	endGrace    = time.Second / 5       // for the end of a process of which a driver has said that it ended
	maxErrors   = 3                     // modules of one package that may fail, before the others are left unknown
	shortPause  = 10 * time.Millisecond // between two looks at a process that has something new, and twice as long each time,
	longPause   = 80 * time.Millisecond // up to that
)

// Sandbox is where one process of a probe lives.
type Sandbox interface {
	Door() core.Door
	Entered() (pid int, enter time.Duration, err error)
	Observe() (sandbox.Observation, error)
	Done() <-chan struct{}
	Exit() core.Exit
	Kill()
}

// Machine is the part of the worker that a probe needs.
type Machine struct {
	Driver  core.Driver
	Runtime core.Runtime
	// Create makes a sandbox with an ID of its own, whatever the config's is.
	Create func(context.Context, core.SandboxConfig) (Sandbox, error)
	By     string // as in core.Probe
}

// version is of what a probe looks at. 2: the variables that are read, and random numbers that repeat. 3: the
// packages that are asked for. 4: the same in Node.js and Ruby. 5: generators that give little each time. 6:
// the working directory and the process's id. 7: the variables that libraries read for their callers. 8:
// random numbers that are drawn, and callers. 9: the variables that languages read. 10: identities that
// repeat. 11: the memory of each module.
const version = 11

// Stale reports whether one of these packages has to be probed: no probe has looked at all that this one
// looks at, or the package that kept it out of zygotes is not among these.
func Stale(p core.Installed, all []core.Installed) bool {
	return p.Probe == nil || p.Probe.Version != version || p.Probe.Through != "" && !slices.ContainsFunc(all, func(q core.Installed) bool { return q.String() == p.Probe.Through })
}

// Known returns a package with what is known of it, for probes that are made by that driver and runtime. A
// probe that failed and was made by another one becomes Stale.
func Known(p core.Installed, by string) core.Installed {
	if p.Probe != nil && p.Probe.By != by && (p.Probe.Unforkable != "" || len(p.Probe.Errors) > 0) {
		again := *p.Probe
		again.Version = 0
		p.Probe = &again
	}
	return p
}

// Asks returns the names that a package asks for when it is imported, and whether they are known.
func Asks(p core.Installed) (names []string, known bool) {
	if p.Probe == nil || p.Probe.Version != version {
		return nil, false
	}
	return p.Probe.Asks, true
}

// Current reports whether a trial looked at all that trials look at now.
func Current(t core.Trial) bool { return t.Version == version }

// Run probes those of the packages that are Stale, and calls done with each result as it comes. The packages
// must be all packages of one function: nothing else can be imported. An error is the machine's, a driver's
// or the context's, never a package's. Packages without a result by then are still unknown.
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
		if err := r.drawAll(good); err != nil {
			return err
		}
	}
	for _, p := range good {
		done(p.Package, *p.Probe)
	}
	return nil
}

// Try reports for each of more what it does when a zygote imports it. The zygote has imported first, and
// those of more before it that a zygote may have: none that must not be in one, none that reads the
// environment variables names, and none that looks at its place. The errors are those of Run; the trials that
// are done by then are returned with them.
func Try(ctx context.Context, m Machine, packages []core.Installed, first, more, names []string) (map[string]core.Trial, error) {
	r, err := open(ctx, m, packages)
	if err != nil {
		return nil, err
	}
	defer r.close()
	r.good, r.forkEach = first, true
	tried := map[string]core.Trial{}
	for _, module := range more {
		one := core.Installed{Receipt: core.Receipt{Modules: []string{module}}}
		probe, err := r.probe(&one)
		if err != nil {
			return tried, err
		}
		trial := core.Trial{Why: cmp.Or(probe.Errors[module], probe.Unforkable), Reads: probe.Reads, Asks: probe.Asks, Took: probe.Own, Memory: probe.Private,
			Version: version, By: r.By}
		if trial.Why == "" {
			if trial.Why, err = r.draw(module); err != nil {
				return tried, err
			}
			if trial.Why != "" || Reads(trial.Reads, names) != "" || slices.ContainsFunc(trial.Asks, core.IsPlace) { // the next module would find it there
				r.drop(module)
			}
		}
		tried[module] = trial
	}
	return tried, nil
}

// run is one probe of a function's packages.
type run struct {
	Machine
	ctx    context.Context
	cancel context.CancelFunc
	set    core.Set
	dirs   []string          // of the set
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

func open(ctx context.Context, m Machine, packages []core.Installed) (*run, error) {
	r := &run{Machine: m, byName: map[string]*core.Installed{}}
	packages = slices.Clone(packages)
	all := make([]*core.Installed, len(packages))
	for i := range packages {
		all[i] = &packages[i]
		r.set = append(r.set, packages[i].Package)
		r.byName[packages[i].String()] = &packages[i]
	}
	r.order = r.inOrder(all...)
	r.set = core.NewSet(r.set...)
	for _, p := range r.set {
		r.dirs = append(r.dirs, core.PackageDir(p))
	}
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

// forkAll tries a fork of a process that has imported all the packages. When there is something wrong with
// it, each is probed once more, with a fork after each.
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
