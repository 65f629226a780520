package store

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// A storage is a file with an ext4 in it: the kernel bounds it on every file system, and gives it the ids of
// whoever sees it. All of its bytes are taken from the disk when it is made, so a full disk is an error of a
// deploy and never of a write to a storage.

// imageSuffix ends the name of the file of a storage.
const imageSuffix = ".ext4"

// StoragePath returns the file of a storage, whether it is there or not.
func (s *Store) StoragePath(full string) string {
	return filepath.Join(s.dir, "storage", full+imageSuffix)
}

// Storages returns the storages that are there by their full names, with their sizes in bytes.
func (s *Store) Storages() (map[string]int64, error) {
	dir := filepath.Join(s.dir, "storage")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, files.DiskError(dir, err)
	}
	all := map[string]int64{}
	for _, entry := range entries {
		if name, is := strings.CutSuffix(entry.Name(), imageSuffix); is && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				all[name] = info.Size()
			}
		}
	}
	return all, nil
}

// HasStorage reports whether a storage is there.
func (s *Store) HasStorage(full string) bool { return exists(s.StoragePath(full)) }

// MakeStorage makes the storage of a function, unless it is there in that size. Made reports whether it has
// done so.
func (s *Store) MakeStorage(fn *core.Function) (made bool, err error) {
	full := fn.StorageName()
	path := s.StoragePath(full)
	if info, err := os.Lstat(path); err == nil {
		if info.Size() != fn.Storage.Size {
			return false, core.Errorf(core.KindConflict, core.FaultCaller, "the storage %s has %d MiB, and %s asks for %d: a storage keeps its size; "+
				"ask for that, or name another one, or remove it with 'pipsqueak storage remove %s'", full, info.Size()>>20, fn.Name, fn.Storage.Size>>20, full)
		}
		return false, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, files.DiskError(path, err)
	}
	file, err := os.CreateTemp(s.Staging(), "")
	if err != nil {
		return false, files.DiskError(path, err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, fn.Storage.Size); err != nil {
		return false, core.Errorf(core.KindExhausted, core.FaultWorker, "the disk of the worker has no room for the storage %s of %d MiB: %w; ask for less, or free space", full, fn.Storage.Size>>20, err)
	}
	id := strconv.Itoa(core.UserID)
	// Without a discard the bytes stay taken. Nobody but the owner needs a reserve.
	cmd := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,root_owner="+id+":"+id, file.Name())
	cmd.Env = []string{"PATH=/usr/sbin:/sbin:/usr/bin:/bin"}
	if said, err := cmd.CombinedOutput(); err != nil {
		return false, core.Errorf(core.KindUnsupported, core.FaultWorker, "the storage %s cannot be made: mkfs.ext4: %w: %.300s; Debian has it in e2fsprogs", full, err, said)
	}
	if err = file.Sync(); err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, file.Name(), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	}
	if errors.Is(err, fs.ErrExist) {
		return s.MakeStorage(fn) // another deploy was quicker
	}
	if err = errors.Join(err, files.SyncFile(filepath.Dir(path))); err != nil {
		return false, files.DiskError(path, err)
	}
	return true, nil
}

// StorageUsers returns the functions that use a storage, sorted by name.
func (s *Store) StorageUsers(full string) []core.Function {
	return slices.DeleteFunc(s.List(), func(f core.Function) bool { return f.Storage == nil || f.StorageName() != full })
}

// RemoveStorage removes a storage that no function uses.
func (s *Store) RemoveStorage(full string) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if users := s.StorageUsers(full); len(users) > 0 {
		return core.Errorf(core.KindConflict, core.FaultCaller, "the function %s uses the storage %s: remove the function, or deploy it without, before", users[0].Name, full)
	}
	path := s.StoragePath(full)
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no storage %q; 'pipsqueak storage list' shows those that there are", full)
	} else if err != nil {
		return files.DiskError(path, err)
	}
	return nil
}
