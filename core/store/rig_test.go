package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// openTest opens a store in a fresh directory for a test.
func openTest(t testing.TB) *Store {
	t.Helper()
	s, warnings, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// stage makes a staged directory with the files.
func stage(t testing.TB, s *Store, files map[string]string) string {
	t.Helper()
	dir, err := s.Stage()
	must(t, err)
	filestest.Write(t, dir, files)
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that err is an error of that kind and fault, with all the words in its message.
func wantError(t testing.TB, err error, kind core.Kind, fault core.Fault, words ...string) {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want a *core.Error of kind %s", err, err, kind)
	}
	if e.Kind != kind || e.Fault != fault {
		t.Errorf("got %s of the %s, want %s of the %s: %v", e.Kind, e.Fault, kind, fault, e)
	}
	for _, word := range words {
		if !strings.Contains(e.Message, word) {
			t.Errorf("the message has no %q: %s", word, e.Message)
		}
	}
}

// wantNothing checks that nothing is left in staging.
func wantNothing(t testing.TB, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(s.Staging())
	must(t, err)
	for _, e := range entries {
		t.Errorf("staging still has %s", e.Name())
	}
}

// digestOf returns the digest of the tree in a directory.
func digestOf(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	return files.Digest(root)
}
