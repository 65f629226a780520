// Package worker puts the pieces together for one machine: store, sandboxes, drivers, tree and scheduler
// become a core.Service. Each part has a type and a file of its own, and its own state: logs, counts,
// reports, secrets, namespaces, uses, overview, routing, sandboxes. Worker makes them, ends them, and runs an
// event.
//
// Mutex order: logs.mu before that of a functionLog. Those of counts, secrets, namespaces and sandboxes are
// taken alone.
package worker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/egress"
	"github.com/pipsqueak-faas/pipsqueak/core/relay"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/core/sched"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
	"github.com/pipsqueak-faas/pipsqueak/core/tree"
)

// maxInstances bounds the instances alive at once on a worker, whatever memory says: each is a process with
// two pipes, a socket and a cgroup.
const maxInstances = 1000

// runDir is where every worker has a directory of what does not outlive it.
const runDir = "/run"

// Config is what a worker is opened with.
type Config struct {
	Data      string // directory of everything that outlives the worker; one worker at a time
	Drivers   string // directory of the drivers' programs
	Memory    int64  // bytes that all nodes may use together, counted proportionally; 0 for three quarters of what the machine, or a cgroup around the worker, has
	RootsOnly bool   // no zygote imports packages: each instance does
	// Packages that nobody uses are collected when they have not been asked for as long as PackageAge, 0 for
	// 30 days, and while all packages have more bytes than StoreLimit, 0 for half of the file system.
	PackageAge time.Duration
	StoreLimit int64
	KeepFree   int64 // bytes of the file system that deploys leave free; 0 for 1 GiB or a twentieth, whichever is less
	Log        *slog.Logger
	// Policy decides about what a scan finds in the packages of a deploy; nil when they are not to be
	// scanned.
	Policy *scan.Policy
	// Env is what the drivers get of the operator's environment, as "KEY=value", besides a plain PATH and
	// LANG.
	Env []string
	// Registries are addresses that installers reach besides the registries of their runtimes, as
	// core.Runtime has them.
	Registries []string
	// RequireSigned is a file or directory of public keys: only what is signed by one of them is deployed.
	// Empty for no such rule.
	RequireSigned string
	// Vulnerabilities is the database that packages are looked up in; nil for none. It stays the caller's.
	Vulnerabilities core.VulnerabilityDatabase
	// Refuse is the least severity of a known vulnerability with which a deploy is refused; empty when none
	// is.
	Refuse core.Severity
	// PackageRule understands the rules of the quarantine; without it they are taken literally.
	PackageRule core.PackageRule
	// SecretKeys are the keys that secrets are sealed with, one a line, the first for new ones; empty for one
	// in the data directory.
	SecretKeys string
	// Events asks for a line in the log for each event that one function has sent to another; the gateway
	// writes those of the others.
	Events bool
	// Network is what functions reach at most, empty for none, and EgressAllow what they reach besides the
	// internet. With NetworkIfAble, a worker whose machine cannot connect functions goes without a network,
	// where it would not open otherwise.
	Network       core.Network
	EgressAllow   []netip.Prefix
	NetworkIfAble bool
}

// Worker is one machine. It is assembly: what is more than that is a part.
type Worker struct {
	log        *slog.Logger
	id         string // of the worker, see identity
	run        string // directory of what does not outlive the worker
	budget     int64
	rootsOnly  bool
	events     bool // the log has a line for each event
	store      *store.Store
	logs       *logs
	counts     *counts
	secrets    *secrets
	reports    *reports
	namespaces *namespaces
	uses       *uses
	overview   *overview
	sandboxes  *sandboxes
	fleet      *driver.Fleet
	tree       *tree.Tree
	sched      *sched.Scheduler
	supply     *supply.Supply
	router     *egress.Router // nil when functions have no network
}

