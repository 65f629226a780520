package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestForbid has a rule for what is in the store in two runtimes, over a restart and after it was collected.
func TestForbid(t *testing.T) {
	s := openTest(t)
	locked := core.Locked{Name: "@scope/p", Version: "1", Archives: []string{"sha256:1", "sha256:2"}}
	var set core.Set
	for _, runtime := range []core.RuntimeID{"fake1", "fake2"} {
		p, err := s.CommitPackage(runtime, locked, core.Receipt{Archive: "sha256:1"}, stage(t, s, map[string]string{"a": string(runtime)}))
		coretest.Must(t, err)
		if runtime == "fake1" {
			set = core.NewSet(p.Package)
		}
	}
	coretest.Must(t, s.Refused("fake1", "", set))
	all, err := s.Forbid(core.Forbidden{Name: "@scope/p", Versions: "1", Reason: "CVE-1"})
	if err != nil || len(all) != 2 || all[0].Quarantine != "CVE-1" {
		t.Errorf("%+v, %v", all, err)
	}
	_, err = s.Forbid(core.Forbidden{Name: "@scope/p", Versions: "2"})
	coretest.WantError(t, err, core.KindNotFound, core.FaultCaller, "@scope/p@2")
	coretest.Must(t, s.Close())
	s, _, err = Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	hold := s.Hold()
	defer hold.Release()
	refused := func() {
		t.Helper() // from the other archive too
		_, _, err := s.Take("fake1", []core.Locked{{Name: "@scope/p", Version: "1", Archives: []string{"sha256:2"}}}, hold)
		coretest.WantError(t, err, core.KindInstall, core.FaultCaller, "@scope/p==1", "CVE-1", "store release '@scope/p@1'")
		coretest.WantError(t, s.Refused("fake1", "", set), core.KindUnavailable, core.FaultWorker, "CVE-1")
	}
	refused()
	if removed, err := s.CollectPackages(Keep{}, never); err != nil || len(removed) != 2 {
		t.Errorf("collected %v, %v", removed, err)
	}
	refused()
	p, err := s.CommitPackage("fake2", locked, core.Receipt{Archive: "sha256:1"}, stage(t, s, map[string]string{"a": "fake2"}))
	coretest.Must(t, err)
	if all, err := s.Forbid(core.Forbidden{Name: "@scope/p", Versions: "==1"}); err != nil || len(all) != 1 || all[0].Package != p.Package || all[0].Quarantine != "" {
		t.Errorf("%+v, %v", all, err)
	}
	coretest.Must(t, s.Refused("fake1", "", set))
	if have, missing, err := s.Take("fake1", []core.Locked{locked}, hold); err != nil || len(have) != 0 || len(missing) != 1 || len(s.Forbidden()) != 0 {
		t.Errorf("allowed again: %v %v %v", have, missing, err)
	}
}

// byURL is a rule that goes by package URLs.
func byURL(name, versions string) (func(core.Locked) bool, error) {
	if name == "" {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "no name")
	}
	return func(p core.Locked) bool { return p.URL == "pkg:fake/"+name+"@"+strings.TrimPrefix(versions, "==") }, nil
}

// TestForbidByURL forbids what is not there yet, under the name that people have for it.
func TestForbidByURL(t *testing.T) {
	s := openTest(t)
	if warnings := s.Understand(byURL); len(warnings) > 0 {
		t.Error(warnings)
	}
	_, err := s.Forbid(core.Forbidden{Reason: "CVE-1"})
	coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, "no name")
	if all, err := s.Forbid(core.Forbidden{Name: "P", Versions: "1", Reason: "CVE-1"}); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	hold := s.Hold()
	defer hold.Release()
	one := core.Locked{Name: "p", Version: "1+abc", URL: "pkg:fake/P@1"}
	_, _, err = s.Take("fake1", []core.Locked{one}, hold)
	coretest.WantError(t, err, core.KindInstall, core.FaultCaller, "p==1+abc", "CVE-1")
	_, err = s.Forbid(core.Forbidden{Name: "P", Versions: "1"})
	coretest.Must(t, err)
	p, err := s.CommitPackage("fake1", one, core.Receipt{}, stage(t, s, map[string]string{"a": "1"}))
	coretest.Must(t, err)
	set := core.NewSet(p.Package)
	coretest.Must(t, s.Refused("fake1", "", set))
	if all, err := s.Forbid(core.Forbidden{Name: "P", Versions: "==1", Reason: "CVE-2"}); err != nil || len(all) != 1 || all[0].Quarantine != "CVE-2" {
		t.Errorf("%v, %v", all, err)
	}
	coretest.WantError(t, s.Refused("fake1", "", set), core.KindUnavailable, core.FaultWorker, "CVE-2")
	if found, ok := s.Find("fake1", p.Package); !ok || found.Quarantine != "CVE-2" {
		t.Errorf("found %+v", found)
	}
	// A lock that calls it otherwise does not get it.
	other := one
	other.URL = "pkg:fake/Q@1"
	_, _, err = s.Take("fake1", []core.Locked{other}, hold)
	coretest.WantError(t, err, core.KindInstall, core.FaultCaller, "CVE-2")
}

