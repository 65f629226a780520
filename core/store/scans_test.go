package store

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestScansAreRemembered(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	kept, gone := "sha256:"+hexOf('a'), "sha256:"+hexOf('b')
	found := []core.Suspicion{{Package: "a==1", Rule: "network", File: "a", Line: 3, Reason: "because"}}
	for _, digest := range []string{kept, gone} {
		if err := s.RememberScan(digest, "a 1", found); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := s.RememberedScan(kept, "a 1"); !ok || !reflect.DeepEqual(got, found) {
		t.Errorf("the scan came back as %v, %v", got, ok)
	}
	if _, ok := s.RememberedScan(kept, "a 2"); ok {
		t.Error("another scanner's scan counts")
	}
	if _, ok := s.RememberedScan("sha256:../../functions/x", "a 1"); ok {
		t.Error("a path is taken for a digest")
	}
	if err := os.Mkdir(filepath.Join(dir, "packages", hexOf('a')), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, _, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, ok := s.RememberedScan(kept, "a 1"); !ok {
		t.Error("the scan of a package that is there is gone after a restart")
	}
	if _, ok := s.RememberedScan(gone, "a 1"); ok {
		t.Error("the scan of a package that is gone stays")
	}
}

func hexOf(c byte) string {
	all := make([]byte, 64)
	for i := range all {
		all[i] = c
	}
	return string(all)
}
