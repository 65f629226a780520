package supply

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// refreshEvery is how often the worker looks whether the database of vulnerabilities has changed.
const refreshEvery = time.Minute

// advisories has the known vulnerabilities of the deployed functions. They are in memory only, because they
// are as old as the database. All methods may be called on nil, which is a worker without a database.
type advisories struct {
	database core.VulnerabilityDatabase
	refuse   core.Severity // the least severity that refuses a deploy; empty for none
	log      *slog.Logger
	stop     context.CancelFunc // nil before start
	working  sync.WaitGroup

	mu    sync.Mutex
	known map[string]advisory // by the function's name
}

// advisory has the known vulnerabilities of a version of a function.
type advisory struct {
	version int
	report  core.VulnerabilityReport
}

// newAdvisories returns nil without a database.
func newAdvisories(database core.VulnerabilityDatabase, refuse core.Severity, log *slog.Logger) *advisories {
	if database == nil {
		return nil
	}
	return &advisories{database: database, refuse: refuse, log: log, known: map[string]advisory{}}
}

// start looks up all functions, and again whenever the database has changed, until close.
func (a *advisories) start(s *store.Store) {
	if a == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.checkAll(s)
	a.working.Go(func() {
		ticks := time.NewTicker(refreshEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				if a.database.Refresh() {
					a.checkAll(s)
				}
			}
		}
	})
}

func (a *advisories) close() {
	if a != nil && a.stop != nil {
		a.stop()
		a.working.Wait()
	}
}

func (a *advisories) checkAll(s *store.Store) {
	read := map[core.RuntimeID]map[core.Package]core.Installed{} // functions share packages, and each is a file
	for _, fn := range s.List() {
		if read[fn.Runtime] == nil {
			read[fn.Runtime] = map[core.Package]core.Installed{}
		}
		a.check(s, fn, read[fn.Runtime])
	}
}

// check looks up the packages of a deployed function and returns the worst severity. What was not known
// before is logged. What it reads of packages it leaves in read.
func (a *advisories) check(s *store.Store, fn core.Function, read map[core.Package]core.Installed) core.Severity {
	if a == nil {
		return ""
	}
	packages := make([]core.Installed, len(fn.Packages))
	for i, p := range fn.Packages {
		if _, ok := read[p]; !ok {
			read[p] = core.Installed{Package: p, Locked: core.Locked{Name: p.Name, Version: p.Version}}
			if found, ok := s.Find(fn.Runtime, p); ok {
				read[p] = found
			}
		}
		packages[i] = read[p]
	}
	report := a.match(packages)
	a.mu.Lock()
	before := a.known[fn.Name]
	if !s.Deployed(fn.Name, fn.Version) { // a deploy or a removal was quicker
		a.mu.Unlock()
		return worst(report)
	}
	a.known[fn.Name] = advisory{fn.Version, report}
	a.mu.Unlock()
	told := map[string]bool{}
	for _, v := range before.report.Vulnerabilities {
		told[v.Holder()+" "+v.IDs[0]] = true
	}
	for _, v := range report.Vulnerabilities {
		if !told[v.Holder()+" "+v.IDs[0]] {
			a.log.Warn("vulnerable", "fn", fn.Name, "package", v.Package, "part", v.Part, "ids", strings.Join(v.IDs, " "), "severity", v.Severity, "fixed", v.Fixed)
		}
	}
	return worst(report)
}

// match looks up installed packages, and what lies in their archives.
func (a *advisories) match(packages []core.Installed) core.VulnerabilityReport {
	locked := make([]core.Locked, len(packages))
	for i, p := range packages {
		locked[i] = p.Locked
	}
	report := a.database.Match(locked)
	report.Vulnerabilities = append(report.Vulnerabilities, a.matchBundles(packages)...)
	core.SortBySeverity(report.Vulnerabilities)
	return report
}

// matchBundles looks up what lies in the archives of packages.
func (a *advisories) matchBundles(packages []core.Installed) (found []core.Vulnerability) {
	for _, p := range packages {
		for _, v := range a.database.Match(p.Receipt.Bundles).Vulnerabilities {
			v.Package, v.Part = p.String(), v.Package
			found = append(found, v)
		}
	}
	return found
}

func (a *advisories) forget(name string) {
	if a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.known, name)
	}
}

// worst returns the worst severity that is known of a function.
func (a *advisories) worst(fn core.Function) core.Severity {
	if a == nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return worst(a.of(fn))
}

// of returns the advisory of that version of a function. The caller holds mu.
func (a *advisories) of(fn core.Function) core.VulnerabilityReport {
	if known := a.known[fn.Name]; known.version == fn.Version {
		return known.report
	}
	return core.VulnerabilityReport{}
}

// worst returns the first severity of a report, which has the worst first.
func worst(report core.VulnerabilityReport) core.Severity {
	if len(report.Vulnerabilities) == 0 {
		return ""
	}
	return report.Vulnerabilities[0].Severity
}

// nameAsInstalled gives packages that are in the store the package URLs that they have there. Their driver
// has compared those with what it fetched, which it cannot do with a lock's when nothing is to be fetched.
func (d *deployment) nameAsInstalled(packages []core.Locked) {
	if d.advisories == nil {
		return
	}
	for i, p := range packages {
		if found, ok := d.store.Lookup(d.runtime.ID, p); ok {
			packages[i].URL = found.Locked.URL
		}
	}
}

// refuseVulnerable reports the known vulnerabilities of what is about to be installed, and refuses it when
// there is one that is severe enough.
func (d *deployment) refuseVulnerable() error {
	if d.advisories == nil {
		return nil
	}
	return d.refuseThese(d.advisories.database.Match(d.locked).Vulnerabilities)
}

// refuseBundles does the same for what lies in the archives of packages, which is known when they are
// installed.
func (d *deployment) refuseBundles() error {
	if d.advisories == nil {
		return nil
	}
	var installed []core.Installed
	for _, p := range d.fn.Packages {
		if found, ok := d.store.Find(d.fn.Runtime, p); ok {
			installed = append(installed, found)
		}
	}
	return d.refuseThese(d.advisories.matchBundles(installed))
}

func (d *deployment) refuseThese(known []core.Vulnerability) error {
	a := d.advisories
	var refused []string
	for _, v := range known {
		if a.refuse != "" && v.Severity.AtLeast(a.refuse) {
			refused = append(refused, v.Holder()+" has "+v.String())
			continue
		}
		d.warn(v.Holder(), v.String())
	}
	if len(refused) == 0 {
		return nil
	}
	return core.Errorf(core.KindInstall, core.FaultCaller, "this worker refuses packages with known vulnerabilities of severity %s and above: %s; take versions in which they are fixed", a.refuse, strings.Join(refused, "; "))
}

// Vulnerabilities implements core.Vulnerabilities.
func (s *Supply) Vulnerabilities(_ context.Context, name string) (core.VulnerabilityReport, error) {
	fn, ok := s.store.Get(name)
	if !ok {
		return core.VulnerabilityReport{}, s.NotFound(name)
	}
	if s.advisories == nil {
		return core.VulnerabilityReport{}, core.Errorf(core.KindUnsupported, core.FaultWorker, "this worker has no database of vulnerabilities; `pipsqueak serve --vulnerabilities PATH` gives it one")
	}
	s.advisories.mu.Lock()
	defer s.advisories.mu.Unlock()
	return s.advisories.of(fn), nil
}
