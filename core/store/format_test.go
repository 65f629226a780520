package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// TestFormat: what a later Pipsqueak has written is refused, with both versions, and nothing of it is put
// aside.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	path, function := filepath.Join(dir, formatFile), filepath.Join(dir, "functions", "f@1.json")
	open := func() error {
		s, _, err := Open(dir)
		if err == nil {
			err = s.Close()
		}
		return err
	}
	coretest.Must(t, open())
	text, err := os.ReadFile(path)
	if coretest.Must(t, err); !strings.Contains(string(text), `"format":3`) {
		t.Errorf("it has %s", text)
	}
	coretest.Must(t, os.WriteFile(function, []byte(`{"of": "tomorrow"}`), 0o600))
	coretest.Must(t, os.WriteFile(path, []byte(`{"format":4,"pipsqueak":"v9.9.9"}`), 0o644))
	err = open()
	if !core.IsKind(err, core.KindUnsupported) || !strings.Contains(err.Error(), "v9.9.9") || !strings.Contains(err.Error(), core.BuildOf().Version) {
		t.Errorf("a directory of a later Pipsqueak: %v", err)
	}
	if _, err := os.Stat(function); err != nil {
		t.Errorf("its function was put aside: %v", err)
	}
	coretest.Must(t, os.Remove(path))
	coretest.Must(t, os.Mkdir(path, 0o755))
	coretest.Must(t, open())
	for _, text := range []string{"", "{", `{"format":1}`} { // half written, or older
		coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
		coretest.Must(t, open())
	}
}

// TestFormatLate: a disk that is full when a worker starts keeps it from noting the format, and only as long
// as the disk is full.
func TestFormatLate(t *testing.T) {
	coretest.SmallFiles(t, 8, func(lift func()) { // room for a pid
		dir := t.TempDir()
		s, warnings, err := Open(dir)
		lift()
		coretest.Must(t, err)
		defer s.Close()
		if _, err := os.Stat(filepath.Join(dir, formatFile)); err == nil || len(warnings) == 0 {
			t.Fatalf("the format was noted on a full disk: %v, %v", err, warnings)
		}
		coretest.Must(t, s.Writable())
		if text, err := os.ReadFile(filepath.Join(dir, formatFile)); err != nil || !strings.Contains(string(text), `"format":3`) {
			t.Errorf("with room it has %s, %v", text, err)
		}
	})
}

// TestEarlierLists: a directory of format 2 has the lists of its trees under other names, all of them or,
// after a start that was cut short, some.
func TestEarlierLists(t *testing.T) {
	s := openTest(t)
	p := compile(t, s)
	code, release, err := s.CommitCode(stage(t, s, map[string]string{"a.x": "source"}))
	coretest.Must(t, err)
	defer release()
	coretest.Must(t, s.Close())
	trees := []Tree{{Code, code}, {Packages, p.Digest}}
	paths := append(s.copies(trees[1]), s.treePath(trees[0]), s.treePath(trees[1]))
	for len(paths) > 0 {
		for _, path := range paths {
			coretest.Must(t, os.Rename(path+listSuffix, path+earlierListSuffix))
		}
		paths = paths[1:]
		coretest.Must(t, os.WriteFile(filepath.Join(s.dir, formatFile), []byte(`{"format":2}`), 0o644))
		again, warnings, err := Open(s.dir)
		if coretest.Must(t, err); len(warnings) > 0 {
			t.Error(warnings)
		}
		for _, tree := range trees {
			if _, ok := again.list(tree); !ok {
				t.Errorf("%s has no list", tree.Area)
			}
			if checked, err := again.Verify(tree, files.Sample{}); err != nil || len(checked.Damaged) > 0 {
				t.Errorf("%s: %+v, %v", tree.Area, checked, err)
			}
		}
		coretest.Must(t, again.Close())
		if earlier, err := filepath.Glob(filepath.Join(s.dir, "*", "*"+earlierListSuffix)); err != nil || len(earlier) > 0 {
			t.Errorf("%v, %v", earlier, err)
		}
	}
}
