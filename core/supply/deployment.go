package supply

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// deployment is one function on its way to its place, with everything that its steps need. Each step is a
// method: resolve, install, build, judge, compile, probe, tryHandler.
type deployment struct {
	*Supply
	request  core.DeployRequest
	progress func(core.Progress) // never nil

	fn       core.Function
	runtime  core.Runtime
	driver   Driver     // of the runtime; nil before find
	parts    core.Parts // of the driver
	settings bundle.Settings
	locked   []core.Locked
	dir      string      // of the function's code; in staging until the function is ready
	out      string      // directory of Stage that Resolve hands over to the first Install; empty when there is none
	hold     *store.Hold // keeps what is installed until the function refers to it
	signed   time.Time   // when its signature was made; zero when none was checked
	loaded   []string    // modules that the handler has imported in its trial and that were not known before

	later bool // it is deployed already: nobody waits for what it still does
	// amend changes what is known of the function's imports: in fn, or in the store once the function is
	// deployed.
	amend func(change func(*core.Function)) error
}

// deployment returns a deployment of a function that no version is deployed of yet. Progress may be nil.
func (s *Supply) deployment(request core.DeployRequest, dir string, progress func(core.Progress)) *deployment {
	if progress == nil {
		progress = func(core.Progress) {}
	}
	d := &deployment{Supply: s, request: request, dir: dir, progress: progress}
	d.amend = func(change func(*core.Function)) error { change(&d.fn); return nil }
	return d
}

// deployed returns the deployment of a function that is deployed: steps that go on afterwards belong to it.
func (s *Supply) deployed(fn core.Function, locked []core.Locked) *deployment {
	d := s.deployment(core.DeployRequest{}, "", nil)
	d.fn, d.locked, d.later = fn, locked, true
	d.amend = func(change func(*core.Function)) error {
		_, err := s.store.Amend(fn.Name, fn.Version, change)
		return err
	}
	return d
}

// identify reads the unpacked code. Afterwards fn is known, but for its code and packages; its name may be
// empty.
func (d *deployment) identify() (err error) {
	d.settings, err = bundle.LoadSettings(d.dir)
	if err == nil && len(d.settings.Functions) > 0 {
		err = core.Errorf(core.KindInvalid, core.FaultCaller,
			"%s lists %d functions, and an archive is one: `pipsqueak deploy DIR` deploys them together", bundle.SettingsFile, len(d.settings.Functions))
	}
	if err != nil {
		return err
	}
	choice, err := bundle.Detect(d.dir, d.settings, d.runtimes())
	if choice.Doubt != "" {
		d.warn(cmp.Or(d.settings.Name, "language"), choice.Doubt)
	}
	d.warn(cmp.Or(d.settings.Name, "packages"), bundle.OwnCode(os.DirFS(d.dir))...)
	d.runtime = choice.Runtime
	d.fn = core.Function{Name: d.settings.Name, Runtime: choice.Runtime.ID, Handler: choice.Handler, Env: d.settings.Env, Secrets: d.settings.Secrets, Storage: d.settings.Storage,
		Limits: d.settings.Limits, Public: d.settings.Public,
		Network: d.settings.Network, Egress: d.settings.Egress,
		Routes: d.settings.Routes, CORS: d.settings.CORS}
	if err == nil && d.fn.Network.Exceeds(d.network) {
		err = core.Errorf(core.KindUnsupported, core.FaultCaller, "%s asks for 'network: %s', and this worker allows %s at most; ask for that, or have the "+
			"operator start it with --network %[2]s", bundle.SettingsFile, d.fn.Network, cmp.Or(d.network, core.NetworkNone))
	}
	return err
}

// find finds the driver of the function's runtime.
func (d *deployment) find(ctx context.Context) (err error) {
	d.driver, d.runtime, err = d.fleet.Driver(ctx, d.fn.Runtime)
	if err == nil {
		d.parts = d.driver.Parts()
	}
	return err
}

// can reports whether the driver's Installer has a capability.
func (d *deployment) can(capability string) bool {
	return d.parts.Installer != nil && d.driver.Description().Can(capability)
}

// task is a step that runs third-party programs for the function: it reaches no network and can write to the
// mounts.
func (d *deployment) task(timeout time.Duration, run func(context.Context, core.Door) error, writable ...core.Mount) task {
	return task{fn: &d.fn, runtime: d.runtime, writable: writable, timeout: timeout, run: run}
}

// outMount shows a staged directory as the one that an installer leaves its result in.
func outMount(dir string) core.Mount {
	return core.Mount{Source: dir, Target: core.OutDir, Writable: true}
}

// timed reports that a step begins. The caller calls done at its end, with a phrase and the bytes that were
// fetched.
func (d *deployment) timed(step core.Progress) (done func(detail string, bytes int64)) {
	return timed(step, d.progress)
}

// warn reports something to know that is no step.
func (d *deployment) warn(item string, said ...string) {
	for _, one := range said {
		d.progress(core.Progress{Verb: core.VerbWarn, Item: cmp.Or(item, "archive"), Detail: one, Ended: true})
	}
}

// timed reports that a step begins. The caller calls done at its end, with a phrase and the bytes that were
// fetched.
func timed(step core.Progress, progress func(core.Progress)) (done func(detail string, bytes int64)) {
	began := time.Now()
	progress(step)
	return func(detail string, bytes int64) {
		step.Detail, step.Bytes, step.Ended, step.Took = detail, bytes, true, time.Since(began)
		progress(step)
	}
}
