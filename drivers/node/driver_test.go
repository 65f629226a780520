package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

func newHouse(t testing.TB, files map[string]string) *drivertest.House {
	t.Helper()
	return drivertest.NewHouse(t, newDriver(slog.Default()), files)
}

func TestForkedInstanceAnswers(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.js": `
exports.handler = async (event, context) =>
  [event, context.awsRequestId, context.functionName, { ...process.env }, process.pid, process.getuid() > 0];
`})
	root := h.Root(t)
	for range 3 {
		if got, want := drivertest.Ask(t, h.Instance(t, root, nil), `{"x":1}`), `R[{"x":1},"r1","f",{"A":"b"},2,true]`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A package that starts threads when it is imported is found out: core keeps it out of the tree. ES modules
// start none.
func TestThreadsAreCounted(t *testing.T) {
	h := newHouse(t, map[string]string{
		"node_modules/quiet/index.js":   "exports.x = 1;",
		"node_modules/esm/package.json": `{"type":"module","exports":"./x.js"}`,
		"node_modules/esm/x.js":         "export const x = await Promise.resolve(1);",
		"node_modules/pool/index.js":    "require('fs').promises.readFile(__filename);",
		"node_modules/workers/index.js": "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true });",
	})
	root := h.Root(t)
	for module, many := range map[string]bool{"quiet": false, "import:esm": false, "pool": true, "workers": true} {
		// The house shows its files for every package.
		_, report, err := h.Zygote(t, root, core.NewSet(core.Package{Name: strings.TrimPrefix(module, "import:"), Version: "1", Digest: "any"}), module)
		if err != nil || report.Threads > 1 != many {
			t.Errorf("importing %s leaves %d threads: %v", module, report.Threads, err)
		}
	}
}

func BenchmarkFork(b *testing.B) {
	newHouse(b, map[string]string{"handler.js": "exports.handler = async (e) => e\n"}).BenchmarkFork(b)
}

// TestNothingToResolve starts no program for a function that asks for no packages: there is not even a
// sandbox here.
func TestNothingToResolve(t *testing.T) {
	resolution, err := newDriver(slog.Default()).Resolve(t.Context(), core.ResolveRequest{Runtime: "node20", Handler: "index.handler", Lock: &core.Lock{Runtime: "node20"}})
	if err != nil || len(resolution.Packages) > 0 {
		t.Errorf("%+v, %v", resolution, err)
	}
}
