package store

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// deploy commits code with that content and puts a function on it.
func deploy(t testing.TB, s *Store, name, content string) core.Function {
	t.Helper()
	digest, release, err := s.CommitCode(stage(t, s, map[string]string{"handler": content}))
	coretest.Must(t, err)
	defer release()
	f := core.Function{Name: name, Version: 1, Runtime: "fake1", Handler: "a.b", Code: digest, Limits: core.DefaultLimits(),
		Env: map[string]string{"K": "v"}, Deployed: time.Unix(1700000000, 5).UTC()}
	coretest.Must(t, s.Put(f))
	return f
}

func never(string) bool { return false }

func TestRestart(t *testing.T) {
	s := openTest(t)
	a, b := deploy(t, s, "a", "1"), deploy(t, s, "B_2", "2")
	deploy(t, s, "gone", "3")
	coretest.Must(t, s.Delete("gone"))
	s.Close()

	// What a worker leaves that was killed in the middle of everything.
	filestest.Write(t, s.dir, map[string]string{"staging/123/x/y": "", "staging/.hidden": "", "staging/l": "-> /etc", "staging/half": "{"})
	if os.Geteuid() == 0 { // others cannot empty it
		coretest.Must(t, os.Chmod(filepath.Join(s.dir, "staging/123/x"), 0o500))
	}
	s, warnings, err := Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	if len(warnings) > 0 {
		t.Error(warnings)
	}
	wantNothing(t, s)
	if got, want := s.List(), []core.Function{b, a}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, ok := s.Get("a"); !ok || !reflect.DeepEqual(got, a) {
		t.Errorf("got %+v %v", got, ok)
	}
	if _, ok := s.Get("A"); ok {
		t.Error("names are not case-sensitive")
	}
	_, err = os.Stat("/etc/passwd")
	coretest.Must(t, err)
}

func TestCorruptFunctions(t *testing.T) {
	s := openTest(t)
	good := deploy(t, s, "good", "1")
	deploy(t, s, "lost", "2")
	lost, _ := s.Get("lost")
	s.Close()
	hex := strings.TrimPrefix(lost.Code, files.DigestPrefix)
	coretest.Must(t, os.RemoveAll(filepath.Join(s.dir, "code", hex)))
	filestest.Write(t, s.dir, map[string]string{"functions/torn.json": `{"name": "torn", "ver`, "functions/empty.json": "", "functions/other.json": `{"name": "good"}`,
		"functions/notes.txt": "not ours"})
	s, warnings, err := Open(s.dir)
	coretest.Must(t, err)
	defer s.Close()
	if len(warnings) != 4 {
		t.Errorf("got %d warnings: %v", len(warnings), warnings)
	}
	all := fmt.Sprint(warnings)
	for _, name := range []string{"torn", "empty", "other", "lost@1"} {
		if !strings.Contains(all, filepath.Join(s.dir, "functions", name+".json")) {
			t.Errorf("no warning about %s: %v", name, warnings)
		}
	}
	if got, _ := s.Get("good"); !reflect.DeepEqual(got, good) || len(s.List()) != 2 {
		t.Errorf("got %+v", s.List())
	}
	for _, name := range []string{"torn.json.corrupt", "empty.json.corrupt", "other.json.corrupt", "notes.txt", "lost@1.json"} {
		if _, err := os.Stat(filepath.Join(s.dir, "functions", name)); err != nil {
			t.Error(err)
		}
	}
	s.Close()
	_, warnings, err = Open(s.dir)
	if err != nil || len(warnings) != 1 {
		t.Errorf("the second time: %v %v", warnings, err)
	}
}

func TestLock(t *testing.T) {
	s := openTest(t)
	_, _, err := Open(s.dir)
	coretest.WantError(t, err, core.KindConflict, core.FaultWorker, fmt.Sprintf("pid %d", os.Getpid()), s.dir)
	coretest.Must(t, s.Close())
	again, _, err := Open(s.dir)
	coretest.Must(t, err)
	coretest.Must(t, again.Close())
}

// No other user of the machine passes through the data directory, also one that an earlier release has made.
func TestOpenIsPrivate(t *testing.T) {
	made, absent := t.TempDir(), filepath.Join(t.TempDir(), "data")
	coretest.Must(t, os.Chmod(made, 0o755))
	for _, dir := range []string{made, absent} {
		s, _, err := Open(dir)
		coretest.Must(t, err)
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
		coretest.Must(t, s.Close())
	}
}

func TestOpenFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	coretest.Must(t, os.WriteFile(name, nil, 0o644))
	_, _, err := Open(name)
	coretest.WantError(t, err, core.KindInternal, core.FaultWorker, name)
}

