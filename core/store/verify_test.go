package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// TestVerify damages a package and code in every way in which a disk or a person may, and finds it.
func TestVerify(t *testing.T) {
	content := map[string]string{"a": "1", "b/c": "22", "b/run": "3 x", "l": "-> b/c", "empty": "dir"}
	tests := []struct {
		name       string
		spoil      func(dir string) error
		file, word string
	}{
		{"nothing", func(string) error { return nil }, "", ""},
		{"a flipped bit", func(dir string) error { return os.WriteFile(dir+"/b/c", []byte("23"), 0) }, "b/c", "other contents"},
		{"truncated", func(dir string) error { return os.Truncate(dir+"/b/c", 1) }, "b/c", "1 bytes instead of 2"},
		{"longer", func(dir string) error { return os.WriteFile(dir+"/a", []byte("111"), 0) }, "a", "3 bytes instead of 1"},
		{"missing", func(dir string) error { return os.Remove(dir + "/a") }, "a", "is missing"},
		{"missing directory", func(dir string) error { return os.Remove(dir + "/empty") }, "empty", "is missing"},
		{"added", func(dir string) error { return os.WriteFile(dir+"/b/z.pth", nil, 0o644) }, "b/z.pth", "was added"},
		{"added directory", func(dir string) error { return os.Mkdir(dir+"/empty/z", 0o755) }, "empty/z", "was added"},
		{"added at the top", func(dir string) error { return os.Symlink("a", dir+"/z") }, "z", "was added"},
		{"mode", func(dir string) error { return os.Chmod(dir+"/a", 0o666) }, "a", "-rw-rw-rw-"},
		{"mode of a directory", func(dir string) error { return os.Chmod(dir+"/b", 0o777) }, "b", "drwxrwxrwx"},
		{"mode of the package", func(dir string) error { return os.Chmod(dir, 0o777) }, ".", "drwxrwxrwx"},
		{"set-user-id", func(dir string) error { return os.Chmod(dir+"/b/run", 0o755|os.ModeSetuid) }, "b/run", "urwxr-xr-x"},
		{"link", func(dir string) error { return errors.Join(os.Remove(dir+"/l"), os.Symlink("/etc/passwd", dir+"/l")) }, "l", `"/etc/passwd" instead of "b/c"`},
		{"link for a file", func(dir string) error { return errors.Join(os.Remove(dir+"/a"), os.Symlink("b/c", dir+"/a")) }, "a", "is now a"},
		{"file for a directory", func(dir string) error {
			return errors.Join(os.Remove(dir+"/empty"), os.WriteFile(dir+"/empty", nil, 0o644))
		}, "empty", "is now a"},
		{"link for a directory on the way", func(dir string) error {
			return errors.Join(os.Rename(dir+"/b", dir+"/../moved"), os.Symlink("../moved", dir+"/b"))
		}, "b", "is now a"},
		{"all gone", os.RemoveAll, "", "is gone"},
		{"another owner", func(dir string) error { return os.Lchown(dir+"/a", 12345, 12345) }, "a", "user 12345"},
	}
	for _, area := range []Area{Code, Packages} {
		for _, test := range tests {
			t.Run(string(area)+"/"+test.name, func(t *testing.T) {
				if test.name == "another owner" && os.Geteuid() != 0 {
					t.Skip("only root can give files away")
				}
				s := openTest(t)
				tree := Tree{Area: area}
				if area == Code {
					digest, release, err := s.CommitCode(stage(t, s, content))
					coretest.Must(t, err)
					defer release()
					tree.Digest = digest
				} else {
					p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, content))
					coretest.Must(t, err)
					tree.Digest = p.Digest
				}
				coretest.Must(t, test.spoil(s.treePath(tree)))
				checked, err := s.Verify(tree, files.Sample{})
				coretest.Must(t, err)
				if test.word == "" {
					if len(checked.Damaged) > 0 || checked.Files != 3 || checked.Bytes != 4 {
						t.Errorf("a whole tree: %+v", checked)
					}
					return
				}
				if i := slices.IndexFunc(checked.Damaged, func(f core.DamagedFile) bool { return f.File == test.file }); i < 0 || !strings.Contains(checked.Damaged[i].Reason, test.word) {
					t.Errorf("got %+v, want %q of %q", checked.Damaged, test.word, test.file)
				}
			})
		}
	}
}

// TestVerifyWithoutList has trees from before there were lists, and damaged lists.
func TestVerifyWithoutList(t *testing.T) {
	s := openTest(t)
	p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a": "1"}))
	coretest.Must(t, err)
	tree := Tree{Packages, p.Digest}
	path := s.treePath(tree) + listSuffix
	for _, spoil := range []func() error{func() error { return os.Remove(path) }, func() error { return os.Truncate(path, 17) }} {
		coretest.Must(t, spoil())
		checked, err := s.Verify(tree, files.Sample{})
		if err != nil || len(checked.Damaged) > 0 || checked.Files != 1 {
			t.Errorf("a whole tree: %+v, %v", checked, err)
		}
		if list, ok := s.list(tree); !ok || len(list) != 1 {
			t.Errorf("the list was not written: %v", list)
		}
	}
	coretest.Must(t, os.Remove(path))
	coretest.Must(t, os.WriteFile(s.treePath(tree)+"/a", []byte("2"), 0o644))
	if checked, err := s.Verify(tree, files.Sample{}); err != nil || len(checked.Damaged) != 1 {
		t.Errorf("a damaged tree: %+v, %v", checked, err)
	}
}

