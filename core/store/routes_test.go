package store

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// A route has one function, also after a restart; who wants one that another has changes nothing.
func TestRoutes(t *testing.T) {
	s := openTest(t)
	f := deploy(t, s, "f", "1")
	named := func(name string, routes ...string) core.Function {
		one := f
		one.Name, one.Version, one.Routes = name, f.Version+1, routes
		return one
	}
	has := func(path, want string) {
		t.Helper()
		if match, _ := s.Routes().Route("GET", "h", path); match.Function != want {
			t.Errorf("%s leads to %q, want %q", path, match.Function, want)
		}
	}
	if err := s.Put(named("f", "GET /a/{x}", "ANY /b")); err != nil {
		t.Fatal(err)
	}
	coretest.WantError(t, s.Put(named("g", "ANY /c", "GET /a/{y}")), core.KindConflict, core.FaultCaller, `"GET /a/{x}" of f`)
	has("/a/1", "f")
	has("/c", "")
	if err := s.Switch([]core.Function{named("g", "GET /a/{y}")}, []string{"f"}); err != nil {
		t.Errorf("one in the place of another: %v", err)
	}
	has("/a/1", "g")
	has("/b", "")
	if err := s.SetNamespace(core.NamespaceSpec{Name: "team"}, true); err != nil {
		t.Fatal(err)
	}
	coretest.WantError(t, s.Put(named("f.team", "GET /team")), core.KindInvalid, core.FaultCaller, "has no host")
	if err := s.Put(named("f.team", "GET team.example.com/")); err != nil {
		t.Error(err)
	}
	coretest.WantError(t, s.Put(named("h", "POST team.example.com/login")), core.KindConflict, core.FaultCaller, "a host of another namespace")
	if err := s.Put(named("g.team", "POST team.example.com/login")); err != nil {
		t.Error(err)
	}
	s.Close()
	s, warnings, err := Open(s.dir)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	defer s.Close()
	has("/a/1", "g")
	if !s.Routes().HasHost("team.example.com") {
		t.Error("a host is gone after a restart")
	}
}
