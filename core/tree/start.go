package tree

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// lostError marks a failure of a zygote or a driver, which a fresh one may not have.
type lostError struct{ err error }

func (e lostError) Error() string { return e.err.Error() }
func (e lostError) Unwrap() error { return e.err }

// Start makes an instance of the function, forked from its nearest zygote, and returns it held by the caller. Request is the id of the event that it
// is for: what is printed while the handler is imported belongs to that. Phases are set as far as it got, also with an error. It tries a second time when a driver or a zygote fails, and leaves nothing behind when it fails itself.
func (t *Tree) Start(ctx context.Context, fn *core.Function, request string) (*Node, core.Start, core.Phases, error) {
	return t.begin(ctx, fn, request, nil)
}

// begin is Start, or a trial.
func (t *Tree) begin(ctx context.Context, fn *core.Function, request string, trial *Trial) (*Node, core.Start, core.Phases, error) {
	var phases core.Phases
	var lost lostError
	for range plan.Attempts {
		n, start, err := t.start(ctx, fn, request, trial, &phases)
		if err == nil {
			return n, start, phases, nil
		}
		if ctx.Err() != nil {
			return nil, "", phases, core.Errorf(core.KindCanceled, core.FaultCaller, "the caller of %s went away while an instance was being started", fn.Name)
		}
		if !errors.As(err, &lost) {
			return nil, "", phases, core.AsError(err)
		}
		t.config.Log.Warn("fork", "fn", fn.Name, "rt", fn.Runtime, "err", err)
	}
	return nil, "", phases, core.Errorf(core.KindUnavailable, core.FaultDriver,
		"no instance of %s could be started, the driver of %s failed twice: %w; try again", fn.Name, fn.Runtime, lost.err).Again()
}

func (t *Tree) start(ctx context.Context, fn *core.Function, request string, trial *Trial, phases *core.Phases) (n *Node, start core.Start, err error) {
	start = core.StartFork
	if trial == nil {
		n = t.takeAhead(ctx, fn, phases)
	}
	var live Live
	ahead := n != nil
	if !ahead {
		if live, err = t.drivers.Driver(ctx, fn.Runtime); err != nil {
			return nil, "", err
		}
		defer t.awaitZygote(ctx, live, fn, phases)()
		if n, start, err = t.join(ctx, live, fn, phases); err != nil {
			return nil, "", err
		}
	}
	done, err := t.takeTurn(ctx, n, phases)
	if err != nil {
		return nil, "", err
	}
	defer done()
	began := time.Now()
	if !ahead {
		if err = t.spawn(ctx, live, n, instanceConfig(n, live), phases); err != nil {
			return nil, "", err
		}
	}
	importing := time.Now()
	n.Begin(request)
	err = t.importHandler(ctx, n, trial)
	n.Over()
	took := time.Since(importing)
	phases.Import += took
	t.imported(fn, took)
	if err != nil {
		return nil, "", err
	}
	t.mu.Lock()
	n.saves = time.Since(began)
	t.mu.Unlock()
	if _, ok := n.apply(started); !ok {
		n.Kill()
		return nil, "", lostError{n.Ended()}
	}
	wake(t.born)
	if start == core.StartFork && trial == nil {
		t.forkAheadAfter(n)
	}
	if len(fn.Apart) > 0 {
		start = core.StartCold
	}
	t.config.Log.Debug("fork", "fn", fn.Name, "node", n.id, "parent", n.parent.id, "took", time.Since(began))
	return n, start, nil
}

func instanceConfig(n *Node, live Live) core.SandboxConfig {
	fn := n.fn
	var imports int64
	for module, bytes := range fn.Weights {
		if !slices.Contains(n.parent.shape.Modules, module) {
			imports += bytes
		}
	}
	return core.SandboxConfig{ID: n.id, Role: core.RoleInstance, Runtime: live.Runtime, Packages: fn.Packages, Code: fn.Code, Function: fn.Name, Version: fn.Version, Limits: fn.Limits, Imports: imports}
}

// join makes the node of an instance under the nearest zygote, with a root zygote made first where there is none.
func (t *Tree) join(ctx context.Context, live Live, fn *core.Function, phases *core.Phases) (*Node, core.Start, error) {
	start := core.StartFork
	for range plan.Attempts {
		n, whole, err := t.joinNow(live, fn, plan.Necessary())
		if err != nil {
			return nil, "", err
		}
		if n != nil {
			if !whole {
				start = core.StartCold
			}
			return n, start, nil
		}
		start = core.StartCold
		if err := t.awaitRoot(ctx, live, phases); err != nil {
			return nil, "", err
		}
	}
	return nil, "", lostError{core.Errorf(core.KindUnavailable, core.FaultDriver, "the root zygote of %s ended as soon as it was made", fn.Runtime)}
}