// Open opens a worker. What an earlier worker on the same data directory has left, it ends and removes;
// functions that were deployed are there again. The caller closes the worker.
func Open(ctx context.Context, config Config) (*Worker, error) {
	data, name, run, err := place(config.Data)
	if err != nil {
		return nil, err
	}
	w := &Worker{log: config.Log, run: run, budget: config.Memory, rootsOnly: config.RootsOnly, events: config.Events}
	if err := w.open(ctx, config, data, name); err != nil {
		return nil, errors.Join(err, w.Close(context.WithoutCancel(ctx)))
	}
	return w, nil
}

// place returns the full path of a data directory, and what the worker on it is called: the name of its
// cgroup, and the directory of what does not outlive it.
func place(dir string) (data, name, run string, err error) {
	if data, err = filepath.Abs(dir); err != nil {
		return "", "", "", err
	}
	// Sockets have short paths only, and nothing in here is worth a disk.
	name = fmt.Sprintf("pipsqueak-%x", sha256.Sum256([]byte(data)))[:18]
	return data, name, filepath.Join(runDir, name), nil
}

// Sweep removes a data directory that is not to be used again, with all that its worker has left, however
// that ended. KindConflict when a worker has it.
func Sweep(dir string) error {
	data, name, run, err := place(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(data); errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(run)
	}
	s, _, err := store.OpenAfter(data, func() error { sandbox.End(name); return nil })
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(run), os.RemoveAll(data), s.Close())
}

func (w *Worker) open(ctx context.Context, config Config, data, name string) error {
	bytes := w.bound()
	var signers signing.Keys
	var err error
	if config.RequireSigned != "" {
		if signers, err = signing.LoadKeys(config.RequireSigned); err != nil {
			return err
		}
	}
	if _, err = relay.Addresses(config.Registries); err != nil {
		return err
	}
	if err := w.openData(config, data, name); err != nil {
		return err
	}
	if w.secrets, err = openSecrets(config.SecretKeys, w.store, w.log); err != nil {
		return err
	}
	w.logs.hider = w.secrets.hider
	w.reports = &reports{log: w.log, logs: w.logs, secrets: w.secrets, counts: w.counts}
	w.namespaces = &namespaces{log: w.log, store: w.store, all: map[string]*namespace{}}
	var connect func(core.SandboxConfig, func(func() error) error) (io.Closer, error)
	w.router, connect, err = openRouter(config, name, w.reports.refused)
	if err != nil && config.NetworkIfAble {
		w.log.Info("functions have no network: 'pipsqueak doctor' says what to do", "err", err)
		config.Network, err = core.NetworkNone, nil
	}
	if err != nil {
		return err
	}
	w.sandboxes = &sandboxes{store: w.store, live: map[core.NodeID]living{}, network: config.Network}
	w.supply = supply.New(supply.Config{
		Log: w.log, Store: w.store, Fleet: supplyFleet{w}, Live: live{w}, Create: w.sandboxes.supply, Registries: config.Registries, Signers: signers,
		Policy: config.Policy, Vulnerabilities: config.Vulnerabilities, Refuse: config.Refuse, PackageAge: config.PackageAge, StoreLimit: config.StoreLimit, KeepFree: config.KeepFree, Failed: w.namespaces.failed,
		Network: config.Network,
	})
	w.secrets.supply = w.supply
	w.sandboxes.host, err = sandbox.Open(sandbox.Config{Dir: filepath.Join(w.run, "sandboxes"), Name: name, Bounds: bounds(w.budget, bytes), Store: w.store, Output: w.collectOutput,
		Relay: w.supply.OpenRelay, Connect: connect, Log: w.log})
	if err != nil {
		return err
	}
	w.fleet, err = driver.OpenFleet(ctx, config.Drivers, driver.FleetOptions{
		Options: driver.Options{Dir: w.driversDir(), Env: config.Env, Log: w.log},
		OnLost: func(language string, generation int) {
			if w.tree != nil {
				w.tree.DriverLost(generation)
			}
		},
	})
	if err != nil {
		return err
	}
	w.start(instancesWith(descriptors()))
	return nil
}

