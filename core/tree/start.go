package tree

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// lostError marks a failure of a zygote or a driver. A fresh one may not fail.
type lostError struct{ err error }

func (e lostError) Error() string { return e.err.Error() }
func (e lostError) Unwrap() error { return e.err }

// Start makes an instance of the function, forked from its nearest zygote. The caller holds it. Request is
// the id of the event that it is for; output of the handler's import belongs to that event. Phases are set as
// far as the start got, also with an error. Start tries again when a driver or a zygote fails. When it fails
// itself it leaves nothing behind.
func (t *Tree) Start(ctx context.Context, fn *core.Function, request string) (*Node, core.Start, core.Phases, error) {
	return t.startOrTry(ctx, fn, request, nil)
}

// startOrTry is Start, or Try when trial is not nil.
func (t *Tree) startOrTry(ctx context.Context, fn *core.Function, request string, trial *Trial) (*Node, core.Start, core.Phases, error) {
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
	waited := false
	if trial == nil {
		n, waited = t.takeAhead(ctx, fn, phases)
	}
	var live LiveDriver
	parked := n != nil
	if !parked {
		if live, err = t.driverOf(ctx, fn); err != nil {
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
	if waited {
		// Starts come faster than children are made: the next child is made beside this event, not after it.
		// This start has its turn first.
		t.forkAhead(fn)
	}
	began := time.Now()
	if !parked {
		config, err := t.instanceConfig(n, live)
		if err != nil {
			return nil, "", err
		}
		if err = t.spawn(ctx, live, n, config, phases); err != nil {
			return nil, "", err
		}
	}
	if err = t.importFor(ctx, n, request, trial, phases); err != nil {
		return nil, "", err
	}
	t.mu.Lock()
	n.saves = time.Since(began)
	t.mu.Unlock()
	if _, ok := n.apply(started); !ok {
		n.Kill()
		return nil, "", lostError{n.Ended()}
	}
	wake(t.resample)
	if start == core.StartFork && trial == nil {
		t.forkAheadAfter(n)
	}
	if len(fn.Apart) > 0 {
		start = core.StartCold
	}
	t.config.Log.Debug("fork", "fn", fn.Name, "node", n.id, "parent", n.parent.id, "took", time.Since(began))
	return n, start, nil
}

// driverOf returns the driver of a function, which can do all that the function asks for.
func (t *Tree) driverOf(ctx context.Context, fn *core.Function) (LiveDriver, error) {
	live, err := t.drivers.Driver(ctx, fn.Runtime)
	if err == nil && fn.Limits.Shared() && !live.Concurrent {
		err = core.Errorf(core.KindUnsupported, core.FaultDriver,
			"the driver of %s that this worker has now cannot give one instance several events at once, and %s has 'concurrency: %d'; install the driver that it was deployed with",
			fn.Runtime, fn.Name, fn.Limits.Concurrency)
	}
	return live, err
}

// importFor makes an instance import its handler, for the event of that id or for a trial. With an error
// nothing of a trial's instance is left.
func (t *Tree) importFor(ctx context.Context, n *Node, request string, trial *Trial, phases *core.Phases) error {
	began := time.Now()
	n.Begin(request)
	err := t.importHandler(ctx, n, trial)
	n.Over()
	if n.fn.Limits.Shared() {
		n.Begin("") // what an event of several prints comes with its id, and the rest is nobody's
	}
	took := time.Since(began)
	phases.Import += took
	t.noteImport(n.fn, took)
	if err != nil && trial != nil {
		<-n.done
	}
	return err
}

// instanceConfig describes the sandbox of an instance. With an error nothing of the node is left.
func (t *Tree) instanceConfig(n *Node, live LiveDriver) (core.SandboxConfig, error) {
	fn := n.fn
	_, secrets, err := t.secrets(fn)
	if err != nil {
		t.remove(n)
		return core.SandboxConfig{}, err
	}
	var imports int64
	for module, bytes := range fn.Weights {
		if !slices.Contains(n.parent.shape.Modules, module) {
			imports += bytes
		}
	}
	var storage core.Mount
	if fn.Storage != nil && t.config.Storage != nil {
		storage = core.Mount{Source: t.config.Storage(fn), Target: fn.Storage.Path, Writable: true}
	}
	return core.SandboxConfig{Storage: storage, ID: n.id, Role: core.RoleInstance, Parent: n.parent.id, Runtime: live.Runtime, Packages: fn.Packages, Code: fn.Code, Function: fn.Name, Version: fn.Version,
		Limits: fn.Limits, Imports: imports,
		Network: fn.Network, Egress: fn.Egress, Secrets: secrets}, nil
}

// secrets returns the secrets of a function.
func (t *Tree) secrets(fn *core.Function) (env map[string]string, files map[string]core.Secret, err error) {
	if t.config.Secrets == nil || len(fn.Secrets) == 0 {
		return nil, nil, nil
	}
	return t.config.Secrets(fn)
}

// join makes the node of an instance under the nearest zygote. If there is none it makes a root zygote first.
func (t *Tree) join(ctx context.Context, live LiveDriver, fn *core.Function, phases *core.Phases) (*Node, core.Start, error) {
	start := core.StartFork
	for range plan.Attempts {
		n, whole, err := t.joinNow(live, fn, true)
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

// joinNow returns nil when no zygote can be forked, and whether the nearest one has imported everything. An
// instance that a request waits for is necessary, and counts as demand. Nothing is evicted for any other.
func (t *Tree) joinNow(live LiveDriver, fn *core.Function, requested bool) (n *Node, whole bool, err error) {
	want := plan.ShapeOf(fn)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, false, core.Stopping()
	}
	z, found := plan.Nearest(t.zygotesOf(live.Generation), want, t.facts)
	if !found {
		t.mu.Unlock()
		return nil, false, nil
	}
	missing := plan.Missing(want.Modules, z.Modules)
	var value float64
	once := plan.Once(time.Now())
	switch {
	case !requested && len(missing) == 0: // a child made ahead stands for the start that takes it
		t.addDemand(want, 0, once)
	case requested:
		value = plan.Necessary()
		t.uses[fn.Name] = t.uses[fn.Name].Plus(once)
		t.addDemand(want, min(len(missing), 1), once)
	}
	n = t.add(core.RoleInstance, want, t.nodes[z.ID], live.Generation, plan.InstanceBytes(t.private[version{fn.Name, fn.Version}], t.config.Budget))
	n.fn = fn
	ends, enough := t.afford(n, value)
	t.mu.Unlock()
	killAll(ends)
	if !enough {
		t.remove(n)
		return nil, false, exhausted(t.config.Budget)
	}
	return n, len(missing) == 0, nil
}

// zygotes returns the zygotes that can be forked. The caller holds mu.
func (t *Tree) zygotes() (zygotes []plan.Zygote) {
	for _, n := range t.nodes {
		if n.is(ready) {
			zygotes = append(zygotes, plan.Zygote{Shape: n.shape, ID: n.id, Parent: n.above(), Depth: n.depth})
		}
	}
	return zygotes
}

// zygotesOf returns the zygotes that a driver of that generation can fork. The caller holds mu.
func (t *Tree) zygotesOf(generation int) []plan.Zygote {
	return slices.DeleteFunc(t.zygotes(), func(z plan.Zygote) bool { return t.nodes[z.ID].driver != generation })
}

// spawn makes the sandbox of a node and its process, which is parked inside. When it fails nothing of the
// node is left.
func (t *Tree) spawn(ctx context.Context, live LiveDriver, n *Node, config core.SandboxConfig, phases *core.Phases) error {
	began := time.Now()
	sandbox, err := t.sandboxes.Create(ctx, config)
	phases.Sandbox += time.Since(began)
	if err != nil {
		t.remove(n)
		t.doubt(n.shape.Runtime)
		return err
	}
	alive := n.attach(sandbox, live)
	go t.watch(n)
	if !alive {
		n.Kill()
		return lostError{core.Stopping()}
	}
	began = time.Now()
	if n.parent != nil {
		t.makeRoom(n.parent)
	}
	err = fork(ctx, live, n)
	took := time.Since(began)
	enter, err := t.attest(n, err)
	phases.Enter += enter
	phases.Fork += max(took-enter, 0)
	if err == nil {
		return nil
	}
	n.Kill()
	t.doubt(n.shape.Runtime)
	if ctx.Err() == nil && blames(err) {
		t.mistrust(live, n)
		return lostError{err}
	}
	return err
}

// spawnInTurn waits for a turn and then is spawn. It is used off every request's path.
func (t *Tree) spawnInTurn(ctx context.Context, live LiveDriver, n *Node, config core.SandboxConfig) error {
	done, err := t.takeTurn(ctx, n, &core.Phases{})
	if err != nil {
		return err
	}
	defer done()
	return t.spawn(ctx, live, n, config, &core.Phases{})
}

func fork(ctx context.Context, live LiveDriver, n *Node) error {
	if n.parent == nil {
		ctx, cancel := context.WithTimeout(ctx, plan.PreloadTimeout)
		defer cancel()
		return live.Driver.Preload(ctx, n.id, n.shape.Runtime, n.place().Door())
	}
	ctx, cancel := context.WithTimeout(ctx, plan.ForkTimeout)
	defer cancel()
	if live.Forks && n.role == core.RoleInstance {
		return n.place().Fork(ctx)
	}
	return live.Driver.Fork(ctx, n.id, n.parent.id, n.place().Door())
}

// attest asks the sandbox which process has entered, where the driver says that it has made one. Err is the
// driver's.
func (t *Tree) attest(n *Node, err error) (enter time.Duration, _ error) {
	if err != nil && !blames(err) {
		return 0, err
	}
	pid, enter, entering := n.place().Entered()
	switch {
	case core.IsKind(entering, core.KindExhausted): // whatever the driver has said
		return 0, entering
	case err != nil:
		return 0, err
	case entering != nil:
		err = entering
		return 0, core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver of %s made no process for %s: %w", n.shape.Runtime, n.id, err)
	}
	t.mu.Lock()
	n.pid = pid
	t.shown[n.shape.Runtime] = plan.Shown{At: time.Now()}
	t.mu.Unlock()
	return enter, nil
}

// blames says whether the failure of a call casts doubt on the driver and on the zygote that it used.
func blames(err error) bool {
	e := core.AsError(err)
	if e.Kind == core.KindExhausted {
		return false // the worker's own shortage, or the driver's
	}
	return errors.Is(err, context.DeadlineExceeded) || e.Fault == core.FaultDriver || e.Kind == core.KindUnavailable || e.Kind == core.KindTimeout
}

// mistrust ends the zygote that failed to fork n, with everything forked from it: it hung or broke, and is
// presumed corrupt. When its driver has died the zygote is innocent, and its instances live on.
func (t *Tree) mistrust(live LiveDriver, n *Node) {
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

// importHandler has a parked instance import its handler, and kills it when that fails. The driver has no
// part in it.
func (t *Tree) importHandler(ctx context.Context, n *Node, trial *Trial) error {
	fn := n.fn
	limit := max(fn.Limits.Timeout, plan.HandlerTimeout)
	var modules []string
	if trial == nil { // in a trial the code imports them itself, so that an error names the place
		modules = remaining(fn, n.parent.shape.Modules)
	}
	if trial != nil {
		trial.Ahead = len(n.parent.shape.Modules) > 0
	}
	env := fn.Environment(n.id)
	secrets, _, err := t.secrets(fn)
	if err != nil {
		n.Kill()
		return err
	}
	maps.Copy(env, secrets)
	importing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	several := 0
	if fn.Limits.Shared() && trial == nil {
		several = fn.Limits.Concurrency
	}
	report, err := endpoint.Import(importing, n.Endpoint(), core.HandlerLoad{
		Concurrency: several,
		Function:    fn.Name, Version: fn.Version, Handler: fn.Handler, Memory: fn.Limits.Memory, Env: env, Processors: core.InstanceProcessors,
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
		return lostError{e} // the function's code has not run
	}
	return e
}

// remaining returns the modules that an instance imports before its handler: those that its zygote lacks. The
// handler itself imports the modules that are apart, at its own place, because the function's files may
// prepare for them.
func remaining(fn *core.Function, there []string) []string {
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

// abandon ends a node, whether it has a process or not.
func (t *Tree) abandon(n *Node) {
	if n.place() == nil {
		t.remove(n)
	} else {
		n.Kill()
	}
}