// joinNow returns nil when no zygote can be forked, and whether the chosen one has imported everything. Worth decides what may be
// evicted for the instance; one that a request needs is worth more than everything.
func (t *Tree) joinNow(live Live, fn *core.Function, worth float64) (n *Node, whole bool, err error) {
	want := plan.ShapeOf(fn)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, false, core.Stopping()
	}
	z, found := plan.Nearest(t.zygotesFor(live.Generation, fn, want), want, t.facts)
	if !found {
		t.mu.Unlock()
		return nil, false, nil
	}
	missing := plan.Missing(want.Modules, z.Modules)
	if worth == plan.Necessary() {
		once := plan.Once(time.Now())
		t.uses[fn.Name] = t.uses[fn.Name].Plus(once)
		t.demand(want, min(len(missing), 1), once)
	}
	n = t.add(core.RoleInstance, want, t.nodes[z.ID], live.Generation, plan.InstanceBytes(t.private[version{fn.Name, fn.Version}]))
	n.fn = fn
	ends, enough := t.reclaim(worth)
	t.mu.Unlock()
	killAll(ends)
	if !enough {
		t.remove(n)
		return nil, false, exhausted(t.config.Budget)
	}
	return n, len(missing) == 0, nil
}

// zygotes returns what can be forked. The caller has the lock.
func (t *Tree) zygotes() (zygotes []plan.Zygote) {
	for _, n := range t.nodes {
		if n.is(ready) {
			zygotes = append(zygotes, plan.Zygote{Shape: n.shape, ID: n.id, Depth: n.depth})
		}
	}
	return zygotes
}

// zygotesOf returns what can be forked by that generation of a driver. The caller has the lock.
func (t *Tree) zygotesOf(generation int) []plan.Zygote {
	return slices.DeleteFunc(t.zygotes(), func(z plan.Zygote) bool { return t.nodes[z.ID].driver != generation })
}

// zygotesFor returns what can be forked for the function. One that sets what a module of the language's own reads when it is imported takes none that has imported
// what the function does not want itself: that may be such a module, or have imported one. The caller has the lock.
func (t *Tree) zygotesFor(generation int, fn *core.Function, want plan.Shape) []plan.Zygote {
	zygotes := t.zygotesOf(generation)
	if !slices.ContainsFunc(fn.Settings(), func(name string) bool { return t.reads[variable{fn.Runtime, name}] }) {
		return zygotes
	}
	return slices.DeleteFunc(zygotes, func(z plan.Zygote) bool {
		for n := t.nodes[z.ID]; n != nil; n = n.parent {
			if len(plan.Missing(n.shape.Modules, want.Modules)) > 0 {
				return true
			}
		}
		return false
	})
}

// spawn makes the sandbox of a node and its process, parked inside. When it fails nothing of the node is left.
func (t *Tree) spawn(ctx context.Context, live Live, n *Node, config core.SandboxConfig, phases *core.Phases) error {
	began := time.Now()
	sandbox, err := t.sandboxes.Create(ctx, config)
	phases.Sandbox += time.Since(began)
	if err != nil {
		t.remove(n)
		return err
	}
	alive := n.attach(sandbox, live.Protocol)
	go t.watch(n)
	if !alive {
		n.Kill()
		return lostError{core.Stopping()}
	}
	began = time.Now()
	err = fork(ctx, live.Driver, n)
	took := time.Since(began)
	enter, err := t.attest(n, err)
	phases.Enter += enter
	phases.Fork += max(took-enter, 0)
	if err == nil {
		return nil
	}
	n.Kill()
	if ctx.Err() == nil && blames(err) {
		t.mistrust(live, n)
		return lostError{err}
	}
	return err
}

// spawnInTurn is spawn off every request's path.
func (t *Tree) spawnInTurn(ctx context.Context, live Live, n *Node, config core.SandboxConfig) error {
	done, err := t.takeTurn(ctx, n, &core.Phases{})
	if err != nil {
		return err
	}
	defer done()
	return t.spawn(ctx, live, n, config, &core.Phases{})
}

