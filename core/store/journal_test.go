package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestJournal opens a store with a page of the journal, after a power cut or a kill, that has taken one thing
// or another.
func TestJournal(t *testing.T) {
	files := map[string]string{"a.x": "source", "b/c.x": "22 x"}
	tests := []struct {
		name    string
		boot    string // of the page
		take    func(dir, index string) error
		known   bool // whether the package still is, or again
		damaged bool
	}{
		{"nothing", "another", func(string, string) error { return nil }, true, false},
		{"a file", "another", func(dir, _ string) error { return os.Truncate(dir+"/a.x", 0) }, true, true},
		{"a file, and the machine runs on", thisBoot(), func(dir, _ string) error { return os.Truncate(dir+"/a.x", 0) }, true, false},
		{"the list", "another", func(dir, _ string) error { return os.Truncate(dir+listSuffix, 0) }, true, false},
		{"the entry", "another", func(_, index string) error { return os.Truncate(index, 0) }, true, false},
		{"the entry and its name", "another", func(_, index string) error { return os.RemoveAll(filepath.Dir(index)) }, true, false},
		{"the entry and a file", "another", func(dir, index string) error { return errors.Join(os.Remove(index), os.Truncate(dir+"/a.x", 1)) }, true, true},
		{"everything", "another", func(dir, index string) error { return errors.Join(os.Remove(index), os.RemoveAll(dir)) }, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openTest(t)
			p, err := s.CommitPackage("fake1", core.Locked{Name: "p", Version: "1"}, core.Receipt{}, stage(t, s, files))
			coretest.Must(t, err)
			index, err := s.indexPath("fake1", p.Locked, "")
			coretest.Must(t, err)
			coretest.Must(t, s.Close())
			pages, err := os.ReadDir(s.dir + "/journal")
			if coretest.Must(t, err); len(pages) > 0 {
				t.Errorf("a store that was closed has %v in its journal", pages)
			}
			data, err := json.Marshal(page{test.boot, []core.Installed{p}})
			coretest.Must(t, err)
			coretest.Must(t, os.WriteFile(s.dir+"/journal/x.json", data, 0o600))
			coretest.Must(t, os.WriteFile(s.dir+"/journal/torn.json", data[:len(data)/2], 0o600))
			coretest.Must(t, test.take(s.treePath(Tree{Packages, p.Digest}), index))
			s, warnings, err := Open(s.dir)
			coretest.Must(t, err)
			defer s.Close()
			if (len(warnings) > 0) != test.damaged {
				t.Errorf("warned of %v", warnings)
			}
			if found, ok := s.Find("fake1", p.Package); ok != test.known || ok && found.Package != p.Package {
				t.Errorf("found %v, %+v", ok, found)
			}
			if damaged := s.isDamaged(Tree{Packages, p.Digest}); damaged != test.damaged {
				t.Errorf("damaged: %v %v", damaged, s.Damaged())
			}
			if pages, err := os.ReadDir(s.dir + "/journal"); err != nil || len(pages) > 0 {
				t.Errorf("after it was opened the journal has %v: %v", pages, err)
			}
		})
	}
}
