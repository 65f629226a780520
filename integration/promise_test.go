package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do the invariants and the numbers hold? The numbers themselves are measured by benchmarks (make bench), on
// a machine that does nothing else; the tests here use bounds so loose that only a broken promise misses
// them.

// TestNothingOfOneFunctionInAnother checks the invariant behind the speed: a function never starts from a
// process that has loaded a package which it does not depend on.
func TestNothingOfOneFunctionInAnother(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "with-six", handlerFile("import six\n"+probe).with("requirements.txt", "six==1.17.0\n").with("pipsqueak.yaml", "reuse: false\n"))
	w.deploy(t, "with-older-six", handlerFile("import six\n"+probe).with("requirements.txt", "six==1.16.0\n").with("pipsqueak.yaml", "reuse: false\n"))
	w.deploy(t, "without-six", handlerFile(probe).with("pipsqueak.yaml", "reuse: false\n"))
	event := `"import sys\nanswer = getattr(sys.modules.get('six'), '__version__', None)"`
	forkStart(t, w, "with-six", event)
	forkStart(t, w, "with-older-six", event)
	for name, want := range map[string]any{"with-six": "1.17.0", "with-older-six": "1.16.0", "without-six": nil} {
		for range 3 {
			if got := result[any](t, w, name, event); got != want {
				t.Errorf("%s starts with six %v loaded, want %v", name, got, want)
			}
		}
	}
	checkAncestors(t, w)
}

// checkAncestors compares every living instance's ancestors with its function's packages.
func checkAncestors(t testing.TB, w *worker) {
	t.Helper()
	functions := map[string]core.Function{}
	for _, f := range decode[[]core.Function](t, w.ask(t, http.MethodGet, "/v1/functions", nil)) {
		functions[f.Name] = f
	}
	nodes := map[core.NodeID]core.NodeInfo{}
	for _, n := range w.snapshot(t).Nodes {
		nodes[n.ID] = n
	}
	for _, n := range nodes {
		f, known := functions[n.Function]
		if n.Role != core.RoleInstance || !known {
			continue
		}
		for parent, ok := nodes[n.Parent]; ok; parent, ok = nodes[parent.Parent] {
			if !parent.Set.SubsetOf(f.Packages) {
				t.Errorf("%s, which has %v, comes from zygote %s with %v", n.Function, f.Packages, parent.ID, parent.Set)
			}
		}
	}
}

// pandas is a function that imports pandas and does a little with it.
var pandas = files{
	"handler.py": "import pandas\n\ndef handler(event, context):\n    return int(pandas.Series([1, 2, 3]).sum())\n",
	// The same versions as in examples/penguins, so that a worker installs them once.
	"requirements.txt": "pandas==2.3.3\nnumpy==2.3.4\n",
}

// TestByteCode checks that, soon after a deploy, no module of a package is compiled when it is imported: that
// would happen at every start, for there is no place to keep the result.
func TestByteCode(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "compiled", pandas.with("handler.py", `
import os, sys
import pandas

def handler(event, context):
    found = [m for m in sys.modules.values() if (getattr(m, "__file__", None) or "").startswith("/packages/") and m.__file__.endswith(".py")]
    return {"modules": len(found), "without": [m.__name__ for m in found if not m.__cached__ or not os.path.exists(m.__cached__)]}
`))
	w.compiled(t, "python")
	got := result[struct {
		Modules int
		Without []string
	}](t, w, "compiled", `{}`)
	if got.Modules < 100 || len(got.Without) > 0 {
		t.Errorf("of %d modules no byte code is there for %v", got.Modules, got.Without)
	}
}

// TestForkStartIsWorthIt compares a fork start of each language's heavy function with the same handler in a
// new process.
func TestForkStartIsWorthIt(t *testing.T) {
	system(t)
	for _, l := range subjects {
		t.Run(l.name, func(t *testing.T) {
			coretest.Requires(t, l.needs...)
			w, name := shared(t), "worth-it-"+l.name
			w.deploy(t, name, directory(t, l.dir("heavy")))
			forkStart(t, w, name, `{}`)
			forks := take(21, 0, func() { result[any](t, w, name, `{}`) })
			fresh := take(3, 0, func() {
				if out, err := l.process(t, w, filepath.Join(repositoryRoot(t), l.dir("heavy")), name).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			})
			if once, again := slices.Min(fresh), forks.at(0.5); float64(again)*l.heavyRatio/5 > float64(once) {
				t.Errorf("a fork start takes %v, a new process %v: less than %.0f times faster", again, once, l.heavyRatio/5)
			}
		})
	}
}