// TestForbidOne makes, exchanges and removes the rule of one of three packages, beside another rule: the
// others stay as they are.
func TestForbidOne(t *testing.T) {
	s := openTest(t)
	sets := map[string]core.Set{}
	for _, name := range []string{"p", "q", "r"} {
		p, err := s.CommitPackage("fake1", core.Locked{Name: name, Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a": name}))
		coretest.Must(t, err)
		sets[name] = core.NewSet(p.Package)
	}
	forbid := func(f core.Forbidden, want string) {
		t.Helper()
		var names []string
		all, err := s.Forbid(f)
		coretest.Must(t, err)
		for _, p := range all {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%+v covers %q, want %q", f, got, want)
		}
	}
	refused := func(reasons map[string]string) {
		t.Helper()
		for name, set := range sets {
			if reason := reasons[name]; reason != "" {
				coretest.WantError(t, s.Refused("fake1", "", set), core.KindUnavailable, core.FaultWorker, reason)
			} else {
				coretest.Must(t, s.Refused("fake1", "", set))
			}
		}
	}
	forbid(core.Forbidden{Name: "r", Reason: "CVE-0"}, "r")
	refused(map[string]string{"r": "CVE-0"})
	forbid(core.Forbidden{Name: " p ", Versions: " 1 ", Reason: "CVE-1"}, "p")
	refused(map[string]string{"r": "CVE-0", "p": "CVE-1"})
	forbid(core.Forbidden{Name: "p", Versions: "==1", Reason: "CVE-2"}, "p")
	refused(map[string]string{"r": "CVE-0", "p": "CVE-2"})
	forbid(core.Forbidden{Name: "p", Versions: "1"}, "p")
	refused(map[string]string{"r": "CVE-0"})
	if rules := s.Forbidden(); len(rules) != 1 || rules[0].Name != "r" {
		t.Errorf("rules %+v", rules)
	}
}

// TestUnderstand has rules that were literal read in another way, one of which cannot be.
func TestUnderstand(t *testing.T) {
	s := openTest(t)
	for _, f := range []core.Forbidden{{Name: "P", Versions: "1", Reason: "CVE-1"}, {Name: "odd", Versions: "1", Reason: "CVE-2"}} {
		_, err := s.Forbid(f)
		coretest.Must(t, err)
	}
	warnings := s.Understand(func(name, versions string) (func(core.Locked) bool, error) {
		if name == "odd" {
			return nil, errors.New("no")
		}
		return byURL(name, versions)
	})
	if len(warnings) != 1 {
		t.Errorf("warnings %v", warnings)
	} else {
		coretest.WantError(t, warnings[0], core.KindInvalid, core.FaultWorker, "odd@1", "literally")
	}
	for locked, reason := range map[*core.Locked]string{{Name: "p", Version: "1+abc", URL: "pkg:fake/P@1"}: "CVE-1", {Name: "odd", Version: "1"}: "CVE-2", {Name: "P", Version: "1"}: ""} {
		if f := s.forbids(*locked); reason == "" && f != nil || reason != "" && (f == nil || f.Reason != reason) {
			t.Errorf("%s is forbidden by %v, want %q", locked.Name, f, reason)
		}
	}
}

// TestQuarantineOfEarlierVersions has a reason in the entries of a package for two runtimes, where there were
// no rules.
func TestQuarantineOfEarlierVersions(t *testing.T) {
	s := openTest(t)
	var p core.Installed
	for _, runtime := range []core.RuntimeID{"fake1", "fake2"} {
		var err error
		p, err = s.CommitPackage(runtime, core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a": "1"}))
		coretest.Must(t, err)
		path, err := s.indexPath(runtime, core.Locked{Name: "p", Version: "1"}, "")
		coretest.Must(t, err)
		p.Quarantine = "CVE-1"
		text, err := json.Marshal(p)
		coretest.Must(t, err)
		coretest.Must(t, os.WriteFile(path, text, 0o644))
	}
	coretest.Must(t, s.Close())
	for range 2 {
		var err error
		s, _, err = Open(s.dir)
		coretest.Must(t, err)
		if rules := s.Forbidden(); len(rules) != 1 || rules[0].String() != "p==1" || rules[0].Reason != "CVE-1" {
			t.Errorf("rules %+v", rules)
		}
		coretest.WantError(t, s.Refused("fake1", "", core.NewSet(p.Package)), core.KindUnavailable, core.FaultWorker, "CVE-1")
		coretest.Must(t, s.Close())
	}
	// Allowed again, it stays so.
	s, _, err := Open(s.dir)
	coretest.Must(t, err)
	_, err = s.Forbid(core.Forbidden{Name: "p", Versions: "1"})
	coretest.Must(t, err)
	coretest.Must(t, s.Close())
	s, _, err = Open(s.dir)
	coretest.Must(t, err)
	coretest.Must(t, s.Refused("fake1", "", core.NewSet(p.Package)))
	coretest.Must(t, s.Close())
	coretest.Must(t, os.WriteFile(filepath.Join(s.dir, rulesFile), []byte("["), 0o644))
	_, _, err = Open(s.dir)
	coretest.WantError(t, err, core.KindInvalid, core.FaultWorker, rulesFile)
}
