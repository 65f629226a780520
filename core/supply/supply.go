// Package supply gives functions everything that they need, from the archive that a user hands in to packages
// on disk that zygotes may import.
//
// A function on its way is a deployment. Each step is a method of it, in a file of its own: resolve, install,
// build, scan, trial; and compile and probe, which may follow the deploy. Third-party programs run on the
// bench, each in a sandbox. Knowledge has the results of probes and trials, and their consequences for each
// function. Care keeps the store in order.
//
// Supply reaches the worker's live processes through the interface Live alone.
//
// Mutex order: turns.later, turns.now; knowledge.watching; asking.mu. The first three belong to one piece of
// work, and are held while drivers and sandboxes work for it. asking.mu is held during calls of Live, so that
// Live learns last what was found out last. The other mutexes guard fields. Nobody waits for a driver, a
// sandbox or a file while holding one.
package supply

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// Live is the part of the worker with its live processes. All methods may be called from many goroutines at
// once.
type Live interface {
	Zygotes
	Instances

	// Uses reports whether a live process has the code or package with that digest.
	Uses(digest string) bool
	// Expel ends every process that may have loaded the package with that digest. By then no process is
	// started with it any more.
	Expel(digest string)
	// Mount makes sure that a storage can be shown to instances, by its file.
	Mount(storage string) error
	// Free returns how many bytes of a storage no file takes, by its file.
	Free(storage string) (int64, error)
	// Unmount takes away the mount of a storage whose file is removed. Instances that still have it keep it.
	Unmount(storage string)
	// Busy reports whether events keep all processors busy.
	Busy() bool
}

// Zygotes are the processes that functions are forked from.
type Zygotes interface {
	// Preload demands the zygote from which the function is best forked. It waits until the zygote is made or
	// cannot be made, or until the context ends.
	Preload(ctx context.Context, fn *core.Function)
	// Unready returns why the next instance of the function would not be a fork of a zygote that has imported
	// everything; "" when it would be one.
	Unready(fn *core.Function) string
	// Apart returns the modules that no zygote imports for the function, with the reasons.
	Apart(fn *core.Function) map[string]string
	// Learn takes the costs of importing modules, in time and bytes. It is called before a zygote imports the
	// modules.
	Learn(rt core.RuntimeID, took map[string]time.Duration, bytes map[string]int64)
	// LearnPackages replaces everything known of packages. It is called before a zygote imports one of them,
	// and before a function has one that another one asks for.
	LearnPackages(asks plan.Asks, needs plan.Needs)
}

// Instances are the processes of functions.
type Instances interface {
	// Try starts an instance of a function that is not deployed yet, has it import its handler, and ends it.
	// With alone, nothing is imported ahead of the handler. An error is the handler's when its fault is
	// FaultHandler.
	Try(ctx context.Context, fn *core.Function, alone bool) (Trial, error)
	// Correct replaces the imports that are known of a deployed version of a function.
	Correct(fn *core.Function)
	// Switched is called after the store has changed its functions. It returns a channel that is closed when
	// the zygotes that nobody needs any more have ended.
	Switched(before []core.Function) (ended []<-chan struct{})
	// Drain ends the instances of a function, except those of the versions keep. Busy instances end after
	// their event.
	Drain(function string, keep ...int)
	// Removed ends the instances of a removed function, given its last version, and removes everything that
	// is kept of its events.
	Removed(function string, last int)
	// Hide returns a text without the secrets of the function.
	Hide(fn *core.Function, text string) string
	// Note adds a line of the worker's own to the log of a deployed function.
	Note(fn *core.Function, text string)
}

// Trial is the result of an instance that was started to observe the import of its handler.
type Trial struct {
	core.HandlerReport
	Ahead bool // something had been imported ahead of the handler
}

// Fleet finds drivers.
type Fleet interface {
	// Driver returns the live driver of a runtime, and the runtime as that driver describes it. It may wait
	// for a restart.
	Driver(ctx context.Context, id core.RuntimeID) (Driver, core.Runtime, error)
	// Snapshot returns all drivers, alive or not.
	Snapshot() []core.DriverInfo
}

// Driver is a driver with what it has said of itself.
type Driver interface {
	core.Driver
	Description() core.Description
	Parts() core.Parts // by the capabilities in the description
}

