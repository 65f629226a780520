package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Namespaces outlive the worker. They bound what is put into them, and nothing is put into one that there is
// not.
func TestNamespaces(t *testing.T) {
	s := openTest(t)
	is := func(err error, kind core.Kind, told string) {
		t.Helper()
		coretest.WantError(t, err, kind, core.FaultCaller, told)
	}
	f := deploy(t, s, "f", "1")
	in := func(name string) core.Function { one := f; one.Name = name; return one }
	is(s.Put(in("f.team")), core.KindNotFound, "namespace create")
	if err := s.SetNamespace(core.NamespaceSpec{Name: "team", Quotas: core.Quotas{Functions: 1}}, true); err != nil {
		t.Fatal(err)
	}
	is(s.SetNamespace(core.NamespaceSpec{Name: "team"}, true), core.KindConflict, "already")
	is(s.SetNamespace(core.NamespaceSpec{Name: "none"}, false), core.KindNotFound, "no namespace")
	if err := s.Put(in("f.team")); err != nil {
		t.Fatal(err)
	}
	is(s.Put(in("g.team")), core.KindExhausted, "1 function")
	if err := s.Switch([]core.Function{in("g.team")}, []string{"f.team"}); err != nil {
		t.Errorf("one in the place of another: %v", err)
	}
	is(s.SetNamespace(core.NamespaceSpec{Name: "team", Isolated: true}, false), core.KindConflict, "1 functions")
	isolated := in("g.team")
	isolated.Isolated, isolated.Version = true, 2
	is(s.Put(isolated), core.KindConflict, "was changed")
	is(s.RemoveNamespace("team"), core.KindConflict, "remove them first")
	is(s.RemoveNamespace(core.DefaultNamespace), core.KindConflict, "always stays")

	if err := s.SetNamespace(core.NamespaceSpec{Name: "team", Quotas: core.Quotas{Disk: 1}}, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(in("g.team")); err != nil {
		t.Errorf("what is there already is not kept: %v", err)
	}
	if size := s.Size([]core.Function{f, in("g.team")}); size < 1 || size != s.Size([]core.Function{f}) {
		t.Errorf("the same code twice has %d bytes", size)
	}
	another := deploy(t, s, "another", "2")
	another.Name = "h.team"
	is(s.Put(another), core.KindExhausted, "code, packages and storages")

	s.Close()
	s, warnings, err := Open(s.dir)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if all := s.Namespaces(); len(all) != 2 || all[0].Name != core.DefaultNamespace || all[1].Name != "team" || all[1].Quotas.Disk != 1 {
		t.Errorf("%+v", all)
	}
	if err := s.Delete("g.team"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNamespace("team"); err != nil {
		t.Error(err)
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(s.dir, namespacesFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(s.dir); err == nil || !strings.Contains(err.Error(), namespacesFile) {
		t.Errorf("quotas that cannot be read: %v", err)
	}
}

// A storage counts in its namespace also when no function uses it any more: else a function would take as
// many as it names one after the other.
func TestQuotaOfStorages(t *testing.T) {
	s := openTest(t)
	const size = 16 << 20
	if err := s.SetNamespace(core.NamespaceSpec{Name: "team", Quotas: core.Quotas{Disk: 5 * size / 2}}, true); err != nil {
		t.Fatal(err)
	}
	f := deploy(t, s, "f", "1")
	f.Name = "f.team"
	with := func(storage string) error {
		f.Version, f.Storage = f.Version+1, &core.Storage{Name: storage, Path: "/data", Size: size}
		if err := s.Allow([]core.Function{f}, nil); err != nil { // as a deploy asks before it makes one
			return err
		}
		if err := os.WriteFile(s.StoragePath(f.StorageName()), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(s.StoragePath(f.StorageName()), size); err != nil {
			t.Fatal(err)
		}
		return s.Put(f)
	}
	for _, storage := range []string{"a", "b"} {
		if err := with(storage); err != nil {
			t.Errorf("%s: %v", storage, err)
		}
	}
	coretest.WantError(t, with("c"), core.KindExhausted, core.FaultCaller, "storages")
	if err := with("b"); err != nil {
		t.Errorf("one that it has: %v", err)
	}
	if used := s.DiskOf("team", []core.Function{f}); used < 2*size || used > 2*size+1<<20 {
		t.Errorf("two storages take %d bytes", used)
	}
	if err := s.RemoveStorage("a.team"); err != nil {
		t.Fatal(err)
	}
	if err := with("c"); err != nil {
		t.Errorf("after a removal: %v", err)
	}
}
