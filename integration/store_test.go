package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Are packages kept once, shared and collected?

// small is a function with one small package.
var small = files{
	"handler.py":       "import six\n\ndef handler(event, context):\n    return six.__name__\n",
	"requirements.txt": "six==1.17.0\n",
}

func (w *worker) verify(t testing.TB) core.Verified {
	t.Helper()
	return decode[core.Verified](t, w.ask(t, http.MethodPost, "/v1/packages/verify", nil))
}

func (w *worker) inventory(t testing.TB) core.Inventory {
	t.Helper()
	return decode[core.Inventory](t, w.ask(t, http.MethodGet, "/v1/packages", nil))
}

// TestSharedPackage has a hundred functions with one package, which is on the disk once.
func TestSharedPackage(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir(), "--package-age", "0s")
	w.deploy(t, "f0", small)
	first := diskUsage(t, w.data)
	for i := 1; i < 100; i++ {
		w.deploy(t, fmt.Sprint("f", i), small)
	}
	// Each function has a file of its own that says what it is, and the code is the same.
	if each := (diskUsage(t, w.data) - first) / 99; each > 12<<10 {
		t.Errorf("the first function takes %d KiB, each further one %d KiB", first>>10, each>>10)
	}
	inventory := w.inventory(t)
	if len(inventory.Packages) != 1 || len(inventory.Packages[0].Functions) != 100 {
		t.Fatalf("the store has %d packages: %+v", len(inventory.Packages), inventory)
	}
	of := decode[[]core.Installed](t, w.ask(t, http.MethodGet, "/v1/functions/f7/packages", nil))
	if len(of) != 1 || of[0].String() != smallPackage || of[0].Size == 0 {
		t.Errorf("f7 has %+v", of)
	}
	for i := range 100 {
		w.ask(t, http.MethodDelete, fmt.Sprint("/v1/functions/f", i), nil)
	}
	eventually(t, patience, "the package that nobody uses is collected", func() bool { return len(w.inventory(t).Packages) == 0 })
}

// diskUsage returns what the files below a directory take of the disk, in bytes, without logs.
func diskUsage(t testing.TB, dir string) (used int64) {
	t.Helper()
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil {
				t.Fatal(err)
			}
			if entry.IsDir() {
				if entry.Name() != "logs" {
					walk(filepath.Join(dir, entry.Name()))
				}
				continue
			}
			used += (info.Size() + 4095) &^ 4095
		}
	}
	walk(dir)
	return used
}

// TestDeploysTogether deploys functions with the same package at once: it is fetched once.
func TestDeploysTogether(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	const many = 6
	answers := make(chan answer, many)
	for i := range many {
		go func() {
			a, err := w.do(t.Context(), http.MethodPut, fmt.Sprint("/v1/functions/f", i), strings.NewReader(string(small.archive(t))))
			if err != nil {
				a = answer{body: []byte(err.Error())}
			}
			answers <- a
		}()
	}
	digests := map[string]bool{}
	for range many {
		a := <-answers
		var fn core.Function
		if err := json.Unmarshal(a.body, &fn); err != nil || a.status != http.StatusCreated {
			t.Fatalf("%v: %v", a, err)
		}
		digests[fn.Packages[0].Digest] = true
	}
	if trees, err := filepath.Glob(filepath.Join(w.data, "packages", strings.Repeat("?", 64)+".list")); err != nil || len(trees) != 1 || len(digests) != 1 {
		t.Errorf("one package is stored as %v, and functions have %v: %v", trees, digests, err)
	}
}