// Supply has functions supplied with their packages. All methods may be called from many goroutines at once.
type Supply struct {
	knowledge
	network    core.Network
	bench      *bench
	signers    signing.Keys // that may sign functions; nil when nobody has to
	policy     *scan.Policy // nil when packages are not scanned
	advisories *advisories  // nil without a database of vulnerabilities
	care       *care
	claims     *claims
	learning   *learning
	turns      turns
	failed     func(err error)
}

// Config configures a Supply.
type Config struct {
	Log   *slog.Logger
	Store *store.Store
	Fleet Fleet
	Live  Live
	// Create makes a sandbox, for an installer or for a process of a probe. Its output goes to Collect, its
	// relay is OpenRelay's.
	Create func(context.Context, core.SandboxConfig) (Sandbox, error)
	// Registries are addresses that installers reach besides those of their runtimes, as core.Runtime has
	// them.
	Registries []string
	Signers    signing.Keys // one of which has to vouch for a function; nil when none has to
	Policy     *scan.Policy // decides about what a scan finds; nil when packages are not scanned
	// Vulnerabilities is the database that packages are looked up in; nil for none. Refuse is the least
	// severity with which a deploy is refused; empty when none is.
	Vulnerabilities core.VulnerabilityDatabase
	Refuse          core.Severity
	// Failed is called with the error of each deploy that fails; may be nil.
	Failed func(err error)
	// Packages that nobody uses are collected when they have not been asked for as long as PackageAge, 0 for
	// 30 days, and while all packages have more bytes than StoreLimit, 0 for half of the file system.
	PackageAge time.Duration
	StoreLimit int64
	// KeepFree is how many bytes of the file system deploys leave free, 0 for 1 GiB or a twentieth, whichever
	// is less.
	KeepFree int64
	// Network is what functions reach at most; empty for none.
	Network core.Network
}

// New returns a Supply. The caller calls Teach and Start before the first deploy, and Close at the end.
func New(config Config) *Supply {
	s := &Supply{
		knowledge: knowledge{log: config.Log, store: config.Store, fleet: config.Fleet, live: config.Live, asking: newAsking()},
		network:   config.Network,
		bench:     &bench{log: config.Log, create: config.Create, registries: config.Registries, keepFree: config.KeepFree},
		signers:   config.Signers, policy: config.Policy, advisories: newAdvisories(config.Vulnerabilities, config.Refuse, config.Log),
		claims: newClaims(), learning: newLearning(), turns: newTurns(), failed: config.Failed,
	}
	s.care = newCare(s, config.PackageAge, config.StoreLimit)
	return s
}

// Teach passes everything known of the packages of all functions to Live, before anything is started.
func (s *Supply) Teach() {
	installed := s.store.Installed()
	s.learnAsks(installed)
	for _, fn := range s.store.List() {
		s.learnCosts(&fn, s.of(&fn, installed))
	}
}

// Start continues the unfinished work of an earlier worker, and takes care of the store from then on.
func (s *Supply) Start() {
	installed := s.store.Installed()
	for _, fn := range s.store.List() {
		packages := s.of(&fn, installed)
		if s.reconsider(&fn, packages) || waits(&fn) || slices.ContainsFunc(packages, func(p core.Installed) bool { return probe.Stale(p, packages) }) {
			s.prepareLater(fn, nil)
		} else if !fn.Watched && hasImports(&fn) {
			s.watchLater(fn)
		}
	}
	s.care.start()
	s.care.collect()
	s.advisories.start(s.store)
}

// Close ends the work in the background, and waits until it has ended.
func (s *Supply) Close() {
	s.advisories.close()
	s.care.stop()
	s.learning.close()
}

// Packages returns the part of a service that keeps packages.
func (s *Supply) Packages() core.Packages { return s.care }

// Collect reads the output of a sandbox, if it is that of an installer or of a trial under way. Otherwise it
// returns false and reads nothing.
func (s *Supply) Collect(config core.SandboxConfig, output io.Reader) bool {
	return s.bench.collect(config, output)
}

// OpenRelay lets an installer reach its registries.
func (s *Supply) OpenRelay(config core.SandboxConfig, listen func(address string) (net.Listener, error)) (io.Closer, error) {
	return s.bench.openRelay(config, listen)
}

func (s *Supply) runtimes() []core.Runtime {
	var all []core.Runtime
	for _, d := range s.fleet.Snapshot() {
		all = append(all, d.Runtimes...)
	}
	return all
}
