package debian

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestInstall fetches a small package from the archive that this machine's apt knows.
func TestInstall(t *testing.T) {
	if _, err := Tools(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	packages, err := Resolve(t.Context(), []string{"libblas3", "libc6", "libuuid1"})
	if core.AsError(err) != nil && core.AsError(err).Fault == core.FaultWorker && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(packages, func(p Archive) bool { return p.Name == Marker+"libblas3" })
	if i < 0 || slices.ContainsFunc(packages, func(p Archive) bool { return p.Name == Marker+"libc6" }) {
		t.Fatalf("libblas3 takes %v", packages)
	}
	// As they are between Resolve and Install, and as a lock from elsewhere has them.
	for _, known := range []bool{true, false} {
		out, steps, asked := t.TempDir(), 0, slices.Clone(packages)
		for i := range asked {
			if !known {
				asked[i] = Archive{Locked: asked[i].Locked}
			}
		}
		receipts, err := Install(t.Context(), asked, out, func(core.Progress) { steps++ })
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(out, packages[i].Base())
		if info, err := os.Stat(filepath.Join(dir, "usr/lib", Triplet(), "libblas.so.3")); err != nil || info.Size() < 10_000 {
			t.Errorf("%v, %v", info, err)
		}
		if left, _ := os.ReadDir(out); len(left) != len(packages) || steps < len(packages) {
			t.Errorf("%d directories of %d packages, in %d steps", len(left), len(packages), steps)
		}
		r := receipts[i]
		if len(receipts) != len(packages) || r.Archive != packages[i].Archives[0] || r.Bytes < 10_000 || !slices.Equal(r.Modules, []string{"libblas.so.3"}) ||
			!slices.Contains(r.Licenses, "BSD-3-clause") || len(r.Signatures) != 1 || !r.Signatures[0].Verified || len(r.Signatures[0].Signer) < 40 {
			t.Errorf("%+v", r)
		}
	}
	other, twisted := slices.Clone(packages), "sha256:"+digest
	for _, uri := range []string{packages[i].URI, "", packages[i].URI + ".gone"} {
		other[i].URI, other[i].Archives = uri, []string{twisted}
		out := t.TempDir()
		if _, err := Install(t.Context(), other, out, nil); !core.IsKind(err, core.KindInstall) {
			t.Errorf("an archive with another digest: %v", err)
		} else if uri != packages[i].URI && !strings.Contains(err.Error(), "--anew") {
			t.Errorf("an archive that is not there any more: %v", err)
		}
		if left, _ := os.ReadDir(out); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	older := slices.Clone(packages)
	older[i] = Archive{Locked: newPackage("libblas3", "0.1")}
	older[i].Archives = []string{twisted}
	if _, err := Install(t.Context(), older, t.TempDir(), nil); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultHandler || !strings.Contains(err.Error(), "--anew") {
		t.Errorf("a version that is not there any more: %v", err)
	}
	for _, wanted := range []string{"no-such-package-at-all", "libblas3=0-none", "libblas.", "libblas3-", "libc6=0-none", "-oDebug::NoLocking=1"} {
		if _, err := Resolve(t.Context(), []string{wanted}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultHandler ||
			!strings.Contains(err.Error(), wanted[:5]) {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

// TestArchive resolves and installs from an archive of its own, for which the lists are fetched once.
func TestArchive(t *testing.T) {
	lists := served(t, func(files http.Handler) http.Handler { return files })
	packages, err := Resolve(t.Context(), []string{"tool"})
	if err != nil || len(packages) != 1 {
		t.Fatal(packages, err)
	}
	var m Memory
	receipts, err := Install(t.Context(), m.Recall(m.Learn(packages)), t.TempDir(), nil)
	if err != nil || len(receipts) != 1 || receipts[0].Bytes != packages[0].Size {
		t.Errorf("%+v, %v", receipts, err)
	}
	if n := lists.Load(); n != 1 {
		t.Errorf("the lists were fetched %d times", n)
	}
	if _, err := Resolve(t.Context(), []string{"absent"}); core.AsError(err).Fault != core.FaultHandler {
		t.Errorf("a package that is not there: %v", err)
	}
}

// TestArchiveDown: nobody but the worker's operator can help it that an archive is down.
func TestArchiveDown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"502":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":  http.NotFound,
	} {
		t.Run(name, func(t *testing.T) {
			served(t, func(http.Handler) http.Handler { return answer })
			if _, err := Resolve(t.Context(), []string{"tool"}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultWorker {
				t.Error(err)
			}
		})
	}
	t.Run("sources", func(t *testing.T) {
		served(t, func(files http.Handler) http.Handler { return files })
		list := filepath.Join(filepath.Dir(os.Getenv("APT_CONFIG")), "sources.list")
		if err := os.WriteFile(list, []byte("this is no source\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Resolve(t.Context(), []string{"tool"}); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultWorker || !strings.Contains(err.Error(), "/etc/apt") {
			t.Error(err)
		}
	})
}

// TestInstallNames has locks that a user could bring.
func TestInstallNames(t *testing.T) {
	for _, p := range []core.Locked{{Name: "libone", Version: "1"}, {Name: Marker + "-oDir::Log=x", Version: "1"}, {Name: Marker + "../x", Version: "1"}, {Name: Marker + "x", Version: "../1"}, {Name: Marker + "x"}} {
		if _, err := Install(t.Context(), []Archive{{Locked: p}}, t.TempDir(), nil); !core.IsKind(err, core.KindInstall) || core.AsError(err).Fault != core.FaultCaller {
			t.Errorf("%s: %v", p, err)
		}
	}
}
