package store

import (
	"os"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// writeStaged makes a file in staging. It need not survive anything yet.
func writeStaged(path string, data []byte) error {
	if err := os.WriteFile(path, data, files.FileMode); err != nil {
		return files.DiskError(path, err)
	}
	return nil
}

// writeFile makes the file at path, whole or not at all, and returns when it would survive a power cut. Its
// directory exists.
func (s *Store) writeFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(s.Staging(), "")
	if err != nil {
		return files.DiskError(path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return files.DiskError(path, err)
	}
	s.noteLate()
	return files.SyncFile(filepath.Dir(path))
}
