package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// RememberLock keeps a lock for the next deploy with the same inputs.
func (s *Store) RememberLock(lock core.Lock) error {
	path, err := s.lockPath(lock.Inputs)
	if err != nil {
		return err
	}
	data, err := json.Marshal(lock)
	if err != nil {
		return files.DiskError(path, err)
	}
	return s.writeFile(path, data)
}

// RememberedLock returns the lock that was remembered for these inputs, nil when there is none that can be
// read.
func (s *Store) RememberedLock(inputs string) *core.Lock {
	path, err := s.lockPath(inputs)
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	lock := new(core.Lock)
	if json.Unmarshal(data, lock) != nil || lock.Inputs != inputs {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // when that cannot be written the lock may be collected too early
	return lock
}

func (s *Store) lockPath(inputs string) (string, error) {
	hex, ok := files.Hex(inputs)
	if !ok {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "%q is no digest of a lock's inputs", inputs)
	}
	return filepath.Join(s.dir, "locks", hex+".json"), nil
}
