package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

func TestCommitCode(t *testing.T) {
	s := openTest(t)
	files := map[string]string{"a": "1", "d": "dir", "d/run": "2 x", "l": "-> d/run"}
	dir := stage(t, s, files)
	outside := filepath.Join(s.dir, "outside")
	coretest.Must(t, os.WriteFile(outside, []byte("3"), 0o600))
	coretest.Must(t, os.Link(outside, filepath.Join(dir, "linked")))
	coretest.Must(t, os.Chmod(filepath.Join(dir, "a"), 0o000))
	coretest.Must(t, os.Chmod(filepath.Join(dir, "d/run"), 0o4701|fs.ModeSetuid|fs.ModeSetgid))
	coretest.Must(t, os.Chmod(filepath.Join(dir, "d"), 0o777|fs.ModeSticky))
	if os.Geteuid() == 0 {
		for _, name := range []string{".", "a", "d", "d/run", "l"} {
			coretest.Must(t, os.Lchown(filepath.Join(dir, name), 12345, 12345))
		}
	}
	digest, release, err := s.CommitCode(dir)
	coretest.Must(t, err)
	release()
	release()
	wantNothing(t, s)
	code, err := s.CodePath(digest)
	coretest.Must(t, err)
	files["linked"] = "3"
	if got := filestest.Read(t, code); !maps.Equal(got, files) {
		t.Errorf("got %v, want %v", got, files)
	}
	coretest.Must(t, filepath.WalkDir(code, func(name string, e fs.DirEntry, err error) error {
		coretest.Must(t, err)
		info, err := e.Info()
		coretest.Must(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		if int(stat.Uid) != os.Geteuid() || info.IsDir() && info.Mode() != 0o755|fs.ModeDir || !info.IsDir() && stat.Nlink != 1 {
			t.Errorf("%s belongs to %d, has mode %v and %d names", name, stat.Uid, info.Mode(), stat.Nlink)
		}
		return nil
	}))
	if info, err := os.Stat(outside); err != nil || info.Mode() != 0o600 {
		t.Errorf("a file outside that had a name inside was changed: %v %v", info, err)
	}
	if again, err := digestOf(code); err != nil || again != digest {
		t.Errorf("the stored tree has the digest %s, not %s: %v", again, digest, err)
	}
	second, _, err := s.CommitCode(stage(t, s, files))
	if err != nil || second != digest {
		t.Errorf("the same tree got the digest %s, not %s: %v", second, digest, err)
	}
	wantNothing(t, s)
}

// The code of a function is bounded as its archive is, whatever its build has made.
func TestCodeIsBounded(t *testing.T) {
	s := openTest(t)
	code := stage(t, s, map[string]string{"handler.py": "1", "large": ""})
	coretest.Must(t, os.Truncate(code+"/large", files.Code.Bytes+1))
	_, _, err := s.CommitCode(code)
	coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller, "512 MiB", `"large"`)
	wantNothing(t, s)
}

// What an installer, which runs third-party code, may leave in place of a package.
func TestCommitRefuses(t *testing.T) {
	outside := t.TempDir()
	filestest.Write(t, outside, map[string]string{"secret": "1"})
	tests := []struct {
		name  string
		spoil func(dir string) error // of the package's directory, which is there
		word  string
	}{
		{"absolute link", func(dir string) error { return os.Symlink(outside, dir+"/l") }, `"l"`},
		{"link out", func(dir string) error { return os.Symlink("../../x", dir+"/d/l") }, `"d/l"`},
		{"link out by another", func(dir string) error {
			return errors.Join(os.Symlink(".", dir+"/s"), os.MkdirAll(dir+"/x/y", 0o755), os.Symlink("../../s/../b", dir+"/x/y/l"))
		}, "x/y/l"},
		{"link out by nothing", func(dir string) error { return os.Symlink("missing/../../x", dir+"/l") }, `"l"`},
		{"link above the packages", func(dir string) error { return os.Symlink("/packages/../etc", dir+"/l") }, `"l"`},
		{"link to all packages", func(dir string) error { return os.Symlink("/packages/", dir+"/l") }, `"l"`},
		{"link by way of a package", func(dir string) error {
			return errors.Join(os.Symlink("/packages/p-1", dir+"/p"), os.Symlink("p/../x", dir+"/l"))
		}, `"l"`},
		{"circle", func(dir string) error { return os.Symlink("l", dir+"/l") }, `"l"`},
		{"fifo", func(dir string) error { return syscall.Mkfifo(dir+"/p", 0o644) }, "fifo"},
		{"socket", func(dir string) error {
			// The path is too long for an address in some temporary directories.
			t.Chdir(dir)
			socket, err := net.Listen("unix", "s")
			if err == nil {
				socket.(*net.UnixListener).SetUnlinkOnClose(false)
				err = socket.Close()
			}
			return err
		}, "socket"},
		{"device", func(dir string) error {
			err := syscall.Mknod(dir+"/n", syscall.S_IFCHR|0o666, 1<<8|3)
			if errors.Is(err, syscall.EPERM) {
				// Refused like any other special file.
				return syscall.Mkfifo(dir+"/n", 0o644)
			}
			return err
		}, `"n"`},
		{"sparse file of a terabyte", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/t", nil, 0o644), os.Truncate(dir+"/t", 1<<40))
		}, "8192 MiB"},
		{"long path", func(dir string) error { return os.MkdirAll(dir+strings.Repeat("/dddddddddd", 100), 0o755) }, "1024"},
		{"a link itself", func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Symlink(outside, dir)) }, "not a directory"},
		{"a file itself", func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o644)) }, "not a directory"},
		{"a link on the way", func(dir string) error {
			parent := filepath.Dir(dir)
			return errors.Join(os.RemoveAll(parent), os.Mkdir(outside+"/p-1", 0o755), os.Symlink(outside, parent))
		}, "not a directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openTest(t)
			out := stage(t, s, map[string]string{"@scope/p-1/d/ok": "1"})
			dir := filepath.Join(out, "@scope/p-1")
			coretest.Must(t, test.spoil(dir))
			_, err := s.CommitPackage("fake1", core.Locked{Name: "@scope/p", Version: "1"}, core.Receipt{}, dir)
			coretest.WantError(t, err, core.KindInstall, core.FaultCaller, test.word, "@scope/p==1")
			if _, ok := s.Lookup("fake1", core.Locked{Name: "@scope/p", Version: "1"}); ok {
				t.Error("a refused package is installed")
			}
			coretest.Must(t, s.Discard(out))
			wantNothing(t, s)
		})
	}
	if got := filestest.Read(t, outside); !maps.Equal(got, map[string]string{"secret": "1", "p-1": "dir"}) {
		t.Errorf("what is outside was changed: %v", got)
	}
}