// TestSiblingsShareMemory checks that one more idle pandas instance costs little.
func TestSiblingsShareMemory(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "sharing", pandas.with("pipsqueak.yaml", "reuse: false\n"))
	forkStart(t, w, "sharing", `{}`)
	w.deploy(t, "sharing", pandas)
	result[int](t, w, "sharing", `{}`)
	var nodes []core.NodeInfo
	eventually(t, patience, "its memory has been measured", func() bool {
		nodes = w.instances(t, "sharing")
		return len(nodes) == 1 && nodes[0].Private > 0
	})
	if private := nodes[0].Private; private > 10<<20 {
		t.Errorf("an idle pandas instance has %.1f MB of its own", float64(private)/(1<<20))
	}
}

// TestHerd sends many first requests at once: two at a time import the package until the zygote is there,
// from which the others are forked.
func TestHerd(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "herd", files{
		"handler.py":       "import six\nimport time\n\ndef handler(event, context):\n    time.sleep(0.5)\n    return six.__version__\n",
		"requirements.txt": "six==1.17.0\n",
		"pipsqueak.yaml":   "reuse: false\n",
	})
	w.probed(t, "herd")
	var mu sync.Mutex
	var all sync.WaitGroup
	starts := map[string]int{}
	for range 20 {
		all.Go(func() {
			a, err := w.do(context.Background(), http.MethodPost, "/run/herd", strings.NewReader(`{}`))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.status != http.StatusOK {
				t.Errorf("answer %v, %v", a, err)
			}
			starts[a.header.Get("Pipsqueak-Start")]++
		})
	}
	all.Wait()
	if starts["cold"]+starts["fork"] != 20 || starts["fork"] < 10 {
		t.Errorf("starts: %v", starts)
	}
}

// TestSpecification checks that every number in SPECIFICATION.md names a benchmark or a test, and that it is
// there.
func TestSpecification(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "SPECIFICATION.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := sourceOfTests(t)
	named := regexp.MustCompile("`((?:Benchmark|Test)[A-Za-z0-9]+)`")
	promises := 0
	for _, line := range items(string(text)) {
		if !strings.HasPrefix(line, "- **") {
			continue
		}
		promises++
		_, by, _ := strings.Cut(line, " Measured by ")
		names := named.FindAllStringSubmatch(by, -1)
		if len(names) == 0 {
			t.Errorf("a promise that nothing measures: %s", line)
		}
		for _, name := range names {
			if !strings.Contains(code, "func "+name[1]+"(") {
				t.Errorf("%s does not exist: %s", name[1], line)
			}
		}
	}
	if promises < 30 {
		t.Errorf("only %d promises found", promises)
	}
}

// sourceOfTests returns the text of all test files here.
func sourceOfTests(t testing.TB) string {
	t.Helper()
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestStatuses keeps the table of kinds and statuses in docs/functions.md complete.
func TestStatuses(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "docs", "functions.md"))
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[core.Kind]int{
		core.KindInvalid: http.StatusBadRequest, core.KindNotFound: http.StatusNotFound, core.KindConflict: http.StatusConflict,
		core.KindTooLarge: http.StatusRequestEntityTooLarge, core.KindInstall: http.StatusUnprocessableEntity,
		core.KindExhausted: http.StatusTooManyRequests, core.KindTimeout: http.StatusGatewayTimeout,
		core.KindException: http.StatusInternalServerError, core.KindExit: http.StatusBadGateway,
		core.KindMemory: http.StatusBadGateway, core.KindUnavailable: http.StatusServiceUnavailable, core.KindInternal: http.StatusInternalServerError,
		core.KindBuild: http.StatusUnprocessableEntity, core.KindImport: http.StatusUnprocessableEntity,
		core.KindLoop: http.StatusLoopDetected, core.KindDenied: http.StatusForbidden, core.KindUnsupported: http.StatusNotImplemented, core.KindCanceled: 499,
	}
	for _, kind := range core.Kinds() {
		status, known := statuses[kind]
		if !known {
			t.Errorf("this test has no status for the kind %s", kind)
		}
		if !regexp.MustCompile("\\| `" + string(kind) + "` \\| " + fmt.Sprint(status)).Match(text) {
			t.Errorf("docs/functions.md does not say that %s is %d", kind, status)
		}
	}
}
