package supply

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

func TestOwner(t *testing.T) {
	var packages []core.Installed
	for name, modules := range map[string][]string{"np": {"numpy"}, "dateutil": {"dateutil", "_du"}, "storage": {"google.cloud.storage"}, "core": {"google.api_core"},
		"lodash": {"lodash@4.17.1", "import:lodash@4.17.1"}, "old": {"lodash@3.1"}, "merge": {"lodash.merge"}, "scoped": {"@a/b"}, "empty": nil, "so": {"libz.so.1"}} {
		packages = append(packages, core.Installed{Package: core.Package{Name: name, Version: "1"}, Receipt: core.Receipt{Modules: modules}})
	}
	for module, want := range map[string]string{"numpy": "np", "numpy.fft": "np", "numpydoc": "", "numpy_x": "", "numpy-x": "", "nump": "", "_du": "dateutil", "google.cloud.storage.blob": "storage",
		"google.cloud": "", "lodash": "", "lodash@4.17.1": "lodash", "lodash@4.17.1/fp": "lodash", "lodash@4.17.10": "", "lodash@3.1/fp": "old", "lodash.merge": "merge",
		"import:lodash@4.17.1/fp": "lodash", "import:lodash@3.1/fp": "old", "import:lodash@3.10": "", "@a/b": "scoped", "@a/b/c": "scoped", "@a/bc": "", "libz.so.1": "so", "libz.so": "", "": ""} {
		got := ""
		if p, _ := owner(module, packages); p != nil {
			got = p.Name
		}
		if got != want {
			t.Errorf("%q is of %q, want %q", module, got, want)
		}
	}
}

func TestLearningTriesOnce(t *testing.T) {
	l := newLearning()
	f := &core.Function{Name: "f", Version: 1}
	begin := func(version int, modules ...string) []string {
		f.Version = version
		return l.fresh(f, modules)
	}
	if got := begin(1, "a", "b", "a"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("first %v", got)
	}
	if got := begin(1, "b", "c"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("then %v", got)
	}
	if got := begin(2, "a"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("of another version %v", got)
	}
	many := make([]string, 2*maxLoaded)
	for i := range many {
		many[i] = string(rune('a'+i/26)) + string(rune('a'+i%26))
	}
	if got := begin(3, many...); len(got) != maxLoaded {
		t.Errorf("%d of %d are believed", len(got), len(many))
	}
	l.close()
	if got := begin(4, "a"); got != nil {
		t.Errorf("after the end %v", got)
	}
}

