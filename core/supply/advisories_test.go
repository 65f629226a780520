package supply

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// fakeDatabase knows a vulnerability of each package whose URL is a key.
type fakeDatabase map[string]core.Vulnerability

func (f fakeDatabase) Refresh() bool { return false }
func (f fakeDatabase) Match(packages []core.Locked) core.VulnerabilityReport {
	report := core.VulnerabilityReport{Vulnerabilities: []core.Vulnerability{}, Unchecked: []string{}}
	for _, p := range packages {
		if v, ok := f[p.URL]; ok {
			v.Package = p.String()
			report.Vulnerabilities = append(report.Vulnerabilities, v)
		}
		if p.URL == "" {
			report.Unchecked = append(report.Unchecked, p.String())
		}
	}
	return report
}

// advised returns a world with a database.
func advised(t *testing.T, database core.VulnerabilityDatabase, refuse core.Severity) (*world, *buffer) {
	t.Helper()
	w := newWorld(t, func(c *Config) { c.Vulnerabilities, c.Refuse = database, refuse })
	w.advisories.start(w.store)
	return w, w.log
}

// put deploys a function with one package, without any driver.
func put(t *testing.T, w *world, name, url string) core.Function {
	t.Helper()
	stage := func() string {
		dir, err := w.store.Stage()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "x"), []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	hold := w.store.Hold()
	defer hold.Release()
	installed, err := w.store.CommitPackages("lang1", []store.Staged{{Locked: core.Locked{Name: name, Version: "1", URL: url}, Dir: stage()}}, hold)
	if err != nil {
		t.Fatal(err)
	}
	code, release, err := w.store.CommitCode(stage())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	fn := core.Function{Name: name, Version: 1, Runtime: "lang1", Code: code, Packages: core.NewSet(installed[0].Package), Deployed: time.Now()}
	if err := w.store.Put(fn); err != nil {
		t.Fatal(err)
	}
	return fn
}

func TestAdvisories(t *testing.T) {
	database := fakeDatabase{}
	w, log := advised(t, database, "")
	bad, good, nameless := put(t, w, "bad", "pkg:a/bad@1"), put(t, w, "good", "pkg:a/good@1"), put(t, w, "nameless", "")
	known := func(fn core.Function) core.VulnerabilityReport {
		t.Helper()
		report, err := w.Vulnerabilities(context.Background(), fn.Name)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	w.advisories.checkAll(w.store)
	if worst := w.advisories.worst(bad); worst != "" || len(known(bad).Vulnerabilities) != 0 || log.Len() != 0 {
		t.Errorf("known before it is: %q, %s", worst, log)
	}
	if got := known(nameless).Unchecked; len(got) != 1 || got[0] != "nameless==1" {
		t.Errorf("unchecked: %q", got)
	}
	// The database has changed.
	database["pkg:a/bad@1"] = core.Vulnerability{IDs: []string{"CVE-1"}, Severity: core.SeverityHigh}
	w.advisories.checkAll(w.store)
	if worst := w.advisories.worst(bad); worst != core.SeverityHigh || w.advisories.worst(good) != "" {
		t.Errorf("worst %q", worst)
	}
	if got := known(bad).Vulnerabilities; len(got) != 1 || got[0].Package != "bad==1" {
		t.Errorf("%+v", got)
	}
	w.advisories.checkAll(w.store)
	if got := strings.Count(log.String(), "ids=CVE-1"); got != 1 || !strings.Contains(log.String(), "fn=bad") {
		t.Errorf("logged %d times, want once: %s", got, log)
	}
	// What was looked up for an earlier deploy of the name neither counts for a later one nor replaces what
	// that found.
	later := bad
	later.Version, later.Packages = bad.Version+1, nil
	if err := w.store.Put(later); err != nil {
		t.Fatal(err)
	}
	if worst := w.advisories.worst(later); worst != "" || len(known(later).Vulnerabilities) != 0 {
		t.Errorf("an earlier deploy's: %q", worst)
	}
	w.advisories.check(w.store, later, map[core.Package]core.Installed{})
	w.advisories.check(w.store, bad, map[core.Package]core.Installed{})
	if worst := w.advisories.worst(later); worst != "" {
		t.Errorf("an earlier deploy's: %q", worst)
	}
	w.advisories.forget("bad")
	if worst := w.advisories.worst(bad); worst != "" {
		t.Errorf("removed, and still %q", worst)
	}
	if _, err := w.Vulnerabilities(context.Background(), "nobody"); !core.IsKind(err, core.KindNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}

func TestNoDatabase(t *testing.T) {
	w, _ := advised(t, nil, "")
	fn := put(t, w, "f", "pkg:a/f@1")
	w.advisories.check(w.store, fn, nil)
	w.advisories.forget("f")
	if err := w.deployment(core.DeployRequest{}, "", nil).refuseVulnerable(); err != nil || w.advisories.worst(fn) != "" {
		t.Errorf("%v", err)
	}
	if _, err := w.Vulnerabilities(context.Background(), "f"); !core.IsKind(err, core.KindUnsupported) {
		t.Errorf("%v", err)
	}
}

func TestRefuseVulnerable(t *testing.T) {
	database := fakeDatabase{}
	for _, severity := range core.Severities() {
		database["pkg:a/"+string(severity)] = core.Vulnerability{IDs: []string{"CVE-" + string(severity), "GHSA-1"}, Severity: severity, Fixed: "2"}
	}
	for _, test := range []struct {
		refuse core.Severity
		has    core.Severity // of the package; none has a package that is not known
		fails  bool
	}{
		{"", core.SeverityCritical, false},
		{core.SeverityHigh, "", false},
		{core.SeverityHigh, core.SeverityCritical, true},
		{core.SeverityHigh, core.SeverityHigh, true},
		{core.SeverityHigh, core.SeverityMedium, false},
		{core.SeverityHigh, core.SeverityUnknown, false},
		{core.SeverityLow, core.SeverityUnknown, false},
		{core.SeverityUnknown, core.SeverityUnknown, true},
	} {
		t.Run(string(test.refuse)+" "+string(test.has), func(t *testing.T) {
			w, _ := advised(t, database, test.refuse)
			var told []core.Progress
			d := w.deployment(core.DeployRequest{}, "", func(p core.Progress) { told = append(told, p) })
			d.locked = []core.Locked{{Name: "p", Version: "1", URL: "pkg:a/" + string(test.has)}}
			err := d.refuseVulnerable()
			if (err != nil) != test.fails {
				t.Fatal(err)
			}
			what := "CVE-" + string(test.has) + " (GHSA-1), " + string(test.has)
			switch {
			case test.fails && (!core.IsKind(err, core.KindInstall) || !strings.Contains(err.Error(), "p==1 has "+what) || !strings.Contains(err.Error(), "fixed in 2")):
				t.Errorf("%v", err)
			case !test.fails && test.has != "" && (len(told) != 1 || told[0].Verb != core.VerbWarn || told[0].Item != "p==1" || !strings.HasPrefix(told[0].Detail, what)):
				t.Errorf("told %+v", told)
			case test.has == "" && len(told) > 0:
				t.Errorf("told %+v", told)
			}
		})
	}
}
