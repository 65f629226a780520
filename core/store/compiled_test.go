package store

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// compile commits a package and a compiled copy of it for fake1.
func compile(t *testing.T, s *Store) core.Installed {
	t.Helper()
	p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a.x": "source", "b/c.x": "22 x", "l": "-> b/c.x", "empty": "dir"}))
	coretest.Must(t, err)
	if without := s.Uncompiled([]core.Installed{p}); len(without) != 1 {
		t.Errorf("what has no compiled copy: %v", without)
	}
	coretest.Must(t, s.CommitCompiled("fake1", map[core.Package]string{p.Package: stage(t, s, map[string]string{"cache/a.y": "code", "b/c.y": "more", "empty": "dir"})}))
	found, ok := s.Find("fake1", p.Package)
	if !ok || found.Compiled == "" || found.Size != p.Size+8 || len(s.Uncompiled([]core.Installed{found})) != 0 {
		t.Fatalf("compiled, it is %+v", found)
	}
	return found
}

func TestCompiled(t *testing.T) {
	s := openTest(t)
	p := compile(t, s)
	check := func() string {
		t.Helper()
		path, err := s.PackagePath("fake1", p.Digest)
		coretest.Must(t, err)
		want := map[string]string{"a.x": "source", "b": "dir", "b/c.x": "22 x", "b/c.y": "more", "cache": "dir", "cache/a.y": "code", "empty": "dir", "l": "-> b/c.x"}
		if got := filestest.Read(t, path); !maps.Equal(got, want) {
			t.Errorf("the compiled copy is %v, want %v", got, want)
		}
		return path
	}
	path := check()
	plain, err := s.PackagePath("fake2", p.Digest)
	coretest.Must(t, err)
	if got := filestest.Read(t, plain); got["a.x"] != "source" || len(got) != 5 {
		t.Errorf("another runtime sees %v", got)
	}
	one, err := os.Stat(plain + "/a.x")
	coretest.Must(t, err)
	two, err := os.Stat(path + "/a.x")
	coretest.Must(t, err)
	if !os.SameFile(one, two) {
		t.Error("the sources are there twice")
	}
	// A worker that is killed in between leaves a copy of which the index does not know, and another runtime
	// may have the same: what is whole stays.
	again := func() {
		t.Helper()
		coretest.Must(t, s.CommitCompiled("fake1", map[core.Package]string{p.Package: stage(t, s, map[string]string{"cache/a.y": "code", "b/c.y": "more"})}))
		check()
	}
	before, err := os.Stat(path)
	coretest.Must(t, err)
	again()
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Error("a whole copy was taken away from who has it:", err)
	}
	coretest.Must(t, os.WriteFile(path+"/cache/a.y", []byte("torn"), 0o644))
	again()
	coretest.Must(t, s.CommitCompiled("fake1", map[core.Package]string{{Name: "gone", Version: "1", Digest: p.Digest[:70] + "0"}: stage(t, s, nil)}))
	wantNothing(t, s)
	coretest.Must(t, s.Close())
	s, _, err = Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	check()
	removed, err := s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, func(string) bool { return false })
	coretest.Must(t, err)
	left, err := os.ReadDir(filepath.Join(s.dir, "packages"))
	if coretest.Must(t, err); len(removed) != 1 || len(left) != 0 {
		t.Errorf("of %v is left %v", removed, left)
	}
}

// TestCompiledRefused has compilers that would change a package, or leave what is no file.
func TestCompiledRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a file of the package": {"a.x": "other"}, "a file for a directory": {"b": "1"}, "a directory for a file": {"a.x": "dir"}, "a link": {"z": "-> a.x"}, "a link that leads out": {"z": "-> ../../x"},
	} {
		s := openTest(t)
		p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a.x": "source", "b/c.x": "2"}))
		coretest.Must(t, err)
		err = s.CommitCompiled("fake1", map[core.Package]string{p.Package: stage(t, s, files)})
		if err == nil {
			t.Errorf("%s is taken", name)
		}
		path, err := s.PackagePath("fake1", p.Digest)
		coretest.Must(t, err)
		if got := filestest.Read(t, path); got["a.x"] != "source" || len(got) != 3 {
			t.Errorf("%s: the package is %v", name, got)
		}
		wantNothing(t, s)
	}
}

// TestCompiledDamage damages the copy or its list: the package is damaged, and installed again it has no copy
// any more.
func TestCompiledDamage(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"compiled": func(path string) error { return os.WriteFile(path+"/cache/a.y", []byte("mode"), 0o644) },
		"source":   func(path string) error { return os.WriteFile(path+"/a.x", []byte("SOURCE"), 0o644) },
		"added":    func(path string) error { return os.WriteFile(path+"/cache/b.y", nil, 0o644) },
		"list":     func(path string) error { return os.Truncate(path+listSuffix, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t)
			p := compile(t, s)
			which := Tree{Packages, p.Digest}
			if checked, err := s.Verify(which, files.Sample{}); err != nil || len(checked.Damaged) > 0 || checked.Files != 6 {
				t.Errorf("whole, it is %+v, %v", checked, err)
			}
			path, err := s.PackagePath("fake1", p.Digest)
			coretest.Must(t, err)
			coretest.Must(t, spoil(path))
			checked, err := s.Verify(which, files.Sample{})
			if coretest.Must(t, err); len(checked.Damaged) != 1 {
				t.Fatalf("it was found damaged: %+v", checked.Damaged)
			}
			coretest.Must(t, s.Mark(which, checked.Damaged[0]))
			again, err := s.CommitPackage("fake1", p.Locked, p.Receipt, stage(t, s, map[string]string{"a.x": "source", "b/c.x": "22 x", "l": "-> b/c.x", "empty": "dir"}))
			coretest.Must(t, err)
			if again.Digest != p.Digest || len(s.Uncompiled([]core.Installed{again})) != 1 || len(s.copies(which)) != 0 {
				t.Errorf("installed again, it is %+v with %v", again, s.copies(which))
			}
			if plain, err := s.PackagePath("fake1", p.Digest); err != nil || plain != s.treePath(which) {
				t.Errorf("it is seen at %s: %v", plain, err)
			}
			if checked, err := s.Verify(which, files.Sample{}); err != nil || len(checked.Damaged) > 0 {
				t.Errorf("installed again, it is %+v, %v", checked, err)
			}
			names, err := os.ReadDir(filepath.Join(s.dir, "packages"))
			if coretest.Must(t, err); slices.ContainsFunc(names, func(e os.DirEntry) bool { return strings.Count(e.Name(), ".") > 1 }) {
				t.Errorf("something of the copy stays: %v", names)
			}
		})
	}
}
