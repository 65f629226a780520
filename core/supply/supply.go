// Package supply has functions supplied with what they need, from the archive that a user hands in to packages on disk that
// zygotes may import.
//
// A function on its way is a deployment. Each step is a method of it, in a file of its own: resolve, install, build, scan, trial;
// and, once the function is deployed, compile and probe. Programs of others run on the bench, each in a sandbox. Knowledge is what
// probes and trials have found out, and what follows for each function. Care keeps the store in order.
//
// What lives is asked for by the interface Live alone.
//
// Mutex order: turns.later, turns.now; knowledge.watching; asking.mu. The first three are one piece of work's, and are held while
// drivers and sandboxes work for it. asking.mu is held while Live is told, so that it is told last what was learned last. The other
// mutexes guard fields, and no driver, sandbox or file is waited for under them.
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

// Live is what supply asks of the processes that live on the worker. All methods may be called from many goroutines at once.
type Live interface {
	Zygotes
	Instances

	// Uses tells whether a live process has the code or package with that digest.
	Uses(digest string) bool
	// Expel ends every process that may have loaded the package with that digest. Nothing is started with it any more by then.
	Expel(digest string)
	// Busy tells whether events keep all processors busy.
	Busy() bool
}

// Zygotes are the processes that functions are forked from.
type Zygotes interface {
	// Preload has the zygote made that instances of the function are best forked from, and waits until it is made or cannot be, or
	// the context ends.
	Preload(ctx context.Context, fn *core.Function)
	// Unready tells why the next instance of the function would not be a fork of a zygote with all that it imports; "" when it would.
	Unready(fn *core.Function) string
	// Apart returns the modules that no zygote imports for the function, with the reasons.
	Apart(fn *core.Function) map[string]string
	// Learn says what importing modules takes, in time and in bytes, and which variables those read that are the language's own: before
	// a zygote imports them.
	Learn(rt core.RuntimeID, took map[string]time.Duration, bytes map[string]int64, reads []string)
	// LearnPackages replaces what is known of packages: before a zygote imports one, and before a function has one that is asked for.
	LearnPackages(asks plan.Asks, needs plan.Needs)
}

// Instances are the processes of functions.
type Instances interface {
	// Try starts an instance of a function that is not deployed yet, has it import its handler, and ends it. With alone nothing is
	// imported ahead of the handler. An error is the handler's when its fault is FaultHandler.
	Try(ctx context.Context, fn *core.Function, alone bool) (Trial, error)
	// Correct says what a deployed version of a function is known to import now.
	Correct(fn *core.Function)
	// Switched is called when the store has other functions than before. It returns what is closed when the zygotes have ended that are
	// of no use any more.
	Switched(before []core.Function) (ended []<-chan struct{})
	// Drain ends the instances of a function but for those of the versions keep: busy ones after their event.
	Drain(function string, keep ...int)
	// Removed ends the instances of a function whose last version that was, and removes what is kept of its events.
	Removed(function string, last int)
	// Note adds a line of the worker's to the log of a deployed function.
	Note(fn *core.Function, text string)
}

// Trial is what became of an instance that was started to see what its handler does when it is imported.
type Trial struct {
	core.HandlerReport
	Ahead bool // something had been imported ahead of the handler
}

// Fleet finds drivers.
type Fleet interface {
	// Driver returns the live driver of a runtime, and the runtime as that driver describes it. It may wait for a restart.
	Driver(ctx context.Context, id core.RuntimeID) (Driver, core.Runtime, error)
	// Snapshot returns all drivers, alive or not.
	Snapshot() []core.DriverInfo
}

// Driver is a driver with what it has said of itself: which of the optional parts it has, its capabilities say.
type Driver interface {
	core.Driver
	core.Installer
	core.Builder
	core.Compiler
	core.Scanner
	Description() core.Description
}

// can reports whether a driver has a capability.
func can(d Driver, capability string) bool {
	return slices.Contains(d.Description().Capabilities, capability)
}

// Supply has functions supplied with their packages. All methods may be called from many goroutines at once.
type Supply struct {
	knowledge
	bench      *bench
	signers    signing.Keys // that may sign functions; nil when nobody has to
	policy     *scan.Policy // nil when packages are not scanned
	advisories *advisories  // nil without a database of vulnerabilities
	care       *care
	claims     *claims
	learning   *learning
	turns      turns
}

// Config is what a supply is told.
type Config struct {
	Log   *slog.Logger
	Store *store.Store
	Fleet Fleet
	Live  Live
	// Create makes a sandbox, for an installer or for a process of a probe. Its output goes to Collect, its relay is OpenRelay's.
	Create func(context.Context, core.SandboxConfig) (Sandbox, error)
	// Registries are addresses that installers reach besides those of their runtimes, as core.Runtime has them.
	Registries []string
	Signers    signing.Keys // one of which has to vouch for a function; nil when none has to
	Policy     *scan.Policy // decides about what a scan finds; nil when packages are not scanned
	// Vulnerabilities is the database that packages are looked up in; nil for none. Refuse is the least severity with which a deploy is
	// refused; empty when none is.
	Vulnerabilities core.VulnerabilityDatabase
	Refuse          core.Severity
	// Packages that nobody uses are collected when they have not been asked for as long as PackageAge, 0 for 30 days, and while all
	// packages have more bytes than StoreLimit, 0 for half of the file system.
	PackageAge time.Duration
	StoreLimit int64
}

// New returns a supply. Before the first deploy Teach is called, and Start; the caller closes it.
func New(config Config) *Supply {
	s := &Supply{
		knowledge: knowledge{log: config.Log, store: config.Store, fleet: config.Fleet, live: config.Live, asking: newAsking()},
		bench:     &bench{log: config.Log, create: config.Create, registries: config.Registries},
		signers:   config.Signers, policy: config.Policy, advisories: newAdvisories(config.Vulnerabilities, config.Refuse, config.Log),
		claims: newClaims(), learning: newLearning(), turns: newTurns(),
	}
	s.care = newCare(s, config.PackageAge, config.StoreLimit)
	return s
}

// Teach says what is known of the packages of all functions, before anything is started.
func (s *Supply) Teach() {
	installed := s.store.Installed()
	s.learnAsks(installed)
	for _, fn := range s.store.List() {
		s.learnCosts(&fn, s.of(&fn, installed))
	}
}

// Start goes on with what an earlier worker has left to do, and looks after the store from then on.
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

// Close ends what is done in the background, and waits for it.
func (s *Supply) Close() {
	s.advisories.close()
	s.care.stop()
	s.learning.close()
}

// Packages returns the part of a service that keeps packages.
func (s *Supply) Packages() core.Packages { return s.care }

// Collect reads the output of an installer, or of a trial that is under way. It reports whether the output is of one of them: else
// nothing has been read.
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
