package supply

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
)

// suspicious is a world with a policy that refuses what the driver finds in the package p.
func suspicious(t *testing.T, test func(*testing.T, *world)) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte("rules:\n  hidden-code: refuse\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	policy, err := scan.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(c *Config) { c.Policy = policy }, func(t *testing.T, w *world) {
		w.Suspicions = []core.Suspicion{{Package: "p==1", Rule: "hidden-code", File: "x", Reason: "hides code"}}
		test(t, w)
	})
}

// What a policy refuses is not deployed; what was scanned once is not scanned again, by the same driver.
func TestJudge(t *testing.T) {
	suspicious(t, func(t *testing.T, w *world) {
		w.needs(locked("q", "1"))
		w.must(t, "f", "q")
		if n := w.count(drivertest.Scan); n != 1 {
			t.Errorf("scanned %d times", n)
		}
		w.needs(locked("p", "1"), locked("q", "1"))
		for range 2 {
			_, err := w.deploy(t, "g", "p q")
			expect(t, err, core.KindInstall, core.FaultCaller, "refuses p==1", "hides code")
		}
		if n := w.count(drivertest.Scan); n != 2 {
			t.Errorf("scanned %d times", n)
		}
		w.must(t, "f", "q")
		if n := w.count(drivertest.Scan); n != 2 {
			t.Errorf("scanned %d times", n)
		}
		w.Arrange(drivertest.Scan, drivertest.Behaviour{Times: 1, Err: core.Errorf(core.KindInternal, core.FaultDriver, "cannot read it")})
		w.needs(locked("r", "1"))
		_, err := w.deploy(t, "h", "r")
		expect(t, err, core.KindInternal, core.FaultDriver, "cannot read it")
		w.must(t, "h", "r")
	})
}

// The packages of a function are scanned and probed without a deploy.
func TestScanFunction(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.Suspicions = []core.Suspicion{{Package: "p==1", Rule: "hidden-code", Reason: "hides code"}}
		w.needs(locked("p", "1"), locked("q", "1"))
		results, err := w.ScanFunction(t.Context(), archive(t, map[string]string{"needs.txt": "p q"}), nil)
		if err != nil || len(results) != 2 || len(results[0].Suspicions) != 1 || len(results[1].Suspicions) != 0 {
			t.Fatalf("%+v, %v", results, err)
		}
		for _, r := range results {
			if r.Probe == nil || r.Scanner != "lang 1" || r.Digest == "" || r.Runtime != "lang1" {
				t.Errorf("%+v", r)
			}
		}
		if all, _ := w.Functions(t.Context()); len(all) > 0 {
			t.Errorf("deployed are %+v", all)
		}
		_, err = w.ScanFunction(t.Context(), strings.NewReader("no archive"), nil)
		expect(t, err, core.KindInvalid, core.FaultCaller)
	})
}

// crawl makes archives of these names, with their names as contents.
func crawl(t *testing.T, w *world, names ...string) (archives []string, runtimes []core.Runtime) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		archives = append(archives, path)
	}
	runtimes = w.Description().Runtimes
	runtimes[0].Archives = []string{"*.pack"}
	return archives, runtimes
}

// A driver with archives that cannot scan them, or with locks that cannot install: what its Description
// claims is one thing.
func TestPartsThatAreMissing(t *testing.T) {
	w := newWorld(t, nil)
	archives, runtimes := crawl(t, w, "a.pack")
	description := w.Description()
	description.Capabilities = []string{core.CapabilityLock}
	w.Fake = drivertest.New(description)
	var told []scan.Result
	if err := w.ScanArchives(t.Context(), archives, runtimes, Crawl{Jobs: 1, Tell: func(r scan.Result, _ bool) error { told = append(told, r); return nil }}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0].Error, "cannot scan packages") {
		t.Errorf("%+v", told)
	}
	if _, err := w.Lock(t.Context(), core.DeployRequest{Archive: archive(t, nil)}, nil); !core.IsKind(err, core.KindUnsupported) {
		t.Errorf("locked without an Installer: %v", err)
	}
}