// Links to packages, as sandboxes show them, are kept as they are: nothing follows them here.
func TestLinksToPackages(t *testing.T) {
	s := openTest(t)
	links := map[string]string{"node_modules/a": "-> /packages/a-1/node_modules/a", "b": "-> /packages/b-2"}
	code, release, err := s.CommitCode(stage(t, s, links))
	coretest.Must(t, err)
	defer release()
	dir, err := s.CodePath(code)
	coretest.Must(t, err)
	if target, err := os.Readlink(filepath.Join(dir, "node_modules/a")); target != "/packages/a-1/node_modules/a" {
		t.Errorf("the link leads to %q: %v", target, err)
	}
	if _, err := s.CommitPackage("r1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, links)); err != nil {
		t.Error(err)
	}
}

func TestCommitOnlyFromStaging(t *testing.T) {
	s := openTest(t)
	filestest.Write(t, s.dir, map[string]string{"precious/a": "1"})
	for _, dir := range []string{s.dir + "/precious", s.dir + "/staging", s.dir + "/staging/../precious", "/", "", "staging"} {
		if _, _, err := s.CommitCode(dir); !core.IsKind(err, core.KindInternal) {
			t.Errorf("CommitCode(%q): %v", dir, err)
		}
		if err := s.Discard(dir); !core.IsKind(err, core.KindInternal) {
			t.Errorf("Discard(%q): %v", dir, err)
		}
	}
	if _, _, err := s.CommitCode(s.dir + "/staging/none"); !core.IsKind(err, core.KindNotFound) {
		t.Error(err)
	}
	if got := filestest.Read(t, s.dir+"/precious"); got["a"] != "1" {
		t.Errorf("a directory outside of staging was changed: %v", got)
	}
}

