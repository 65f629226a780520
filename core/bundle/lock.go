package bundle

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// LockFile is the name of the file in which a function can bring its lock, as `pipsqueak lock` writes it.
const LockFile = "pipsqueak.lock"

// maxLock is the size of the largest lock, in bytes.
const maxLock = 32 << 20

// LoadLock reads the lock in a directory that Unpack made. It returns nil when there is none. The caller
// compares its Inputs.
func LoadLock(dir string) (*core.Lock, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, files.DiskError(dir, err)
	}
	defer root.Close()
	info, err := root.Lstat(LockFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, files.DiskError(LockFile, err)
	case !info.Mode().IsRegular():
		return nil, files.Refusef("%s is a %s; make it a file", LockFile, files.TypeName(info.Mode()))
	case info.Size() > maxLock:
		return nil, files.TooLargef("%s has %d bytes, more than the %d that are allowed", LockFile, info.Size(), maxLock)
	}
	file, err := root.Open(LockFile)
	if err != nil {
		return nil, files.DiskError(LockFile, err)
	}
	defer file.Close()
	lock := new(core.Lock)
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, files.DiskError(LockFile, err)
	}
	if err := json.Unmarshal(data, lock); err != nil {
		return nil, files.Refusef("%s cannot be read: %v; run `pipsqueak lock` to write it again", LockFile, err)
	}
	for _, p := range lock.Packages {
		if len(p.Archives) == 0 {
			return nil, files.Refusef("%s has no digest for %s; run `pipsqueak lock` to write it again", LockFile, p)
		}
		if !filepath.IsLocal(p.Base()) {
			return nil, files.Refusef("%s has the package %s, which would not be in a directory of its own", LockFile, files.Quote(p.String()))
		}
	}
	for name := range lock.Files {
		if !filepath.IsLocal(name) {
			return nil, files.Refusef("%s has the file %s, which is not in the function's directory", LockFile, files.Quote(name))
		}
	}
	return lock, nil
}
