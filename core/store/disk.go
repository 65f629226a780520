package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// diskError makes the error of a failed operation on the worker's own files at path. A *core.Error stays as it is.
func diskError(path string, err error) error {
	var already *core.Error
	if errors.As(err, &already) {
		return already
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return core.Errorf(core.KindExhausted, core.FaultWorker,
			"the disk of the worker is full at %s: free space there, or start the worker with --data on a larger disk: %w", path, err)
	}
	return core.Errorf(core.KindInternal, core.FaultWorker, "the worker cannot use %s: check the disk and who owns the file: %w", path, err)
}

// refusef is an error about what a user sent and that is not allowed.
func refusef(format string, args ...any) error {
	return core.Errorf(core.KindInvalid, core.FaultCaller, format, args...)
}

// tooLargef is an error about what a user sent and that is over a limit.
func tooLargef(format string, args ...any) error {
	return core.Errorf(core.KindTooLarge, core.FaultCaller, format, args...)
}

// quote quotes what a user wrote, and only the beginning of what is very long.
func quote(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// writeStaged makes a file in staging. It need not survive anything yet.
func writeStaged(path string, data []byte) error {
	if err := os.WriteFile(path, data, fileMode); err != nil {
		return diskError(path, err)
	}
	return nil
}

// writeFile makes the file at path, whole or not at all, and returns when it would survive a power cut. Its directory exists.
func (s *Store) writeFile(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Join(s.dir, "staging"), "")
	if err != nil {
		return diskError(path, err)
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
		return diskError(path, err)
	}
	return syncFile(filepath.Dir(path))
}

// syncFile makes the bytes of a file, or the names in a directory, survive a power cut.
func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return diskError(path, err)
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return diskError(path, err)
	}
	return nil
}