// Who sets a variable has apart what reads it when it is imported, what requires that, and what is deeper in
// a package as long as it was not tried.
func TestReason(t *testing.T) {
	seen := func(name string, p core.Probe, requires ...string) core.Installed {
		p.Version = probed(t)
		return core.Installed{Package: core.Package{Name: name, Version: "1"}, Probe: &p, Locked: core.Locked{Requires: requires}, Receipt: core.Receipt{Modules: []string{name}}}
	}
	packages := []core.Installed{seen("plain", core.Probe{}), seen("reads", core.Probe{Reads: []string{"MODE"}}, "circle==1"), seen("circle", core.Probe{}, "above==1"),
		seen("above", core.Probe{}, "reads==2"), seen("deep", core.Probe{}), seen("rootless", core.Probe{Errors: map[string]string{"rootless": "no root"}}), seen("name", core.Probe{Reads: []string{"AWS_LAMBDA_FUNCTION_NAME", "PATH"}}), seen("all", core.Probe{Reads: []string{core.AllVariables}}),
		{Package: core.Package{Name: "new", Version: "1"}, Receipt: core.Receipt{Modules: []string{"new"}}}}
	sets := &core.Function{Env: map[string]string{"MODE": "x", "LANG": "C.UTF-8"}, Tried: map[string]core.Trial{"plain.good": {}, "plain.bad": {Why: "bad"}, "rootless.good": {}, "rootless.bad": {Why: "bad"}, "deep.x": {Reads: []string{"MODE"}}, "std": {}, "stdreads": {Reads: []string{"X"}}, "stdall": {Reads: []string{core.AllVariables}}, "plain.old": {Why: "bad", Version: -1}}}
	for module, trial := range sets.Tried {
		trial.Version += probed(t)
		sets.Tried[module] = trial
	}
	changes := &core.Function{Sets: []string{"=circle", "=*"}, Imports: []string{"plain", "circle"}}
	of := func(name string) *core.Function { // who sets that variable in its files
		return &core.Function{Sets: []string{name}, Tried: sets.Tried}
	}
	for _, test := range []struct {
		fn          *core.Function
		module, why string
	}{
		{sets, "plain", ""}, {sets, "reads", "reads reads MODE when it is imported, which is set for this function"},
		{sets, "above.x", "above imports reads, which reads MODE when it is imported, which is set for this function"},
		{changes, "plain", ""}, {changes, "circle", "circle " + isLate},
		{changes, "plain.good", "plain.good " + isLate}, {changes, "all", "all " + isLate},
		{&core.Function{Sets: []string{"=circle", "=*"}, Imports: []string{"reads", "all"}}, "reads", ""}, {&core.Function{Sets: []string{"=*"}, Imports: []string{"all"}}, "all", ""},
		{&core.Function{}, "reads", ""}, {&core.Function{Sets: []string{"MODE"}}, "circle", "circle imports reads, which reads MODE when it is imported, which is set for this function"},
		{&core.Function{}, "name", "name reads AWS_LAMBDA_FUNCTION_NAME when it is imported, which is set for this function"},
		{&core.Function{Sets: []string{core.AllVariables}}, "plain", "plain is imported as the function's own files say"},
		{&core.Function{Changes: []string{core.AllVariables}}, "plain", "plain is left to the function until its handler has been tried, which its deploy has not done"},
		{sets, "plain.new", "plain.new is being probed"}, {sets, "plain.good", ""}, {sets, "plain.old", "plain.old is being probed"}, {sets, "plain.bad", "bad"}, {sets, "new.x", "new is being probed"}, {sets, "nobody", "nobody is being probed"},
		{sets, "rootless", "no root"}, {sets, "rootless.new", "rootless.new is being probed"}, {sets, "rootless.good", ""}, {sets, "rootless.bad", "bad"},
		{sets, "std", ""}, {sets, "stdreads", ""}, {sets, "stdall", "looks at all environment variables when it is imported"},
		{of("X"), "std", "reads X when it is imported, which is set for this function"}, {of("X"), "stdreads", "reads X when it is imported, which is set for this function"}, {of("X"), "plain.good", ""},
		{of(core.AllVariables), "std", "is imported as the function's own files say"}, {sets, "deep", "deep reads MODE when it is imported, which is set for this function"},
		{&core.Function{}, "deep", ""}, {&core.Function{}, "all", ""},
		{&core.Function{Changes: []string{"MODE"}}, "circle", "circle imports reads, which reads MODE when it is imported, which is set for this function"},
		{sets, "all", "all reads AWS_LAMBDA_FUNCTION_MEMORY_SIZE, AWS_LAMBDA_FUNCTION_NAME, AWS_LAMBDA_FUNCTION_VERSION, AWS_LAMBDA_LOG_GROUP_NAME, AWS_LAMBDA_LOG_STREAM_NAME, MODE, _HANDLER when it is imported, which is set for this function"},
	} {
		if why, _ := reason(test.fn, test.module, packages, unshared(test.fn, packages), false); strings.HasSuffix(test.why, unprobed) && why != "" {
			t.Errorf("%s is not waited for, and is apart: %q", test.module, why)
		}
		if why, _ := reason(test.fn, test.module, packages, unshared(test.fn, packages), true); why != test.why {
			t.Errorf("%s with %v: %q, want %q", test.module, test.fn.Settings(), why, test.why)
		}
	}
}

// probed is the version of probes that are not stale.
func probed(t *testing.T) int {
	for version := range 100 {
		if p := (core.Installed{Probe: &core.Probe{Version: version}}); !probe.Stale(p, nil) {
			return version
		}
	}
	t.Fatal("every probe is stale")
	return 0
}

// What failed by another driver, runtime or Pipsqueak is found out again, and nothing else is.
func TestAgain(t *testing.T) {
	installed := func(name, by, unforkable string, errors map[string]string) core.Installed {
		p := core.Package{Name: name, Version: "1"}
		return probe.Known(core.Installed{Package: p, Receipt: core.Receipt{Modules: []string{name}},
			Probe: &core.Probe{Version: probed(t), By: by, Unforkable: unforkable, Errors: errors}}, "now")
	}
	packages := []core.Installed{
		installed("good", "then", "", nil), installed("threads", "then", "starts 1 thread at import", nil), installed("threads2", "now", "starts 1 thread at import", nil),
		installed("broken", "then", "", map[string]string{"broken": "no"}), installed("broken2", "now", "", map[string]string{"broken2": "no"}),
	}
	for i, stale := range []bool{false, true, false, true, false} {
		if probe.Stale(packages[i], packages) != stale {
			t.Errorf("%s: %+v", packages[i].Name, packages[i].Probe)
		}
	}
	fn := &core.Function{Imports: []string{"good", "threads", "threads2"}, Perhaps: []string{"perhaps"},
		Apart: map[string]string{"threads": "a", "threads2": "b", "broken": "c", "broken2": "d", "std": "e", "std2": "f"},
		Tried: map[string]core.Trial{"std": {Why: "e", By: "then"}, "std2": {Why: "f", By: "now"}, "std3": {By: "then"}, "perhaps": {Why: "g", By: "then"}}}
	before := *fn
	if !again(fn, packages, "now") {
		t.Error("there is nothing to find out again")
	}
	want := core.Function{Imports: []string{"good", "threads", "threads2", "broken", "std"}, Perhaps: []string{"perhaps"},
		Apart: map[string]string{"threads": "threads is being probed", "threads2": "b", "broken": "broken is being probed", "broken2": "d", "std": "std is being probed", "std2": "f"},
		Tried: map[string]core.Trial{"std2": {Why: "f", By: "now"}, "std3": {By: "then"}}}
	if !reflect.DeepEqual(*fn, want) {
		t.Errorf("%+v\n%+v", *fn, want)
	}
	if before.Apart["broken"] != "c" || len(before.Tried) != 4 || !waits(fn) {
		t.Errorf("what was there before is %+v", before)
	}
	if again(&core.Function{Tried: map[string]core.Trial{"std2": {Why: "f", By: "now"}}, Apart: map[string]string{"std2": "f"}}, packages, "now") {
		t.Error("something is found out again without a reason")
	}
}