func TestSample(t *testing.T) {
	s := openTest(t)
	content := map[string]string{}
	for i := range 1000 {
		content[fmt.Sprint(i)] = "1"
	}
	p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, content))
	coretest.Must(t, err)
	for _, test := range []struct {
		sample   files.Sample
		from, to int
	}{{files.Sample{}, 1000, 1000}, {files.Sample{Percent: 100}, 1000, 1000}, {files.Sample{Percent: 10}, 30, 300}, {files.Sample{Files: 50}, 5, 200}, {files.Sample{Percent: 1e-9}, 0, 0}} {
		if checked, err := s.Verify(Tree{Packages, p.Digest}, test.sample); err != nil || checked.Files < test.from || checked.Files > test.to {
			t.Errorf("%+v read %d files of 1000: %v", test.sample, checked.Files, err)
		}
	}
}

// TestDamaged marks a package: it is not used, over a restart too, until the same files are committed or it
// is found to be whole.
func TestDamaged(t *testing.T) {
	s := openTest(t)
	locked, content := core.Locked{Name: "p", Version: "1"}, map[string]string{"a": "1"}
	p, err := s.CommitPackage("fake1", locked, core.Receipt{}, stage(t, s, content))
	coretest.Must(t, err)
	tree := Tree{Packages, p.Digest}
	coretest.Must(t, os.WriteFile(s.treePath(tree)+"/a", []byte("2"), 0o644))
	coretest.Must(t, s.Mark(tree, core.DamagedFile{File: "a", Reason: "has other contents"}))
	for range 2 {
		if _, ok := s.Lookup("fake1", locked); ok {
			t.Error("a damaged package is installed")
		}
		if found, ok := s.Find("fake1", p.Package); !ok || found.Quarantine != "damaged: a has other contents" {
			t.Errorf("found %+v", found)
		}
		coretest.WantError(t, s.Refused("fake1", "", core.NewSet(p.Package)), core.KindUnavailable, core.FaultWorker, "p==1", "a has other contents", "store verify p==1")
		coretest.Must(t, s.Refused("fake1", "", core.NewSet(core.Package{Name: "q", Version: "1", Digest: files.DigestPrefix})))
		coretest.Must(t, s.Close())
		s, _, err = Open(s.dir)
		coretest.Must(t, err)
		t.Cleanup(func() { s.Close() })
	}
	again, err := s.CommitPackage("fake1", locked, core.Receipt{}, stage(t, s, content))
	if err != nil || again.Digest != p.Digest {
		t.Errorf("installed again: %+v, %v", again, err)
	}
	check := func() {
		t.Helper()
		coretest.Must(t, s.Refused("fake1", "", core.NewSet(p.Package)))
		if checked, err := s.Verify(tree, files.Sample{}); err != nil || len(checked.Damaged) > 0 || len(s.Damaged()) > 0 {
			t.Errorf("it is not whole: %+v, %v, %v", checked, s.Damaged(), err)
		}
		if left, _ := filepath.Glob(s.dir + "/packages/*" + damagedSuffix); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
	check()
	// A process may have the damaged tree, so that stays until it has ended.
	_, err = s.CollectPackages(Keep{Limit: 1 << 40}, func(digest string) bool { return digest == p.Digest })
	coretest.Must(t, err)
	if left, _ := os.ReadDir(s.dir + "/staging"); len(left) != 1 {
		t.Errorf("the damaged tree was removed under a process: %v", left)
	}
	_, err = s.CollectPackages(Keep{Limit: 1 << 40}, never)
	coretest.Must(t, err)
	wantNothing(t, s)

	coretest.Must(t, s.Mark(tree, core.DamagedFile{Reason: "could not be read for a moment"}))
	if checked, err := s.Verify(tree, files.Sample{Percent: 1e-9}); err != nil || checked.Files > 0 || len(s.Damaged()) != 1 {
		t.Errorf("a sample took the mark away: %+v, %v", checked, err)
	}
	_, err = s.Verify(tree, files.Sample{})
	coretest.Must(t, err)
	check()
}

// TestDamagedCode is repaired by deploying the same code again.
func TestDamagedCode(t *testing.T) {
	s := openTest(t)
	f := deploy(t, s, "f", "1")
	coretest.Must(t, os.Remove(s.treePath(Tree{Code, f.Code})+"/handler"))
	coretest.Must(t, s.Mark(Tree{Code, f.Code}, core.DamagedFile{File: "handler", Reason: "is missing"}))
	coretest.WantError(t, s.Refused("fake1", f.Code, nil), core.KindUnavailable, core.FaultWorker, "handler is missing", "deploy it again")
	if again := deploy(t, s, "f", "1"); again.Code != f.Code {
		t.Errorf("the same code has the digest %s", again.Code)
	}
	coretest.Must(t, s.Refused("fake1", f.Code, nil))
	if got := filestest.Read(t, s.treePath(Tree{Code, f.Code})); !maps.Equal(got, map[string]string{"handler": "1"}) {
		t.Errorf("got %v", got)
	}
}
