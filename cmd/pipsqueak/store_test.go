package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// stocked is a world with packages, of which one is damaged.
type stocked struct {
	*world
	forbidden string
	older     time.Duration
}

func stock() []core.Installed {
	numpy := core.Installed{Package: core.Package{Name: "numpy", Version: "1.26.4"}, Runtime: "python3.11", Size: 3 << 20, Added: noon, Used: noon.Add(-time.Hour)}
	numpy.Receipt.Licenses = []string{"BSD-3-Clause"}
	numpy.Receipt.Signatures = []core.Signature{{Scheme: "PEP 740", Verified: true, Signer: "github.com/numpy/numpy"}}
	pandas := core.Installed{Package: core.Package{Name: "pandas", Version: "2.1.0"}, Runtime: "python3.11", Size: 5 << 20, Added: noon, Used: noon.Add(-72 * time.Hour), Quarantine: "CVE-1"}
	pandas.Receipt.Signatures = []core.Signature{{Scheme: "PEP 740"}}
	return []core.Installed{numpy, pandas}
}

func (s *stocked) Inventory(context.Context) (core.Inventory, error) {
	all := stock()
	return core.Inventory{Packages: []core.Stored{{Installed: all[0], Functions: []string{"a", "b", "c", "d"}}, {Installed: all[1], Functions: []string{}}},
		Size: 8 << 20, Limit: 1 << 30, Free: 2 << 30, Age: 30 * 24 * time.Hour,
		Forbidden: []core.Forbidden{{Name: "@s/p", Versions: "^1.2", Reason: "CVE-1", Added: noon.Add(-time.Hour)}, {Name: "debug", Versions: "1.x", Reason: "CVE-2", Added: noon.Add(-time.Hour)}}}, nil
}
func (s *stocked) PackagesOf(context.Context, string) ([]core.Installed, error) { return stock(), nil }
func (s *stocked) Verify(_ context.Context, r core.VerifyRequest, _ func(core.Progress)) (core.Verified, error) {
	v := core.Verified{Trees: 2, Files: 9, Bytes: 1 << 20}
	if len(r.Packages) == 0 {
		v.Damaged = []core.Damage{{Package: "numpy==1.26.4", Digest: "sha256:1", Functions: []string{"a"}, Files: []core.DamagedFile{{File: "x.so", Reason: "is missing"}}, Repaired: true, Outcome: "it was installed again"}}
	}
	return v, nil
}
func (s *stocked) Quarantine(_ context.Context, rule core.Forbidden) ([]core.Installed, error) {
	s.forbidden = rule.Name + " " + rule.Versions + " " + rule.Reason
	if rule.Name == "absent" {
		return nil, nil
	}
	return stock()[:1], nil
}
func (s *stocked) Collect(_ context.Context, older time.Duration) ([]core.Installed, error) {
	s.older = older
	return stock()[1:], nil
}

func (s *stocked) service() core.Service {
	service := s.world.service()
	service.Packages = s
	return service
}

func TestStore(t *testing.T) {
	s := &stocked{world: newWorld()}
	server := serving(s.service())
	defer server.Close()
	run := func(args ...string) ran {
		return runAt(t.Context(), &program{}, server.URL, "", append([]string{"store"}, args...)...)
	}
	run().want(t, 0, `packages     2  8.0 MiB
unused       1  5.0 MiB
quarantined  1
limit          1.0 GiB
free           2.0 GiB
collected    when unused for 30d
`, "")
	run("list").want(t, 0, `NAME    VERSION  RUNTIME     SIZE     USED  FUNCTIONS   QUARANTINE
numpy   1.26.4   python3.11  3.0 MiB  1h    a, b, c +1
pandas  2.1.0    python3.11  5.0 MiB  3d    -           CVE-1
`, "")
	if got := run("verify"); got.status != 1 || got.out != "package numpy==1.26.4, used by a\n  x.so is missing\n  → it was installed again\n" {
		t.Errorf("%+v", got)
	}
	if got := run("verify", "numpy", "--sample", "10%"); got.status != 0 || got.out != "" {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{"@s/p==1.2": "@s/p ==1.2 CVE-2", "@s/p@1.2": "@s/p 1.2 CVE-2", "a.b_c-d": "a.b_c-d  CVE-2", "p>=1,<2 || 3": "p >=1,<2 || 3 CVE-2", "p ~> 1.2": "p ~> 1.2 CVE-2",
		"p@1.2 - 1.4": "p 1.2 - 1.4 CVE-2", "pkg:npm/%40s/p@1.2": "pkg:npm/%40s/p 1.2 CVE-2", "libc6<<2.36-9+deb12u4": "libc6 <<2.36-9+deb12u4 CVE-2",
		"p 1.2, 1.3": "p 1.2, 1.3 CVE-2", "pkg:npm/@s/p@1.2": "pkg:npm/@s/p 1.2 CVE-2", "pkg:npm/@s/p": "pkg:npm/@s/p  CVE-2", "p@": "p  CVE-2", "p q": "p q  CVE-2"} {
		run("quarantine", text, "--reason", "CVE-2").want(t, 0, "quarantine numpy==1.26.4 for python3.11\n", "")
		if s.forbidden != want {
			t.Errorf("%s forbids %q, want %q", text, s.forbidden, want)
		}
	}
	run("quarantine", "absent>=2").want(t, 0, "", "quarantine absent>=2: the server has no such package yet\n")
	run("quarantine").want(t, 0, "FORBIDDEN  SINCE  REASON\n@s/p^1.2   1h     CVE-1\ndebug@1.x  1h     CVE-2\n", "")
	run("release", "p==1").want(t, 0, "release numpy==1.26.4 for python3.11\n", "")
	run("collect").want(t, 0, "removed pandas==2.1.0 for python3.11\n", "1 package, 5.0 MiB\n")
	if s.older != 30*24*time.Hour {
		t.Errorf("without an age, what was unused for %v was collected", s.older)
	}
	if run("collect", "--older-than", "1.5d"); s.older != 36*time.Hour {
		t.Errorf("1.5d is %v", s.older)
	}
	for _, args := range [][]string{{"collect", "--older-than", "-1h"}, {"collect", "--older-than", "soon"}, {"verify", "--sample", "0"}, {"verify", "--sample", "101%"}, {"quarantine", "a", "b"}, {"release"}, {"nonsense"}} {
		if got := run(args...); got.status != exitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestDescribePackages has one table with a row for each package.
func TestDescribePackages(t *testing.T) {
	rows := slices.Concat(packageRows(stock())...)
	want := []string{"PACKAGE", "SIZE", "SIGNATURE", "LICENCE", "QUARANTINE",
		"numpy==1.26.4", "3.0 MiB", "PEP 740 by github.com/numpy/numpy", "BSD-3-Clause", "-",
		"pandas==2.1.0", "5.0 MiB", "none", "-", "CVE-1"}
	if !slices.Equal(rows, want) {
		t.Errorf("got %q, want %q", rows, want)
	}
}
