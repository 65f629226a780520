package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// Collect removes code that nobody needs: no function refers to it, no hold covers it, and inUse returns
// false for its digest. It returns the digests of the removed code. inUse must not call the Store.
// CollectPackages removes packages.
func (s *Store) Collect(inUse func(digest string) bool) ([]string, error) {
	trash := trash{store: s}
	defer trash.empty() // slow, so without the mutex
	s.writes.Lock()
	defer s.writes.Unlock()
	needed := map[string]bool{}
	for _, f := range s.List() {
		needed[f.Code] = true
	}
	return s.collectTrees(Code, &trash, func(digest string) bool { return needed[digest] || inUse(digest) })
}

// Keep chooses the unused packages that are kept: those that were used after Since, as long as all packages
// together have no more bytes than Limit.
type Keep struct {
	Since time.Time // those that were used after it,
	Limit int64     // as long as all packages have no more bytes together
}

// CollectPackages removes packages that nobody needs and that keep does not cover: no function refers to
// them, no hold covers them, and inUse returns false for their digest. It removes first what was used longest
// ago, and returns the removed packages.
func (s *Store) CollectPackages(keep Keep, inUse func(digest string) bool) ([]core.Installed, error) {
	trash := trash{store: s}
	defer trash.empty()
	s.writes.Lock()
	defer s.writes.Unlock()
	needed := map[string]bool{}
	for _, f := range s.List() {
		for _, p := range f.Packages {
			needed[p.Digest] = true
		}
	}
	entries := s.entries()
	total, sharers := int64(0), map[string]int{}
	for _, e := range entries {
		if sharers[e.Digest]++; sharers[e.Digest] == 1 {
			total += e.Size
		}
	}
	var removed []core.Installed
	now := time.Now()
	for _, e := range entries {
		if needed[e.Digest] || s.held[e.Digest] > 0 || inUse(e.Digest) {
			s.use(e.path, now) // it is to be kept for as long after this use as any other
			continue
		}
		if !e.Used.Before(keep.Since) && total <= keep.Limit {
			continue
		}
		if err := s.forget(e.path); err != nil {
			return removed, err
		}
		removed = append(removed, e.Installed)
		if sharers[e.Digest]--; sharers[e.Digest] == 0 {
			total -= e.Size
		}
	}
	for aside, digest := range s.replaced {
		if !inUse(digest) {
			delete(s.replaced, aside)
			s.throwAway(aside)
		}
	}
	// Packages without an entry: it was removed, or lost in a crash.
	_, err := s.collectTrees(Packages, &trash, func(digest string) bool { return needed[digest] || sharers[digest] > 0 || inUse(digest) })
	return removed, err
}

// Drop makes the store forget a package, so that the next deploy that asks for it installs it again. The next
// CollectPackages removes its files. It returns false, and forgets nothing, when a function or a hold needs
// the package.
func (s *Store) Drop(digest string) (bool, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	for _, f := range s.List() {
		if slices.ContainsFunc(f.Packages, func(p core.Package) bool { return p.Digest == digest }) {
			return false, nil
		}
	}
	if s.held[digest] > 0 {
		return false, nil
	}
	for _, e := range s.entries() {
		if e.Digest != digest {
			continue
		}
		if err := s.forget(e.path); err != nil {
			return false, err
		}
	}
	return true, nil
}

// trash is a directory in staging for what is removed, made when there is something.
type trash struct {
	store *Store
	dir   string
}

// place returns where something of that name is to be moved.
func (t *trash) place(name string) (to string, err error) {
	if t.dir == "" {
		t.dir, err = t.store.Stage()
	}
	return filepath.Join(t.dir, name), err
}

func (t *trash) empty() {
	if t.dir != "" {
		t.store.throwAway(t.dir)
	}
}

// collectTrees moves the trees of an area that are not needed to trash. The caller holds writes.
func (s *Store) collectTrees(area Area, trash *trash, needed func(digest string) bool) (removed []string, err error) {
	names, err := os.ReadDir(filepath.Join(s.dir, string(area)))
	if err != nil {
		return nil, files.DiskError(s.dir, err)
	}
	for _, entry := range names {
		hex, _, _ := strings.Cut(entry.Name(), ".")
		digest := files.DigestPrefix + hex
		if !files.IsHex(hex) || s.held[digest] > 0 || needed(digest) {
			continue
		}
		taken, err := s.takeOut(trash, area, entry.Name(), needed)
		if err != nil {
			return removed, err
		}
		if !taken {
			continue
		}
		if entry.Name() == hex {
			removed = append(removed, digest)
		}
		if err := s.unmark(Tree{area, digest}); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// takeOut moves a tree, or what is beside it, to trash. Who makes a sandbox says that it uses a tree before
// it looks for it: so when nobody has said so after the move, nobody has found it.
func (s *Store) takeOut(trash *trash, area Area, name string, needed func(digest string) bool) (taken bool, err error) {
	from := filepath.Join(s.dir, string(area), name)
	to, err := trash.place(name)
	if err != nil {
		return false, err
	}
	if err := os.Rename(from, to); errors.Is(err, fs.ErrNotExist) {
		return false, nil // the mark of a tree that has just been taken out
	} else if err != nil {
		return false, files.DiskError(from, err)
	}
	hex, _, _ := strings.Cut(name, ".")
	if !needed(files.DigestPrefix + hex) {
		return true, nil
	}
	if err := os.Rename(to, from); err != nil {
		return false, files.DiskError(from, err)
	}
	return false, nil
}

// CollectLocks forgets remembered locks that no deploy has asked for since that time. A lock that stays by
// mistake costs a few kilobytes.
func (s *Store) CollectLocks(since time.Time) {
	names, _ := fs.Glob(os.DirFS(s.dir), "locks/*.json")
	for _, name := range names {
		file := filepath.Join(s.dir, "locks", path.Base(name))
		if info, err := os.Stat(file); err == nil && info.ModTime().Before(since) {
			_ = os.Remove(file)
		}
	}
}

// Disk returns the size of the file system of the data directory and its free space, in bytes.
func (s *Store) Disk() (size, free int64, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(s.dir, &disk); err != nil {
		return 0, 0, files.DiskError(s.dir, err)
	}
	return int64(disk.Blocks) * disk.Bsize, int64(disk.Bavail) * disk.Bsize, nil
}

// Writable returns why nothing can be written to the data directory now, nil when something can.
func (s *Store) Writable() error {
	file, err := os.CreateTemp(s.Staging(), "written-")
	if err != nil {
		return files.DiskError(s.Staging(), err)
	}
	_, err = file.WriteString("1")
	if err = errors.Join(err, file.Close(), os.Remove(file.Name())); err != nil {
		return files.DiskError(file.Name(), err)
	}
	s.noteLate()
	return nil
}
