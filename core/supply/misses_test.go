package supply

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// A package of Node.js that looks for what only the function's own directory has is not imported ahead for a
// function that has it, nor is what imports it.
func TestMisses(t *testing.T) {
	packages := synthetic(3, probed(t), "")
	packages[0].Probe.Asks, packages[1].Probe.Asks, packages[2].Probe.Asks = []string{"extra"}, nil, []string{core.AnyPackage}
	packages[1].Locked.Requires = []string{packages[0].String()}
	for _, test := range []struct {
		offers []string
		want   []string
	}{
		{nil, []string{"", "", ""}},
		{[]string{"other"}, []string{"", "", "package2 may look for any package when it is imported"}},
		{[]string{"extra"}, []string{"package0 looks for extra, which it does not require",
			"package1 imports package0, which looks for extra, which it does not require",
			"package2 may look for any package when it is imported"}},
	} {
		for i := range packages {
			if why := unshared(&core.Function{Offers: test.offers}, packages)[packages[i].Package]; why != test.want[i] {
				t.Errorf("with %q: %q, want %q", test.offers, why, test.want[i])
			}
		}
	}
}

// A package that looks at its place is apart for a function whose instances have another one than zygotes.
func TestDisplaced(t *testing.T) {
	config, all, where := []string{"./config"}, []string{"./"}, []string{"."}
	arguments, id := []string{"@argv"}, []string{"@pid"}
	const (
		moves  = "looks at the working directory when it is imported, which the function's files change"
		argues = "reads the arguments when it is imported, which the function's files change"
	)
	for _, test := range []struct {
		asks, offers, changes []string
		want                  string
	}{
		{config, nil, nil, ""},
		{config, []string{"./config.py", "config"}, nil, ""},
		{config, []string{"./config", "./handler"}, nil, "looks for ./config in the working directory"},
		{config, []string{"./"}, nil, "looks for ./config in the working directory"},
		{config, nil, []string{"./"}, moves},
		{config, nil, []string{"@argv", "MODE"}, ""},
		{all, nil, nil, ""},
		{all, []string{"other"}, nil, ""},
		{all, []string{"./handler"}, nil, "looks at all that is in the working directory when it is imported"},
		{where, []string{"./handler"}, nil, ""},
		{where, []string{"./"}, nil, ""},
		{where, nil, []string{"./"}, moves},
		{arguments, []string{"./"}, []string{"./"}, ""},
		{arguments, nil, []string{"@argv"}, argues},
		{id, nil, nil, "reads the pid of its process when it is imported"},
		{[]string{"@random"}, nil, nil, "draws random numbers when it is imported"},
		{[]string{"*"}, []string{"./handler"}, nil, ""},
	} {
		packages := synthetic(2, probed(t), "")
		packages[0].Probe.Asks, packages[1].Probe.Asks = test.asks, nil
		want := map[core.Package]string{}
		if test.want != "" {
			want[packages[0].Package] = "package0 " + test.want
		}
		if got := unshared(&core.Function{Offers: test.offers, Changes: test.changes}, packages); !maps.Equal(got, want) {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// What a function's code imports after it has prepared for that is apart, and so is what requires it.
func TestLate(t *testing.T) {
	packages := synthetic(3, probed(t), "")
	packages[1].Locked.Requires = []string{packages[0].String()}
	fn := &core.Function{Changes: []string{"=package0.inner", "=json", "=nowhere", "MODE"}}
	want := map[core.Package]string{packages[0].Package: "package0 " + isLate, packages[1].Package: "package1 imports package0, which " + isLate}
	if got := unshared(fn, packages); !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	fn.Tried = map[string]core.Trial{}
	for module, late := range map[string]bool{"json": true, "sqlite3": false} {
		fn.Tried[module] = core.Trial{Took: time.Second, Version: packages[0].Probe.Version}
		if why, _ := reason(fn, module, packages, nil, false); (why == module+" "+isLate) != late {
			t.Errorf("%s: %q", module, why)
		}
	}
}

// What is no package is not looked for among packages, whatever they are called.
func TestPlaceIsNoPackage(t *testing.T) {
	packages := synthetic(3, probed(t), "")
	packages[0].Probe.Asks = []string{"./", "./config", "@pid", "@argv"}
	packages[1].Receipt.Modules, packages[2].Receipt.Modules = []string{"@pid/one"}, []string{"./config"}
	k := newAsking()
	k.learn(packages)
	if got := k.asks[plan.Asker{Runtime: "lang1", Package: packages[0].Package}]; len(got) > 0 {
		t.Errorf("it asks for %v", got)
	}
	packages[1].Probe.Unforkable = "starts 1 thread at import"
	why := unshared(&core.Function{}, packages)[packages[0].Package]
	if why != "package0 reads the pid of its process when it is imported" {
		t.Errorf("it is apart, for it %s", why)
	}
}

// What a function's directory has at its top is noted once; too much of it stands for all.
func TestOfferCode(t *testing.T) {
	w, _ := advised(t, nil, "")
	commit := func(names ...string) (digest string) {
		dir, err := w.store.Stage()
		for _, name := range names {
			if err = cmp.Or(err, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)); err == nil {
				err = os.WriteFile(filepath.Join(dir, name), nil, 0o644)
			}
		}
		if err == nil {
			digest, _, err = w.store.CommitCode(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	var many []string
	for i := range maxOffered + 1 {
		many = append(many, fmt.Sprint(i))
	}
	few := commit("handler.py", "config/default.json", "config/more.json")
	for _, test := range []struct {
		code         string
		before, want []string
	}{
		{"", nil, nil},
		{few, []string{"extra"}, []string{"extra", "./config", "./handler.py"}},
		{few, []string{"./a"}, []string{"./a"}},
		{commit(many...), nil, []string{"./"}},
		{"sha256:" + strings.Repeat("0", 64), nil, []string{"./"}},
	} {
		fn := &core.Function{Code: test.code, Offers: test.before}
		if w.offerCode(fn); !slices.Equal(fn.Offers, test.want) {
			t.Errorf("of %s is noted %q, want %q", test.code, fn.Offers, test.want)
		}
	}
}
