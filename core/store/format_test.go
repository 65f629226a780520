package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestFormat: what a later Pipsqueak has written is refused, with both versions, and nothing of it is put aside.
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
	if coretest.Must(t, err); !strings.Contains(string(text), `"format":2`) {
		t.Errorf("it has %s", text)
	}
	coretest.Must(t, os.WriteFile(function, []byte(`{"of": "tomorrow"}`), 0o600))
	coretest.Must(t, os.WriteFile(path, []byte(`{"format":3,"pipsqueak":"v9.9.9"}`), 0o644))
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

// TestFormatLate: a disk that is full when a worker starts keeps it from noting the format, and only as long as the disk is full.
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
		if text, err := os.ReadFile(filepath.Join(dir, formatFile)); err != nil || !strings.Contains(string(text), `"format":2`) {
			t.Errorf("with room it has %s, %v", text, err)
		}
	})
}
