package tree

import (
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A module that is apart does not keep other modules out of the zygote. The handler imports it at its own
// place.
func TestApart(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a", "threads", "b")
		f.Apart = map[string]string{"threads": "threads starts 3 threads at import", "raises": "raises"}
		f.Loaded = []string{"lazy"}
		for range 4 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		if want := []string{"[a b lazy]"}; !slices.Equal(w.imports, want) {
			t.Errorf("zygotes imported %v, want %v", w.imports, want)
		}
		n, start, _ := mustStart(t, tr, f)
		if got := w.box(n.ID()).modules; start != core.StartCold || !slices.Equal(got, []string{"a", "b", "lazy"}) {
			t.Errorf("%s: the instance has %v", start, got)
		}
		if got := tr.Apart(f); len(got) != 2 || got["threads"] != "threads starts 3 threads at import" {
			t.Errorf("apart %v", got)
		}
		infos := tr.Snapshot()
		if last := infos[len(infos)-1]; last.Function != "f" {
			t.Errorf("%+v", last)
		}
		// A cold instance does not import modules that the code may do without.
		cold := fn("cold", "c")
		cold.Loaded = []string{"lazy"}
		n, _, _ = mustStart(t, tr, cold)
		if got := w.box(n.ID()).modules; !slices.Equal(got, []string{"c"}) {
			t.Errorf("a cold instance has %v", got)
		}
	})
}

// A function gets another zygote when more of its imports are known, also when it has a child ahead.
func TestCorrectedAhead(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a")
		for range 6 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		corrected := *f
		corrected.Loaded = []string{"lazy"}
		for range 4 {
			mustStart(t, tr, &corrected)
			rest(time.Second)
		}
		n, start, _ := mustStart(t, tr, &corrected)
		if got := w.box(n.ID()).modules; start != core.StartFork || !slices.Equal(got, []string{"a", "lazy"}) {
			t.Errorf("%s: the instance has %v", start, got)
		}
	})
}

// Apart returns modules found at run time with those known before, and changes neither.
func TestApartFound(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		w.threads["x"] = 1
		f := fn("f", "x", "y")
		f.Apart = map[string]string{"y": "y leaves 1 process running at import"}
		for range 3 {
			mustStart(t, tr, f)
			rest(time.Second)
		}
		if got := tr.Apart(f); len(got) != 2 || got["x"] != "importing x leaves 2 threads running" || len(f.Apart) != 1 {
			t.Errorf("apart %v, of the function %v", got, f.Apart)
		}
	})
}

// A learnt cost replaces the assumed one: modules that take no time are not worth a shared zygote.
func TestLearn(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		tr.Learn("lang1", map[string]time.Duration{"np": 300 * time.Millisecond, "x": time.Millisecond, "y": time.Millisecond, "six": time.Millisecond})
		a, b := fn("a", "six", "x"), fn("b", "six", "y")
		for range 2 {
			mustStart(t, tr, a)
			mustStart(t, tr, b)
			rest(time.Second)
		}
		if slices.Contains(w.imports, "[six]") {
			t.Errorf("zygotes imported %v", w.imports)
		}
	})
}

// A function that sets a variable which a package reads at import never starts from a process that has loaded
// the package. It imports the package when its own files do.
func TestAside(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		plain := fn("plain", "np", "plt")
		for range 4 {
			mustStart(t, tr, plain)
			rest(time.Second)
		}
		sets := fn("sets", "np", "plt")
		sets.Apart, sets.Aside = map[string]string{"plt": "plt reads MODE when it is imported"}, core.Set{sets.Packages[1]}
		n, _, _ := mustStart(t, tr, sets)
		if n.parent.shape.Modules != nil {
			t.Errorf("forked from what has imported %v", n.parent.shape.Modules)
		}
		if got := w.box(n.ID()).modules; !slices.Equal(got, []string{"np"}) {
			t.Errorf("before its own files it has imported %v", got)
		}
	})
}

// The memory of a package is not the function's, whether a zygote or the instance has imported it.
func TestImportsAreNoMemoryOfTheFunction(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		f := fn("f", "a", "b", "threads")
		f.Apart = map[string]string{"threads": "threads starts 3 threads at import"}
		f.Weights = map[string]int64{"a": 100, "b": 20, "threads": 3}
		for range 4 {
			n, _, _ := mustStart(t, tr, f)
			config, want := w.box(n.ID()).config, int64(123)
			if has := w.box(n.ID()).parent.modules; slices.Contains(has, "a") {
				want = 3
			}
			if config.Imports != want || config.Limits != f.Limits {
				t.Errorf("an instance that shares %v with its zygote has room for imports of %d, and not %d", w.box(n.ID()).parent.modules, config.Imports, want)
			}
			rest(time.Second)
		}
		n, _, _ := mustStart(t, tr, f)
		if got := w.box(n.ID()).config.Imports; got != 3 {
			t.Errorf("a fork has room for imports of %d", got)
		}
	})
}

// A function starts from no process that has imported a module which it does not import itself.
func TestForeignModules(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		more, less := fn("more", "np", "y"), fn("less", "np")
		less.Packages = more.Packages
		for range 3 {
			mustStart(t, tr, more)
			rest(time.Second)
		}
		if n, _, _ := mustStart(t, tr, more); len(n.parent.shape.Modules) != 2 {
			t.Errorf("there is no zygote of all: it has imported %v", n.parent.shape.Modules)
		}
		for range 4 {
			if n, _, _ := mustStart(t, tr, less); slices.Contains(w.box(n.ID()).modules, "y") {
				t.Errorf("who imports np has imported %v", w.box(n.ID()).modules)
			}
			rest(time.Second)
		}
		if n, _, _ := mustStart(t, tr, less); !slices.Equal(n.parent.shape.Modules, []string{"np"}) {
			t.Errorf("who imports np is forked from what has imported %v", n.parent.shape.Modules)
		}
	})
}
