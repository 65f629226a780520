package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// install commits a package that was used so long ago.
func install(t testing.TB, s *Store, name, content string, unused time.Duration) core.Installed {
	t.Helper()
	p, err := s.CommitPackage("fake1", core.Locked{Name: name, Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a": content}))
	coretest.Must(t, err)
	path, err := s.indexPath("fake1", p.Locked, "")
	coretest.Must(t, err)
	s.use(path, time.Now().Add(-unused))
	return p
}

// TestCollectDamaged collects a package that is damaged, with its mark, and what comes after it.
func TestCollectDamaged(t *testing.T) {
	s := openTest(t)
	for _, name := range []string{"one", "two", "three"} {
		p := install(t, s, name, name, time.Hour)
		coretest.Must(t, s.Mark(Tree{Packages, p.Digest}, core.DamagedFile{File: "a", Reason: "is missing"}))
	}
	for range 2 { // a package in quarantine by its damage alone is not kept
		_, err := s.CollectPackages(Keep{Since: time.Now()}, func(string) bool { return false })
		coretest.Must(t, err)
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "packages"))
	if coretest.Must(t, err); len(left) > 0 || len(s.Damaged()) > 0 {
		t.Errorf("left are %v, damaged %v", left, s.Damaged())
	}
}

// TestCollectNothing collects where there is nothing to remove, and makes nothing in staging, not even for a
// moment.
func TestCollectNothing(t *testing.T) {
	s := openTest(t)
	staging := filepath.Join(s.dir, "staging")
	old := time.Now().Add(-time.Hour)
	coretest.Must(t, os.Chtimes(staging, old, old))
	nobody := func(string) bool { return false }
	_, err := s.Collect(nobody)
	coretest.Must(t, err)
	_, err = s.CollectPackages(Keep{Since: time.Now()}, nobody)
	coretest.Must(t, err)
	info, err := os.Stat(staging)
	if coretest.Must(t, err); time.Since(info.ModTime()) < time.Minute {
		t.Errorf("staging was changed at %v", info.ModTime())
	}
}

// TestScripts has a package that code of its own has made: a lock that allows none gets another.
func TestScripts(t *testing.T) {
	s := openTest(t)
	made := core.Locked{Name: "p", Version: "1", Archives: []string{"sha256:source", "sha256:wheel"}, Scripts: true}
	_, err := s.CommitPackage("fake1", made, core.Receipt{Archive: "sha256:source"}, stage(t, s, map[string]string{"a": "made"}))
	coretest.Must(t, err)
	inert := made
	inert.Scripts = false
	if found, ok := s.Lookup("fake1", inert); ok {
		t.Errorf("what its code has made is taken for %+v", found)
	}
	if _, ok := s.Lookup("fake1", made); !ok {
		t.Error("who allows it does not find it")
	}
}

func TestCollectPackages(t *testing.T) {
	const day = 24 * time.Hour
	ten := strings.Repeat("x", 10)
	tests := []struct {
		name  string
		keep  Keep
		inUse string
		left  []string
	}{
		{"nothing is old", Keep{time.Now().Add(-100 * day), 1000}, "", []string{"fresh", "held", "needed", "old", "older", "shared", "sharer"}},
		{"old ones", Keep{time.Now().Add(-5 * day), 1000}, "", []string{"fresh", "held", "needed", "shared", "sharer"}},
		{"a process lives", Keep{time.Now().Add(-5 * day), 1000}, "old", []string{"fresh", "held", "needed", "old", "shared", "sharer"}},
		{"too many bytes", Keep{time.Now().Add(-100 * day), 49}, "", []string{"fresh", "held", "needed", "shared", "sharer"}},
		{"one byte too many", Keep{time.Now().Add(-100 * day), 59}, "", []string{"fresh", "held", "needed", "old", "shared", "sharer"}},
		{"everything", Keep{time.Now().Add(day), 1000}, "", []string{"held", "needed"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openTest(t)
			packages := map[string]core.Installed{}
			for name, unused := range map[string]time.Duration{"fresh": 0, "old": 10 * day, "older": 20 * day, "needed": 50 * day, "held": 60 * day} {
				packages[name] = install(t, s, name, name[:1]+name[len(name)-1:]+ten[:8], unused)
			}
			install(t, s, "shared", ten, day)
			install(t, s, "sharer", ten, day)
			f := deploy(t, s, "f", "1")
			f.Packages = core.NewSet(packages["needed"].Package)
			coretest.Must(t, s.Put(f))
			hold := s.Hold()
			defer hold.Release()
			hold.Keep(packages["held"].Digest)

			_, err := s.CollectPackages(test.keep, func(digest string) bool { return digest == packages[test.inUse].Digest })
			coretest.Must(t, err)
			var left []string
			for _, p := range s.Installed() {
				left = append(left, p.Name)
				if _, err := s.path(Tree{Packages, p.Digest}); err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(left, test.left) {
				t.Errorf("left %v, want %v", left, test.left)
			}
			want := len(left)
			if slices.Contains(left, "shared") {
				want-- // one tree for both
			}
			if trees, err := os.ReadDir(s.dir + "/packages"); err != nil || len(trees) != 2*want {
				t.Errorf("left %d trees and lists, want %d of each: %v", len(trees), want, err)
			}
			wantNothing(t, s)
		})
	}
}

// TestUseWhileCollecting has a process come just when its package is being moved away.
func TestUseWhileCollecting(t *testing.T) {
	s := openTest(t)
	p := install(t, s, "p", "1", time.Hour)
	asked := 0
	_, err := s.CollectPackages(Keep{}, func(string) bool {
		asked++
		return asked > 2 // before the entry goes, before the tree goes, and after
	})
	coretest.Must(t, err)
	if _, err := s.path(Tree{Packages, p.Digest}); err != nil || asked < 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// TestCollectBesideDeploys has many deploys and collections at once: what a deploy has found or committed is
// there when it is Put.
func TestCollectBesideDeploys(t *testing.T) {
	s := openTest(t)
	done := make(chan struct{})
	var collecting, deploying sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if _, err := s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, never); err != nil {
					t.Error(err)
				}
			}
		}
	})
	code := deploy(t, s, "code", "1").Code
	for i := range 8 {
		deploying.Go(func() {
			for round := range 20 {
				if err := deployBeside(t, s, fmt.Sprint("f", i), code, core.Locked{Name: fmt.Sprint("p", (i+round)%3), Version: "1"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	deploying.Wait()
	close(done)
	collecting.Wait()
	wantNothing(t, s)
}

func deployBeside(t testing.TB, s *Store, name, code string, locked core.Locked) error {
	hold := s.Hold()
	defer hold.Release()
	have, missing, err := s.Take("fake1", []core.Locked{locked}, hold)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		dir, err := s.Stage()
		if err != nil {
			return err
		}
		filestest.Write(t, dir, map[string]string{"name": locked.Name})
		installed, err := s.CommitPackages("fake1", []Staged{{locked, core.Receipt{}, dir}}, hold)
		if err != nil {
			return err
		}
		have = []core.Package{installed[0].Package}
	}
	if err := s.Put(core.Function{Name: name, Version: 1, Runtime: "fake1", Code: code, Packages: core.NewSet(have...)}); err != nil {
		return err
	}
	f, _ := s.Get(name)
	if err := s.complete(f); err != nil {
		return err
	}
	return s.Delete(name)
}

func TestCollectLocks(t *testing.T) {
	s := openTest(t)
	lock := core.Lock{Inputs: files.DigestPrefix + strings.Repeat("a", 64)}
	coretest.Must(t, s.RememberLock(lock))
	s.CollectLocks(time.Now().Add(-time.Hour))
	if s.RememberedLock(lock.Inputs) == nil {
		t.Error("a lock that was just used is gone")
	}
	s.CollectLocks(time.Now().Add(time.Hour))
	if s.RememberedLock(lock.Inputs) != nil {
		t.Error("an old lock is still there")
	}
}

// TestEarlierIndex has a data directory of the format before there were locks: what it has installed counts
// for nothing, and the functions that have it run on.
func TestEarlierIndex(t *testing.T) {
	s := openTest(t)
	p := install(t, s, "p", "1", 0)
	f := deploy(t, s, "f", "1")
	f.Packages = core.NewSet(p.Package)
	coretest.Must(t, s.Put(f))
	coretest.Must(t, os.Remove(s.treePath(Tree{Packages, p.Digest})+listSuffix))
	coretest.Must(t, os.WriteFile(filepath.Join(s.dir, "index/fake1/p-1.json"), []byte(`{"runtime":"fake1","name":"p","version":"1","digest":"`+p.Digest+`"}`), 0o644))
	coretest.Must(t, os.RemoveAll(filepath.Join(s.dir, "locks")))
	coretest.Must(t, s.Close())
	s, warnings, err := Open(s.dir)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	defer s.Close()
	for _, archives := range [][]string{nil, {"sha256:1"}} {
		if found, ok := s.Lookup("fake1", core.Locked{Name: "p", Version: "1", Archives: archives}); ok {
			t.Errorf("it counts as installed: %+v", found)
		}
	}
	if all := s.Installed(); len(all) > 0 {
		t.Errorf("installed: %+v", all)
	}
	_, err = s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, never)
	coretest.Must(t, err)
	coretest.Must(t, s.complete(f))
	if checked, err := s.Verify(Tree{Packages, p.Digest}, files.Sample{}); err != nil || len(checked.Damaged) > 0 {
		t.Errorf("%+v, %v", checked, err)
	}
	if again := install(t, s, "p", "1", 0); again.Package != p.Package {
		t.Errorf("installed again: %+v", again)
	}
	coretest.Must(t, s.Delete("f"))
	_, err = s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, never)
	coretest.Must(t, err)
	if left, err := os.ReadDir(s.dir + "/packages"); err != nil || len(left) > 0 {
		t.Errorf("left %v: %v", left, err)
	}
}

const crashDir = "PIPSQUEAK_TEST_CRASH_DIR"

// TestCrash kills a process again and again that commits, quarantines, repairs and collects all the time, and
// looks at what it has left.
func TestCrash(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		workUntilKilled(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "data")
	for round := range 40 {
		child := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		child.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := child.StdoutPipe()
		coretest.Must(t, err)
		coretest.Must(t, child.Start())
		line := make([]byte, 1)
		if _, err := out.Read(line); err != nil { // it has opened the store
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 700 * time.Microsecond) // anywhere in its work
		coretest.Must(t, child.Process.Kill())
		_ = child.Wait() // it was killed
		lookAfterCrash(t, dir)
	}
}

func workUntilKilled(t *testing.T, dir string) {
	s, _, err := Open(dir)
	coretest.Must(t, err)
	fmt.Print("x")
	for i := 0; ; i++ {
		name := fmt.Sprint("p", i%5)
		p := install(t, s, name, "of "+name, 0)
		f := deploy(t, s, "f", name)
		f.Packages = core.NewSet(p.Package)
		coretest.Must(t, s.Put(f))
		coretest.Must(t, s.Mark(Tree{Packages, p.Digest}, core.DamagedFile{Reason: "for a test"}))
		if install(t, s, name, "of "+name, 0).Digest != p.Digest {
			t.Fatal("another digest")
		}
		_, err := s.Forbid(core.Forbidden{Name: name, Versions: "1", Reason: "for a test"})
		coretest.Must(t, err)
		_, err = s.Forbid(core.Forbidden{Name: name, Versions: "1"})
		coretest.Must(t, err)
		_, err = s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, never)
		coretest.Must(t, err)
		_, err = s.Collect(never)
		coretest.Must(t, err)
	}
}

func lookAfterCrash(t *testing.T, dir string) {
	t.Helper()
	s, warnings, err := Open(dir)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	defer s.Close()
	wantNothing(t, s)
	for _, tree := range s.HoldTrees() {
		checked, err := s.Verify(tree.Tree, files.Sample{})
		if err != nil || len(checked.Damaged) > 0 {
			t.Errorf("%v: %+v, %v", tree.Tree, checked.Damaged, err)
		}
		tree.Release()
	}
	if damaged := s.Damaged(); len(damaged) > 0 {
		t.Errorf("whole trees are still taken for damaged: %v", damaged)
	}
	for i := range 5 {
		name := fmt.Sprint("p", i)
		if _, err := s.Forbid(core.Forbidden{Name: name, Versions: "1"}); err != nil && !core.IsKind(err, core.KindNotFound) {
			t.Error(err)
		}
		install(t, s, name, "of "+name, 0)
	}
	_, err = s.CollectPackages(Keep{Since: time.Now().Add(time.Hour)}, never)
	coretest.Must(t, err)
	needed := 0
	for _, f := range s.List() {
		needed += len(f.Packages)
	}
	if left, err := os.ReadDir(dir + "/packages"); err != nil || len(left) != 2*needed {
		t.Errorf("a function needs %d packages, and there are %v: %v", needed, left, err)
	}
}
