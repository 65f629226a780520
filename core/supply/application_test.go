package supply

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// together deploys functions as an application.
func (w *world) together(t testing.TB, application string, names ...string) (core.Application, error) {
	t.Helper()
	each := func(yield func(core.DeployRequest, error) bool) {
		for _, name := range names {
			if !yield(core.DeployRequest{Name: name, Archive: archive(t, nil)}, nil) {
				return
			}
		}
	}
	return w.DeployApplication(context.WithoutCancel(t.Context()), core.ApplicationRequest{Name: application, Functions: each}, nil)
}

// deployed returns the functions that there are, each as "application/name version".
func (w *world) deployed(t testing.TB) (all []string) {
	t.Helper()
	functions, err := w.Functions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range functions {
		all = append(all, fn.Application+"/"+fn.Name+" "+string(rune('0'+fn.Version)))
	}
	return all
}

// An application and its functions are of one namespace.
func TestApplicationOfANamespace(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, name := range []string{"team", "other"} {
			if err := w.store.SetNamespace(core.NamespaceSpec{Name: name}, true); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.together(t, "app", "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.together(t, "app.team", "a", "b.team"); err != nil {
			t.Fatal(err)
		}
		want := []string{"app/a 1", "app.team/a.team 1", "app.team/b.team 1"}
		if got := w.deployed(t); !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
		_, err := w.together(t, "app.team", "c.other")
		expect(t, err, core.KindInvalid, core.FaultCaller, "the function c.other is not in the namespace of its application app.team")
		_, err = w.together(t, "app", "c.team")
		expect(t, err, core.KindInvalid, core.FaultCaller, "the function c.team is not in the namespace of its application app")
	})
}

// An application is what it was deployed with last, all at once: what it has no more is removed, and what
// fails changes nothing.
func TestApplication(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		if _, err := w.together(t, "app", "a", "b"); err != nil {
			t.Fatal(err)
		}
		w.must(t, "alone", "")
		synctest.Wait()
		w.was()
		app, err := w.together(t, "app", "b", "c")
		if err != nil || !slices.Equal(app.Removed, []string{"a"}) || len(app.Functions) != 2 {
			t.Fatalf("%+v, %v", app, err)
		}
		synctest.Wait()
		if was := w.was("try", "preload", "correct"); !slices.Equal(was, []string{"drain b but [2]", "drain c but [1]", "removed a 1"}) {
			t.Errorf("what lives was asked %q", was)
		}
		want := []string{"/alone 1", "app/b 2", "app/c 1"}
		if got := w.deployed(t); !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
		w.set(func() {
			w.trial = func(fn *core.Function, _ bool) (Trial, error) {
				if fn.Name == "c" {
					return Trial{}, core.Errorf(core.KindException, core.FaultHandler, "raised")
				}
				return Trial{}, nil
			}
		})
		synctest.Wait()
		w.was()
		_, err = w.together(t, "app", "b", "c", "d")
		expect(t, err, core.KindImport, core.FaultHandler, "nothing of the application app has changed, because of its function c")
		if got := w.deployed(t); !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
		if was := w.was("try", "note"); !slices.Equal(was, []string{"drain b but [2]", "drain c but [1]"}) {
			t.Errorf("what is known of the versions that were tried is forgotten: %q", was)
		}
		if names, err := w.RemoveApplication(t.Context(), "app"); err != nil || !slices.Equal(names, []string{"b", "c"}) {
			t.Errorf("%v, %v", names, err)
		}
		_, err = w.RemoveApplication(t.Context(), "app")
		expect(t, err, core.KindNotFound, core.FaultCaller)
		if got := w.deployed(t); !slices.Equal(got, []string{"/alone 1"}) {
			t.Errorf("there are %q", got)
		}
	})
}

// Functions and applications have names of their own, and a function is of one application.
func TestApplicationNames(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.together(t, "app", "a", "b"); err != nil {
		t.Fatal(err)
	}
	w.must(t, "alone", "")
	for _, test := range []struct {
		application string
		functions   []string
		says        string
	}{
		{"other", []string{"a"}, "of the application app"},
		{"other", []string{"other"}, "is the name of an application"},
		{"other", []string{"x", "app"}, "is the name of an application"},
		{"alone", []string{"x"}, `there is a function "alone"`},
		{"app", []string{"x", "y"}, "none of them is in this one"},
		{"none", nil, "has no function"},
		{"Not a name", []string{"x"}, "Not a name"},
		{"many", slices.Repeat([]string{"x"}, core.MaxFunctions+1), "under way"},
	} {
		if _, err := w.together(t, test.application, test.functions...); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s of %q: %v, want %q", test.application, test.functions, err, test.says)
		}
	}
	_, err := w.deploy(t, "app", "")
	expect(t, err, core.KindConflict, core.FaultCaller, "is the name of an application")
	expect(t, w.NotFound("app"), core.KindNotFound, core.FaultCaller, "its functions are a, b")
	if fn := w.must(t, "a", ""); fn.Application != "app" {
		t.Errorf("a function that is deployed alone leaves its application: %+v", fn)
	}
	if got := w.deployed(t); !slices.Equal(got, []string{"app/a 2", "/alone 1", "app/b 1"}) {
		t.Errorf("there are %q", got)
	}
}

// What a removal, or a deploy, of an application takes away is what is the application's when its name has
// been kept, and nobody else's who has come to have the name.
func TestRemoveWhatIsTheApplications(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.together(t, "app", "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	names := w.FunctionsOf("app")
	for _, name := range []string{"a", "b"} { // after it was looked which there are
		if err := w.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	w.must(t, "a", "")
	removed, err := w.removeAll(names, "app")
	if err != nil || !slices.Equal(removed, []string{"c"}) {
		t.Errorf("removed %q, %v", removed, err)
	}
	if got := w.deployed(t); !slices.Equal(got, []string{"/a 2"}) {
		t.Errorf("there are %q", got)
	}
}

// A removal of an application waits for nobody: it is refused, whole, while one of its functions is being
// deployed.
func TestRemoveApplicationBesideDeploy(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		if _, err := w.together(t, "app", "a", "b"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.set(func() { w.during = func(drivertest.Method) { time.Sleep(time.Minute) } })
		ended := make(chan error)
		go func() { _, err := w.deploy(t, "b", ""); ended <- err }()
		synctest.Wait()
		_, err := w.RemoveApplication(t.Context(), "app")
		expect(t, err, core.KindConflict, core.FaultCaller, `"b"`)
		_, err = w.together(t, "app", "a")
		expect(t, err, core.KindConflict, core.FaultCaller, `"b"`)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := w.deployed(t); !slices.Equal(got, []string{"app/a 1", "app/b 2"}) {
			t.Errorf("there are %q", got)
		}
		if names, err := w.RemoveApplication(t.Context(), "app"); err != nil || len(names) != 2 {
			t.Errorf("%q, %v", names, err)
		}
	})
}
