package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
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
	text := manifest(items)
	digest = digestOf(text)
	desk, err := s.Stage()
	if err != nil {
		return "", nil, err
	}
	defer s.throwAway(desk)
	if err := writeStaged(filepath.Join(desk, digest+manifestSuffix), text); err != nil {
		return "", nil, err
	}
	if err := syncTree(dir, items); err != nil {
		return "", nil, err
	}
	if err := syncFile(filepath.Join(desk, digest+manifestSuffix)); err != nil {
		return "", nil, err
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if err := s.place(desk, dir, Tree{Code, digest}); err != nil {
		return "", nil, err
	}
	if err := syncFile(filepath.Join(s.dir, string(Code))); err != nil {
		return "", nil, err
	}
	hold := &Hold{store: s}
	hold.add(digest)
	return digest, hold.Release, nil
}

// place moves a sealed tree and its manifest to where its digest says, unless it is there and whole. The manifest comes first: what has
// a name in an area has a manifest. The caller holds writes.
func (s *Store) place(desk, dir string, tree Tree) error {
	final := s.treePath(tree)
	_, err := os.Lstat(final)
	there := err == nil
	if there && !s.isDamaged(tree) {
		return nil
	}
	if err := os.Rename(filepath.Join(desk, tree.Digest+manifestSuffix), final+manifestSuffix); err != nil {
		return diskError(final, err)
	}
	if there {
		err = s.replace(dir, final, tree)
	} else {
		err = os.Rename(dir, final)
	}
	if err != nil {
		return diskError(final, err)
	}
	return s.unmark(tree)
}

// replace exchanges a damaged tree, and its compiled copies, for a whole one. Processes that have it go on with what they have, so it stays until Collect sees
// none, or until the next Open.
func (s *Store) replace(dir, final string, tree Tree) error {
	if err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, final, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	aside, err := s.Stage()
	if err != nil {
		return err
	}
	s.replaced[aside] = tree.Digest
	return errors.Join(os.Rename(dir, filepath.Join(aside, "tree")), s.removeCopies(tree, aside))
}

// seal makes a staged tree ready to be shown to others: nothing in it can harm who reads it, everybody can read it, and only its
// owner, root, can write it. It returns everything in it, sorted by path. The caller has it put on the disk.
func (s *Store) seal(dir string) ([]item, error) {
	root, err := s.openStaged(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return nil, diskError(dir, err)
	}
	if err := normalise(spot{root, ".", info}, item{path: ".", mode: info.Mode()}); err != nil {
		return nil, err
	}
	return scan(root, normalise)
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
func normalise(at spot, i item) error {
	fail := func(err error) error { return diskError(filepath.Join(at.dir.Name(), at.name), err) }
	stat, ok := at.info.Sys().(*syscall.Stat_t)
	if !ok {
		return fail(errors.ErrUnsupported)
	}
	copied := i.mode.IsRegular() && stat.Nlink > 1
	if copied {
		if err := unlink(at); err != nil {
			return fail(err)
		}
	}
	if os.Geteuid() == 0 && (copied || stat.Uid != 0 || stat.Gid != 0) {
		if err := at.dir.Lchown(at.name, 0, 0); err != nil {
			return fail(err)
		}
	}
	if mode := i.storedMode(); copied || mode != i.mode&^fs.ModeDir {
		if i.mode.Type() == fs.ModeSymlink {
			return nil
		}
		if err := at.dir.Chmod(at.name, mode); err != nil {
			return fail(err)
		}
	}
	return nil
}

// unlink makes a file with more than one name a file of its own, so that a name outside of the tree neither changes with it nor
// changes it.
func unlink(at spot) error {
	source, err := at.dir.Open(at.name)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := at.dir.Remove(at.name); err != nil {
		return err
	}
	copied, err := at.dir.OpenFile(at.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, source)
	if closeErr := copied.Close(); err == nil {
		err = closeErr
	}
	return err
}

// fewFiles are put on the disk one by one: all that waits for the disk may be much more.
const fewFiles = 64

// syncTree puts a tree with these items on the disk.
func syncTree(dir string, items []item) error {
	if len(items) > fewFiles {
		return syncAll(dir)
	}
	for _, i := range items {
		if i.mode.IsRegular() || i.mode.IsDir() {
			if err := syncFile(filepath.Join(dir, i.path)); err != nil {
				return err
			}
		}
	}
	return syncFile(dir)
}

// syncAll puts the file system of a directory on the disk, by one call: a call for each of thousands of small files takes ten times
// as long.
func syncAll(name string) error {
	dir, err := os.Open(name)
	if err == nil {
		defer dir.Close()
		err = unix.Syncfs(int(dir.Fd()))
	}
	if err != nil {
		return diskError(name, err)
	}
	return nil
}
