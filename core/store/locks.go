package store

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// LockFile is the name of the file in which a function can bring its lock, as `pipsqueak lock` writes it.
const LockFile = "pipsqueak.lock"

// maxLock is the size of the largest lock, in bytes.
const maxLock = 32 << 20

// LoadLock reads the lock in a directory that Unpack made, nil without one. Its Inputs are the caller's to compare.
func LoadLock(dir string) (*core.Lock, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, diskError(dir, err)
	}
	defer root.Close()
	info, err := root.Lstat(LockFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, diskError(LockFile, err)
	case !info.Mode().IsRegular():
		return nil, refusef("%s is a %s; make it a file", LockFile, typeName(info.Mode()))
	case info.Size() > maxLock:
		return nil, tooLargef("%s has %d bytes, more than the %d that are allowed", LockFile, info.Size(), maxLock)
	}
	file, err := root.Open(LockFile)
	if err != nil {
		return nil, diskError(LockFile, err)
	}
	defer file.Close()
	lock := new(core.Lock)
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, diskError(LockFile, err)
	}
	if err := json.Unmarshal(data, lock); err != nil {
		return nil, refusef("%s cannot be read: %v; run `pipsqueak lock` to write it anew", LockFile, err)
	}
	for _, p := range lock.Packages {
		if len(p.Archives) == 0 {
			return nil, refusef("%s has no digest for %s; run `pipsqueak lock` to write it anew", LockFile, p)
		}
		if !filepath.IsLocal(p.Base()) {
			return nil, refusef("%s has the package %s, which would not be in a directory of its own", LockFile, quote(p.String()))
		}
	}
	for name := range lock.Files {
		if !filepath.IsLocal(name) {
			return nil, refusef("%s has the file %s, which is not in the function's directory", LockFile, quote(name))
		}
	}
	return lock, nil
}

// RememberLock keeps a lock for the next deploy with the same inputs.
func (s *Store) RememberLock(lock core.Lock) error {
	path, err := s.lockPath(lock.Inputs)
	if err != nil {
		return err
	}
	data, err := json.Marshal(lock)
	if err != nil {
		return diskError(path, err)
	}
	return s.writeFile(path, data)
}

// Lock returns the lock that was remembered for these inputs, nil when there is none that can be read.
func (s *Store) Lock(inputs string) *core.Lock {
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
	touch(path, time.Now())
	return lock
}

func (s *Store) lockPath(inputs string) (string, error) {
	hex, ok := strings.CutPrefix(inputs, digestPrefix)
	if !ok || !isHex(hex) {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "%q is no digest of a lock's inputs", inputs)
	}
	return filepath.Join(s.dir, "locks", hex+".json"), nil
}