func TestPut(t *testing.T) {
	s := openTest(t)
	first := deploy(t, s, "f", "1")
	bad := first
	bad.Version = 2
	bad.Code = files.DigestPrefix + strings.Repeat("0", 64)
	coretest.WantError(t, s.Put(bad), core.KindNotFound, core.FaultWorker)
	bad.Code = "sha256:../../etc"
	coretest.WantError(t, s.Put(bad), core.KindInternal, core.FaultWorker)
	bad = first
	bad.Packages = core.NewSet(core.Package{Name: "p", Version: "1", Digest: bad.Code})
	coretest.WantError(t, s.Put(bad), core.KindNotFound, core.FaultWorker)
	bad = first
	bad.Name = "../f"
	coretest.WantError(t, s.Put(bad), core.KindInvalid, core.FaultCaller)
	if got, _ := s.Get("f"); !reflect.DeepEqual(got, first) {
		t.Errorf("a refused Put changed the function: %+v", got)
	}
	second := first
	second.Version = 2
	second.Env = map[string]string{"A": "1"}
	coretest.Must(t, s.Put(second))
	second.Env["A"] = "2"
	if got, _ := s.Get("f"); got.Version != 2 || got.Env["A"] != "1" {
		t.Errorf("got %+v", got)
	}
	coretest.Must(t, s.Delete("f"))
	coretest.WantError(t, s.Delete("f"), core.KindNotFound, core.FaultCaller, `"f"`)
	coretest.WantError(t, s.Delete("../lock"), core.KindNotFound, core.FaultCaller)
}

func TestCollect(t *testing.T) {
	s := openTest(t)
	kept, old, busy := deploy(t, s, "kept", "1"), deploy(t, s, "f", "old"), deploy(t, s, "busy", "3")
	current := deploy(t, s, "f", "new")
	coretest.Must(t, s.Delete("busy"))
	held, release, err := s.CommitCode(stage(t, s, map[string]string{"a": "held"}))
	coretest.Must(t, err)
	filestest.Write(t, s.dir, map[string]string{"code/README": "not ours"})
	cached, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, map[string]string{"a": "1"}))
	coretest.Must(t, err)

	removed, err := s.Collect(func(digest string) bool { return digest == busy.Code })
	if err != nil || !slices.Equal(removed, []string{old.Code}) {
		t.Errorf("removed %v, want %s: %v", removed, old.Code, err)
	}
	if _, err := s.CodePath(old.Code); !core.IsKind(err, core.KindNotFound) {
		t.Error(err)
	}
	for _, digest := range []string{kept.Code, current.Code, busy.Code, held} {
		_, err := s.CodePath(digest)
		coretest.Must(t, err)
	}
	release()
	removed, err = s.Collect(never)
	if want := slices.Sorted(slices.Values([]string{busy.Code, held})); err != nil || !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v: %v", removed, want, err)
	}
	if left := slices.Sorted(maps.Keys(filestest.Read(t, filepath.Join(s.dir, "code")))); len(left) != 2*3+1 {
		t.Errorf("left %v", left)
	}
	if _, ok := s.Lookup("fake1", cached.Locked); !ok {
		t.Error("a package was collected")
	}
	wantNothing(t, s)
}

// No two functions ever have the same name and version, whatever ends the worker.
func TestVersionsBeyondRemoval(t *testing.T) {
	s := openTest(t)
	f := deploy(t, s, "f", "1")
	f.Version = 7
	coretest.Must(t, s.Put(f))
	if s.Removed("f") != 0 || !s.Deployed("f", 7) || s.Deployed("f", 6) {
		t.Error("before it is removed")
	}
	coretest.Must(t, s.Delete("f"))
	if s.Removed("f") != 7 || s.Deployed("f", 7) {
		t.Error("after it was removed")
	}
	reopen := func() (warnings []error) {
		t.Helper()
		s.Close()
		var err error
		s, warnings, err = Open(s.dir)
		coretest.Must(t, err)
		return warnings
	}
	if warnings := reopen(); s.Removed("f") != 7 || len(s.List()) != 0 || len(warnings) != 0 {
		t.Errorf("after a restart: %d, %v, %v", s.Removed("f"), s.List(), warnings)
	}
	// Killed when the removal had only begun.
	g := deploy(t, s, "g", "2")
	filestest.Write(t, s.dir, map[string]string{"functions/g.removed": "1\n", "functions/torn.removed": "x"})
	if warnings := reopen(); !s.Deployed("g", g.Version) || s.Removed("g") != 1 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "torn") {
		t.Errorf("after a removal that had begun: %v, %d, %v", s.List(), s.Removed("g"), warnings)
	}
	// What the last version was cannot be read: it was less, also at the next starts.
	beyond := int(time.Now().Unix()) - 60
	filestest.Write(t, s.dir, map[string]string{fmt.Sprintf("functions/g@%d.json", g.Version): `{"name": "g", "vers`, "functions/..json": "x"})
	if warnings := reopen(); s.Removed("g") < beyond || s.Removed("torn") < beyond || len(s.List()) != 0 || len(warnings) != 2 {
		t.Errorf("after files were torn: %d, %d, %v, %v", s.Removed("g"), s.Removed("torn"), s.List(), warnings)
	}
	if warnings := reopen(); s.Removed("g") < beyond || s.Removed("torn") < beyond || s.Removed("f") != 7 || len(warnings) != 0 {
		t.Errorf("at the next start: %d, %d, %d, %v", s.Removed("g"), s.Removed("torn"), s.Removed("f"), warnings)
	}
	s.Close()
}
