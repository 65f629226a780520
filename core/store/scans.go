package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// scanned is a file of scans/.
type scanned struct {
	Scanner    string           `json:"scanner"`
	Suspicions []core.Suspicion `json:"suspicions"`
}

// RememberScan keeps the findings of a scanner in a package, by the package's digest. They replace earlier
// ones.
func (s *Store) RememberScan(digest, scanner string, suspicions []core.Suspicion) error {
	path, err := s.scanPath(digest)
	if err != nil {
		return err
	}
	data, err := json.Marshal(scanned{scanner, suspicions})
	if err != nil {
		return files.DiskError(path, err)
	}
	return s.writeFile(path, data)
}

// RememberedScan returns the findings of that scanner in a package. It returns false when that scanner has
// not scanned the package.
func (s *Store) RememberedScan(digest, scanner string) (suspicions []core.Suspicion, ok bool) {
	path, err := s.scanPath(digest)
	if err != nil {
		return nil, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	var found scanned
	if json.Unmarshal(data, &found) != nil || found.Scanner != scanner {
		return nil, false
	}
	return found.Suspicions, true
}

func (s *Store) scanPath(digest string) (string, error) {
	hex, ok := files.Hex(digest)
	if !ok {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "%q is no digest of a package", digest)
	}
	return filepath.Join(s.dir, "scans", hex+".json"), nil
}

// sweepScans removes the scans of packages that are gone.
func (s *Store) sweepScans() (warnings []error) {
	area := filepath.Join(s.dir, "scans")
	entries, err := os.ReadDir(area)
	if err != nil {
		return []error{files.DiskError(area, err)}
	}
	for _, entry := range entries {
		if exists(filepath.Join(s.dir, "packages", strings.TrimSuffix(entry.Name(), ".json"))) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(area, entry.Name())); err != nil {
			warnings = append(warnings, files.DiskError(area, err))
		}
	}
	return warnings
}