func fork(ctx context.Context, driver core.Driver, n *Node) error {
	if n.parent == nil {
		ctx, cancel := context.WithTimeout(ctx, plan.PreloadTimeout)
		defer cancel()
		return driver.Preload(ctx, n.id, n.shape.Runtime, n.place().Ref())
	}
	ctx, cancel := context.WithTimeout(ctx, plan.ForkTimeout)
	defer cancel()
	return driver.Fork(ctx, n.id, n.parent.id, n.place().Ref())
}

// attest takes what the kernel said at the gate of the process that a driver says it has made.
func (t *Tree) attest(n *Node, err error) (enter time.Duration, _ error) {
	if err != nil && !blames(err) {
		return 0, err
	}
	pid, enter, entering := n.place().Entered()
	switch {
	case core.IsKind(entering, core.KindExhausted): // whatever the driver makes of it
		return 0, entering
	case err != nil:
		return 0, err
	case entering != nil:
		err = entering
		return 0, core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver of %s made no process for %s: %w", n.shape.Runtime, n.id, err)
	}
	t.mu.Lock()
	n.pid = pid
	t.mu.Unlock()
	return enter, nil
}

// blames says whether a failure of a driver call casts doubt on the driver and on the zygote it used.
func blames(err error) bool {
	e := core.AsError(err)
	if e.Kind == core.KindExhausted {
		return false // the worker's own shortage, or the driver's
	}
	return errors.Is(err, context.DeadlineExceeded) || e.Fault == core.FaultDriver || e.Kind == core.KindUnavailable || e.Kind == core.KindTimeout
}

// mistrust deals with the zygote that failed to fork n. When its driver died it is innocent, and its instances serve on;
// otherwise it hung or broke and is presumed corrupt, with everything forked from it.
func (t *Tree) mistrust(live Live, n *Node) {
	if n.parent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, plan.ForkTimeout)
	defer cancel()
	if now, err := t.drivers.Driver(ctx, n.shape.Runtime); err != nil || now.Generation != live.Generation {
		t.DriverLost(live.Generation)
		return
	}
	t.config.Log.Warn("evict", "node", n.parent.id, "err", "a fork failed, the zygote is presumed corrupt")
	t.kill(n.parent)
}

// importHandler has a parked instance import its handler, or kills it. The driver has no part in it.
func (t *Tree) importHandler(ctx context.Context, n *Node, trial *Trial) error {
	fn := n.fn
	limit := max(fn.Limits.Timeout, plan.HandlerTimeout)
	var modules []string
	if trial == nil { // in one the code imports them itself: its error then names the place
		modules = left(fn, n.parent.shape.Modules)
	}
	if trial != nil {
		trial.Ahead = len(n.parent.shape.Modules) > 0
	}
	importing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	report, err := endpoint.Import(importing, n.Endpoint(), core.HandlerLoad{
		Function: fn.Name, Version: fn.Version, Handler: fn.Handler, Memory: fn.Limits.Memory, Env: fn.Environment(n.id), Processors: core.InstanceProcessors,
		Packages: directories(fn.Packages), Modules: modules, Watch: trial != nil,
	})
	if err == nil {
		t.Learn(fn.Runtime, report.Modules)
		switch {
		case trial != nil:
			trial.HandlerReport = report
		case (len(report.Loaded) > 0 || !fn.Watched) && t.config.Loaded != nil:
			go t.config.Loaded(fn, report.Loaded)
		}
		return nil
	}
	defer n.Heard()
	defer n.Kill()
	var told *core.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case importing.Err() != nil:
		return core.Errorf(core.KindTimeout, core.FaultHandler, "importing the handler of %s took longer than %v", fn.Name, limit)
	case errors.As(err, &told):
		return told
	}
	e := n.Ended()
	if e.Kind == core.KindUnavailable || endpoint.IsUnsent(err) && e.Kind != core.KindMemory {
		return lostError{e} // the function's code has no part in it
	}
	return e
}

// left is what an instance imports before its handler: what its zygote has not, and might have. What no zygote may import is the handler's to import, at
// its own place: the function's files may prepare for it, and it may find there what it does not find by itself.
func left(fn *core.Function, there []string) []string {
	return slices.DeleteFunc(plan.Missing(fn.Imports, there), func(m string) bool { return fn.Apart[m] != "" })
}

func directories(set core.Set) []string {
	dirs := make([]string, len(set))
	for i, p := range set {
		dirs[i] = core.PackageDir(p)
	}
	return dirs
}

func exhausted(budget int64) *core.Error {
	return core.Errorf(core.KindExhausted, core.FaultWorker,
		"the worker's memory budget of %d MiB is full and nothing is idle; try again later, or give the worker more with --memory", budget>>20).Again()
}