// What was learned of a version of a function holds for the next one with the same packages and variables,
// and is tried again else.
func TestInherit(t *testing.T) {
	before := &core.Function{Name: "f", Version: 1, Packages: core.NewSet(core.Package{Name: "a"}), Env: map[string]string{"A": "1"}, Loaded: []string{"a.x", "a.y"}, Tried: map[string]core.Trial{"a.x": {}}}
	for _, test := range []struct {
		change func(*core.Function)
		loaded []string
	}{
		{func(*core.Function) {}, []string{"a.x", "a.y"}},
		{func(f *core.Function) { f.Imports = []string{"a.x"} }, []string{"a.y"}},
		{func(f *core.Function) { f.Env = map[string]string{"A": "2"} }, []string{"a.x", "a.y"}},
		{func(f *core.Function) { f.Env = nil }, nil},
		{func(f *core.Function) { f.Sets = []string{"B"} }, nil},
		{func(f *core.Function) { f.Changes = []string{core.AllVariables} }, []string{"a.x", "a.y"}},
		{func(f *core.Function) { f.Packages = nil }, nil},
		{func(f *core.Function) { f.Runtime = "other" }, nil},
	} {
		fn := &core.Function{Name: "f", Version: 2, Packages: before.Packages, Env: before.Env}
		test.change(fn)
		inherit(fn, before)
		if !slices.Equal(fn.Loaded, test.loaded) || (fn.Tried == nil) != (test.loaded == nil) || !slices.Equal(slices.Sorted(slices.Values(slices.Concat(fn.Imports, fn.Perhaps))), []string{"a.x", "a.y"}) {
			t.Errorf("%+v", fn)
		}
	}
}

// What a version has learned of itself stays beside what it inherits, and the one before keeps what it had.
func TestInheritLate(t *testing.T) {
	before := &core.Function{Name: "f", Version: 1, Loaded: []string{"a", "b"}, Tried: map[string]core.Trial{"a": {}, "b": {Why: "then"}}}
	fn := &core.Function{Name: "f", Version: 2, Loaded: []string{"c", "a"}, Tried: map[string]core.Trial{"b": {Why: "now"}, "c": {}}}
	inherit(fn, before)
	inherit(fn, before)
	if want := map[string]core.Trial{"a": {}, "b": {Why: "now"}, "c": {}}; !slices.Equal(fn.Loaded, []string{"c", "a", "b"}) || !reflect.DeepEqual(fn.Tried, want) {
		t.Errorf("%+v", fn)
	}
	if len(before.Tried) != 2 || before.Tried["b"].Why != "then" || !slices.Equal(before.Loaded, []string{"a", "b"}) {
		t.Errorf("of the one before is left %+v", before)
	}
}

// A deploy of which everything is known does not wait for what others have under way, and one that has to
// says so.
func TestDeployWaitsForNobody(t *testing.T) {
	w := newWorld(t, nil)
	end := w.turns.takeLater()
	var told []core.Progress
	progress := func(p core.Progress) {
		if told = append(told, p); len(told) == 1 {
			end() // now that it has told
		}
	}
	known, unknown := w.deployment(core.DeployRequest{}, "", progress), w.deployment(core.DeployRequest{}, "", progress)
	known.driver, unknown.driver = drivertest.New(core.Description{}), drivertest.New(core.Description{})
	known.fn = core.Function{Name: "f", Imports: []string{"std"}, Tried: map[string]core.Trial{"std": {Version: probed(t)}}}
	unknown.fn = core.Function{Imports: []string{"std"}}
	if !known.prepared(nil) || unknown.prepared(nil) {
		t.Error("what is prepared is not told from what is not")
	}
	if known.prepare(t.Context()); len(told) > 0 {
		t.Fatalf("it has waited, and told %+v", told)
	}
	known.turn()()
	if len(told) != 2 || told[0].Verb != "wait" || told[0].Detail == "" || !told[1].Ended {
		t.Errorf("who waits tells %+v", told)
	}
}
