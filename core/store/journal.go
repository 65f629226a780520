package store

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// Hundreds of megabytes of packages take the disk longer than to fetch them, and they can be fetched again.
// So a deploy does not wait until they are on the disk: it puts their entries of the index there, in a file
// of the journal, before anything gets its name in the store. The file is removed when the kernel has written
// everything. One that is found by Open is from a worker that was killed, or from before a power cut: then
// the packages are verified, and what is not whole is damaged, and repaired as ever.

// page is a file of the journal.
type page struct {
	Boot    string           `json:"boot"` // of the kernel that has what is not on the disk yet
	Entries []core.Installed `json:"entries"`
}

// thisBoot names the time since the kernel was started. Empty, and so never equal to that of a page, when it
// cannot be known.
func thisBoot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// journal remembers entries until what they tell of is on the disk. The caller calls settle when it has
// written everything.
func (s *Store) journal(entries []core.Installed) (settle func(), err error) {
	data, err := json.Marshal(page{thisBoot(), entries})
	if err != nil {
		return nil, files.DiskError(s.dir, err)
	}
	file := filepath.Join(s.dir, "journal", rand.Text()+".json")
	if err := s.writeFile(file, data); err != nil {
		return nil, err
	}
	return func() { s.settling.Go(func() { _ = s.settle(file) }) }, nil
}

// settle puts everything on the disk, and forgets a page of the journal. When it fails, the next Open does
// it.
func (s *Store) settle(file string) error {
	if err := files.SyncAll(s.dir); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return files.DiskError(file, err)
	}
	return nil
}

// readJournal does what the pages of the journal ask for, and forgets them. Warnings are as in Open.
func (s *Store) readJournal() (warnings []error) {
	area := filepath.Join(s.dir, "journal")
	names, err := os.ReadDir(area)
	if err != nil {
		return []error{files.DiskError(area, err)}
	}
	boot := thisBoot()
	for _, name := range names {
		file := filepath.Join(area, name.Name())
		if filepath.Ext(file) != ".json" {
			continue // not ours, or moved aside before
		}
		var p page
		data, err := os.ReadFile(file)
		if err != nil {
			warnings = append(warnings, aside(file, err))
			continue
		}
		if err := json.Unmarshal(data, &p); err == nil && (p.Boot != boot || boot == "") {
			for _, entry := range p.Entries {
				damaged, err := s.recover(entry)
				if err != nil {
					warnings = append(warnings, err)
				}
				if damaged != nil {
					warnings = append(warnings, core.Errorf(core.KindUnavailable, core.FaultWorker,
						"the package %s was not yet on the disk when the machine stopped (%s): the worker tries to install it again", entry, damaged))
				}
			}
		}
		if err := s.settle(file); err != nil {
			warnings = append(warnings, err)
		}
	}
	return warnings
}

// recover writes the entry of a package again when a power cut has taken it, and returns what is damaged of
// the package, if anything is.
func (s *Store) recover(entry core.Installed) (*core.DamagedFile, error) {
	tree := Tree{Packages, entry.Digest}
	if !exists(s.treePath(tree)) {
		return nil, nil //nolint:nilnil // it did not get there
	}
	path, err := s.indexPath(entry.Runtime, entry.Locked, entry.Receipt.Archive)
	if err != nil {
		return nil, err
	}
	if _, err := readInstalled(path); err != nil {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, files.DiskError(path, err)
		}
		data, err := json.Marshal(entry)
		if err != nil {
			return nil, files.DiskError(path, err)
		}
		if err := s.writeFile(path, data); err != nil {
			return nil, err
		}
	}
	checked, err := s.Verify(tree, files.Sample{})
	if err != nil || len(checked.Damaged) == 0 {
		return nil, err
	}
	return &checked.Damaged[0], s.Mark(tree, checked.Damaged[0])
}