func TestPackages(t *testing.T) {
	s := openTest(t)
	tests := []core.Locked{
		{Name: "numpy", Version: "2.0"},
		{Name: "a-1", Version: "2"},
		{Name: "a", Version: "1-2"},
		{Name: "@scope/pkg", Version: "1.0.0-beta.1"},
		{Name: "local", Version: "1.0+cpu"},
	}
	for _, p := range tests {
		if _, ok := s.Lookup("fake1", p); ok {
			t.Errorf("%s is installed before it is", p)
		}
		out := stage(t, s, map[string]string{"p/name": p.String()})
		got, err := s.CommitPackage("fake1", p, core.Receipt{}, out+"/p")
		coretest.Must(t, err)
		coretest.Must(t, s.Discard(out))
		if got.Name != p.Name || got.Version != p.Version || got.Digest == "" {
			t.Errorf("%s became %+v", p, got)
		}
	}
	coretest.Must(t, s.Close())
	s, _, err := Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	for _, p := range tests {
		got, ok := s.Lookup("fake1", p)
		dir, err := s.path(Tree{Packages, got.Digest})
		if !ok || err != nil || filestest.Read(t, dir)["name"] != p.String() {
			t.Errorf("%s is %+v in %s after a restart: %v", p, got, dir, err)
		}
		if _, ok := s.Lookup("fake2", p); ok {
			t.Errorf("%s is installed for another runtime", p)
		}
	}
	numpy, _ := s.Lookup("fake1", tests[0])
	dir, _ := s.path(Tree{Packages, numpy.Digest})
	coretest.Must(t, os.RemoveAll(dir))
	if _, ok := s.Lookup("fake1", tests[0]); ok {
		t.Error("a package whose files are gone is installed")
	}
	again, err := s.CommitPackage("fake1", tests[0], core.Receipt{}, stage(t, s, map[string]string{"name": "numpy==2.0"}))
	if err != nil || again.Package != numpy.Package {
		t.Errorf("installed again: %+v, %v", again, err)
	}
	coretest.Must(t, os.WriteFile(filepath.Join(s.dir, "index/fake1/numpy-2.0.json"), []byte("{"), 0o644))
	coretest.Must(t, s.Close())
	s, _, err = Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	if _, ok := s.Lookup("fake1", tests[0]); ok {
		t.Error("a damaged index entry counts")
	}
	for _, p := range []core.Locked{{Name: "", Version: "1"}, {Name: "a", Version: ""}, {Name: "..", Version: "1"}, {Name: "a", Version: "../.."},
		{Name: "a\x00", Version: "1"}, {Name: strings.Repeat("a", 300), Version: "1"}} {
		_, err := s.CommitPackage("fake1", p, core.Receipt{}, "/")
		coretest.WantError(t, err, core.KindInvalid, core.FaultDriver)
	}
	_, err = s.CommitPackage("../x", tests[0], core.Receipt{}, "/")
	coretest.WantError(t, err, core.KindInvalid, core.FaultDriver, "../x")
}

// TestArchives has one version from several archives: a lock gets one that it names, and nothing else is
// taken for it.
func TestArchives(t *testing.T) {
	s := openTest(t)
	commit := func(archive string, allowed ...string) (core.Installed, error) {
		return s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1", Archives: allowed}, core.Receipt{Archive: archive}, stage(t, s, map[string]string{"from": archive}))
	}
	one, err := commit("sha256:1", "sha256:0", "sha256:1")
	coretest.Must(t, err)
	two, err := commit("sha256:2", "sha256:2")
	coretest.Must(t, err)
	if _, err := commit("sha256:3", "sha256:1"); !core.IsKind(err, core.KindInstall) {
		t.Errorf("an archive that the lock does not have: %v", err)
	}
	for _, want := range []core.Installed{one, two} {
		got, ok := s.Lookup("fake1", core.Locked{Name: "p", Version: "1", Archives: []string{"sha256:9", want.Receipt.Archive}})
		if !ok || got.Digest != want.Digest || got.Size == 0 {
			t.Errorf("%+v, want %+v", got, want)
		}
		if found, ok := s.Find("fake1", want.Package); !ok || found.Receipt.Archive != want.Receipt.Archive {
			t.Errorf("found %+v, want %+v", found, want)
		}
	}
	for _, archives := range [][]string{nil, {"sha256:9"}} {
		if got, ok := s.Lookup("fake1", core.Locked{Name: "p", Version: "1", Archives: archives}); ok {
			t.Errorf("from %v: %+v", archives, got)
		}
	}
	wantNothing(t, s)
}

func TestConcurrentCommits(t *testing.T) {
	s := openTest(t)
	const many = 16
	var packages, digests [many]string
	var group sync.WaitGroup
	for i := range many {
		// Byte code differs from one compilation to the next.
		dir := stage(t, s, map[string]string{"a": "1", "compiled": fmt.Sprint(i)})
		code := stage(t, s, map[string]string{"a": "1"})
		group.Go(func() {
			p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, dir)
			if err != nil {
				t.Error(err)
			}
			packages[i] = p.Digest
		})
		group.Go(func() {
			digest, release, err := s.CommitCode(code)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			digests[i] = digest
			if _, err := s.Collect(func(string) bool { return false }); err != nil {
				t.Error(err)
			}
			if _, err := s.CodePath(digest); err != nil {
				t.Error("code was collected under a hold:", err)
			}
		})
	}
	group.Wait()
	for i := range many {
		if packages[i] != packages[0] || digests[i] != digests[0] {
			t.Errorf("commit %d got %s and %s, commit 0 %s and %s", i, packages[i], digests[i], packages[0], digests[0])
		}
	}
	if stored, err := os.ReadDir(filepath.Join(s.dir, "packages")); err != nil || len(stored) != 2 { // and its list
		t.Errorf("one package is stored as %v: %v", stored, err)
	}
	wantNothing(t, s)
}

// CommitPackage is CommitPackages of one, which nothing holds.
func (s *Store) CommitPackage(runtime core.RuntimeID, wanted core.Locked, receipt core.Receipt, dir string) (core.Installed, error) {
	hold := s.Hold()
	defer hold.Release()
	all, err := s.CommitPackages(runtime, []Staged{{wanted, receipt, dir}}, hold)
	if err != nil {
		return core.Installed{}, err
	}
	return all[0], nil
}
