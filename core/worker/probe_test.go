package worker

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestOwner(t *testing.T) {
	var packages []core.Installed
	for name, modules := range map[string][]string{"np": {"numpy"}, "dateutil": {"dateutil", "_du"}, "storage": {"google.cloud.storage"}, "core": {"google.api_core"},
		"lodash": {"lodash@4.17.1", "import:lodash@4.17.1"}, "old": {"lodash@3.1"}, "merge": {"lodash.merge"}, "scoped": {"@a/b"}, "empty": nil, "so": {"libz.so.1"}} {
		packages = append(packages, core.Installed{Package: core.Package{Name: name, Version: "1"}, Receipt: core.Receipt{Modules: modules}})
	}
	for module, want := range map[string]string{"numpy": "np", "numpy.fft": "np", "numpydoc": "", "numpy_x": "", "numpy-x": "", "nump": "", "_du": "dateutil", "google.cloud.storage.blob": "storage",
		"google.cloud": "", "lodash": "", "lodash@4.17.1": "lodash", "lodash@4.17.1/fp": "lodash", "lodash@4.17.10": "", "lodash@3.1/fp": "old", "lodash.merge": "merge",
		"import:lodash@4.17.1/fp": "lodash", "@a/b": "scoped", "@a/b/c": "scoped", "@a/bc": "", "libz.so.1": "so", "libz.so": "", "": ""} {
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
		fresh := l.begin(f, modules)
		if len(fresh) > 0 {
			l.working.Done()
		}
		return fresh
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