// bound sets the budget if nobody has, and returns how many bytes there are.
func (w *Worker) bound() int64 {
	bytes, whose := memory()
	if w.budget == 0 {
		w.budget = bytes / 4 * 3
	} else if w.budget > bytes {
		w.log.Warn("memory", "err", fmt.Sprintf("--memory is %d MiB, over the %d MiB that %s has: the kernel may end processes before the worker does", w.budget>>20, bytes>>20, whose))
	}
	return bytes
}

// start makes what lives, of parts that are open.
func (w *Worker) start(instances int) {
	w.tree = tree.New(tree.Config{Budget: w.budget, RootsOnly: w.rootsOnly, Log: w.log, Deployed: w.store.Deployed, Secrets: w.secrets.of, Storage: w.storageOf, Loaded: w.supply.Loaded}, fleetDrivers{w.fleet}, w.sandboxes)
	w.overview = &overview{id: w.id, budget: w.budget, store: w.store, tree: w.tree, fleet: w.fleet}
	w.uses = newUses(w.log, w.store, w.tree)
	w.supply.Teach()
	w.sched = sched.New(sched.Config{MaxInstances: instances, Invoke: w.Invoke, Deployed: w.store.Deployed, Quotas: w.namespaces.quotas, Unheard: w.reports.failed, Retired: w.reports.retired, Printed: w.logs.printed, Log: w.log}, w.tree)
	w.namespaces.sched = w.sched
	w.uses.resume()
	w.supply.Start()
	w.uses.keep()
}

// openData opens the data directory, and ends what an earlier worker on it has left.
func (w *Worker) openData(config Config, data, name string) error {
	var warnings []error
	var err error
	if w.store, warnings, err = store.OpenAfter(data, func() error { sandbox.End(name); return nil }); err != nil {
		return err
	}
	if w.id, err = identity(data); err != nil {
		return err
	}
	if config.PackageRule != nil {
		warnings = append(warnings, w.store.Understand(config.PackageRule)...)
	}
	for _, warning := range warnings {
		w.log.Warn("deploy", "err", warning)
	}
	there := func(name string) bool { _, ok := w.store.Get(name); return ok }
	w.counts = &counts{there: there}
	if w.logs, err = openLogs(filepath.Join(data, "logs"), there); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(w.driversDir()), os.MkdirAll(w.run, 0o700)); err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the worker's directory: %w", err)
	}
	return nil
}

// collectOutput reads what a process prints: a function's log, or what an installer or a trial has to say
// should it fail.
func (w *Worker) collectOutput(config core.SandboxConfig, stream string, output *sandbox.Output) {
	if !w.supply.Collect(config, output) {
		w.logs.collect(config, stream, output)
	}
}

func (w *Worker) driversDir() string { return filepath.Join(w.run, "drivers") }

// Stop implements core.Stopper.
func (w *Worker) Stop() {
	w.uses.saveLast()
	w.sched.Stop()
}

// closeTime is how long to end the processes may take, and to remove what does not outlive the worker.
const closeTime = 10 * time.Second

// Close lets running events end until the context does, then ends every process and removes what does not
// outlive the worker. It may be called once.
func (w *Worker) Close(ctx context.Context) error {
	var err error
	if w.supply != nil {
		w.supply.Close()
	}
	if w.sched != nil {
		w.uses.saveLast()
		if !w.sched.Close(ctx) {
			w.log.Warn("evict", "err", "events were still running when the worker stopped waiting for them")
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if w.tree != nil {
		err = errors.Join(err, w.tree.Close(end))
	}
	if w.fleet != nil {
		w.fleet.Close()
	}
	if w.sandboxes != nil && w.sandboxes.host != nil {
		err = errors.Join(err, w.sandboxes.host.Close())
	}
	if w.router != nil {
		err = errors.Join(err, w.router.Close())
	}
	if w.logs != nil {
		err = errors.Join(err, w.logs.close())
	}
	if w.store != nil {
		err = errors.Join(err, os.RemoveAll(w.run), w.store.Close())
	}
	return err
}

func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 1 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}