// Archives are scanned side by side, each on a copy of its own; one that cannot be is a result with an error.
func TestScanArchives(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		archives, runtimes := crawl(t, w, "a.pack", "b.pack", "c.pack")
		if all, err := w.ScannedRuntimes(""); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
		if _, err := w.ScannedRuntimes("other"); !core.IsKind(err, core.KindUnsupported) {
			t.Error(err)
		}
		w.during = func(drivertest.Method) { time.Sleep(time.Second) }
		began := time.Now()
		var told []scan.Result
		one := Crawl{Jobs: 3, Tell: func(r scan.Result, known bool) error {
			if told = append(told, r); known {
				t.Errorf("%s is known", r.Archive)
			}
			return nil
		}}
		if err := w.ScanArchives(t.Context(), append(archives, filepath.Join(t.TempDir(), "gone.pack")), runtimes, one); err != nil {
			t.Fatal(err)
		}
		if len(told) != 4 || time.Since(began) > 2*time.Second {
			t.Fatalf("%d results after %v", len(told), time.Since(began))
		}
		for _, r := range told {
			if gone := strings.HasSuffix(r.Archive, "gone.pack"); r.Error == "" || gone == (r.Digest != "") || r.Scanner == "" {
				t.Errorf("%+v", r) // the fake driver does not say which package it is
			}
		}
		digests := map[string]bool{}
		for _, r := range told {
			digests[r.Digest] = true
		}
		if len(digests) != 4 {
			t.Errorf("digests %v", digests)
		}
	})
}

// A crawl takes known results, and ends with the first that nobody wants, or with its context.
func TestScanArchivesEnds(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		archives, runtimes := crawl(t, w, "a.pack", "b.pack", "c.pack")
		known := func(digest, scanner string) (scan.Result, bool) {
			return scan.Result{Digest: digest, Scanner: scanner, Package: "a==1"}, true
		}
		n := 0
		err := w.ScanArchives(t.Context(), archives, runtimes, Crawl{Known: known, Tell: func(r scan.Result, known bool) error {
			if n++; !known || r.Package != "a==1" {
				t.Errorf("%+v", r)
			}
			return nil
		}})
		if err != nil || n != 3 || w.count(drivertest.Scan) > 0 {
			t.Errorf("%d results, %d scans, %v", n, w.count(drivertest.Scan), err)
		}
		full := errors.New("the disk is full")
		n = 0
		if err := w.ScanArchives(t.Context(), archives, runtimes, Crawl{Tell: func(scan.Result, bool) error { n++; return full }}); !errors.Is(err, full) || n != 1 {
			t.Errorf("%d results, %v", n, err)
		}
		w.Arrange(drivertest.Scan, drivertest.Behaviour{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tell := func(r scan.Result, _ bool) error { t.Errorf("what was interrupted is a result: %+v", r); return nil }
		if err := w.ScanArchives(ctx, archives, runtimes, Crawl{Jobs: 2, Tell: tell}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// A lock that the function brings is taken when it is of its manifests; what no lock can have is refused.
func TestLocks(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"))
		w.must(t, "f", "p")
		w.needs(locked("p", "2"))
		if fn := w.must(t, "g", "p"); fn.Packages[0].Version != "1" {
			t.Errorf("the same manifest has other packages: %v", fn.Packages)
		}
		again := func(r *core.DeployRequest) { r.Again = true }
		if fn := w.must(t, "g", "p", again); fn.Packages[0].Version != "2" {
			t.Errorf("again it has %v", fn.Packages)
		}
		bare := locked("p", "3")
		bare.Archives = nil
		w.needs(bare)
		_, err := w.deploy(t, "h", "bare")
		expect(t, err, core.KindInstall, core.FaultDriver, "p==3 was resolved without a digest")
		w.needs(locked("../../etc", "1"))
		_, err = w.deploy(t, "h", "outside")
		expect(t, err, core.KindInstall, core.FaultHandler, "not be in a directory of its own")
		scripts := locked("s", "1")
		scripts.Scripts = true
		w.needs(scripts)
		_, err = w.deploy(t, "h", "scripts")
		expect(t, err, core.KindInstall, core.FaultCaller, "allow_scripts: [s]")
		if w.store.RememberedLock("") != nil || slices.ContainsFunc(w.store.Installed(), func(p core.Installed) bool { return p.Name == "s" }) {
			t.Error("what was refused is kept")
		}
	})
}
