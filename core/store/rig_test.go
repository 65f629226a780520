package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
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
	coretest.Must(t, err)
	filestest.Write(t, dir, files)
	return dir
}

// wantNothing checks that nothing is left in staging.
func wantNothing(t testing.TB, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(s.Staging())
	coretest.Must(t, err)
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
