package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// CommitCode moves a tree from staging to the code of functions and returns its digest. What is there already with the same
// digest stays, and the new tree is thrown away. In every case, also with an error, the Store takes dir from the caller.
//
// Nothing may write to dir any more: what ran in a sandbox that showed it has been killed. The tree itself is not trusted. It is
// refused when it holds anything but files, directories and symbolic links that stay inside or lead to /packages/…; owners become root (when the
// worker is), modes 0644 and 0755, and hard links separate files.
//
// Collect keeps the code until release is called, and after it while a function refers to it. So call release when Put has
// returned, or when there is going to be no Put. It may be called more than once.
func (s *Store) CommitCode(dir string) (digest string, release func(), err error) {
	defer s.throwAway(dir)
	items, err := s.seal(dir)
	if err != nil {
		return "", nil, err
	}
	digest = treeDigest(items)
	s.writes.Lock()
	defer s.writes.Unlock()
	if err := s.place(dir, "code", digest); err != nil {
		return "", nil, err
	}
	s.held[digest]++
	var once sync.Once
	return digest, func() { once.Do(func() { s.release(digest) }) }, nil
}

func (s *Store) release(digest string) {
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.held[digest]--; s.held[digest] == 0 {
		delete(s.held, digest)
	}
}

// place moves a sealed tree to where its digest says, unless it is there. The caller holds writes.
func (s *Store) place(dir, area, digest string) error {
	final := filepath.Join(s.dir, area, strings.TrimPrefix(digest, digestPrefix))
	if _, err := os.Lstat(final); err == nil {
		return nil
	}
	if err := os.Rename(dir, final); err != nil {
		return diskError(final, err)
	}
	return syncDirectory(filepath.Dir(final))
}

// seal makes a staged tree ready to be shown to others, and puts it on the disk: nothing in it can harm who reads it, everybody
// can read it, and only its owner, root, can write it. It returns everything in it, sorted by path.
func (s *Store) seal(dir string) ([]item, error) {
	root, err := s.openStaged(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := normalise(root, item{path: ".", mode: fs.ModeDir}); err != nil {
		return nil, err
	}
	items, err := scan(root, func(i item) error { return normalise(root, i) })
	if err != nil {
		return nil, err
	}
	if err := syncTree(root); err != nil {
		return nil, err
	}
	return items, nil
}

// openStaged opens a directory in staging without following a link on the way there: an installer may have made one.
func (s *Store) openStaged(dir string) (*os.Root, error) {
	name, err := s.staged(dir)
	if err != nil {
		return nil, err
	}
	staging, err := os.OpenRoot(filepath.Join(s.dir, "staging"))
	if err != nil {
		return nil, diskError(dir, err)
	}
	defer staging.Close()
	at := ""
	for element := range strings.SplitSeq(name, "/") {
		at = path.Join(at, element)
		info, err := staging.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, core.Errorf(core.KindNotFound, core.FaultWorker, "there is no directory %s: what was to make it did not", dir)
		}
		if err != nil {
			return nil, diskError(dir, err)
		}
		if !info.IsDir() {
			return nil, refusef("%q is not a directory but a %s", at, typeName(info.Mode()))
		}
	}
	root, err := staging.OpenRoot(name)
	if err != nil {
		return nil, diskError(dir, err)
	}
	return root, nil
}

// normalise gives an item its final owner and mode. The owner comes first: a change of owner takes away set-user-id bits and
// file capabilities, and after it nobody else can change the mode back.
func normalise(root *os.Root, i item) error {
	fail := func(err error) error { return diskError(filepath.Join(root.Name(), i.path), err) }
	if i.mode.IsRegular() {
		if err := unlink(root, i); err != nil {
			return fail(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := root.Lchown(i.path, 0, 0); err != nil {
			return fail(err)
		}
	}
	if i.mode.Type() == fs.ModeSymlink {
		return nil
	}
	mode := fs.FileMode(0o644)
	if i.mode.IsDir() || i.executable() {
		mode = 0o755
	}
	if err := root.Chmod(i.path, mode); err != nil {
		return fail(err)
	}
	return nil
}

// unlink makes a file with more than one name a file of its own, so that a name outside of the tree neither changes with it nor
// changes it.
func unlink(root *os.Root, i item) error {
	info, err := root.Lstat(i.path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Nlink == 1 {
		return nil
	}
	source, err := root.Open(i.path)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := root.Remove(i.path); err != nil {
		return err
	}
	copied, err := root.OpenFile(i.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, source)
	if closeErr := copied.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncTree puts a tree on the disk, by one call for its whole file system: a call for each of thousands of small files takes ten
// times as long.
func syncTree(root *os.Root) error {
	dir, err := root.Open(".")
	if err == nil {
		defer dir.Close()
		err = unix.Syncfs(int(dir.Fd()))
	}
	if err != nil {
		return diskError(root.Name(), err)
	}
	return nil
}
