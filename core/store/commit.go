package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// CommitCode moves a tree from staging to the code of functions, and returns its digest. If the store has a
// tree with that digest, that one stays and the new tree is removed. In every case, also with an error, dir
// belongs to the Store afterwards.
//
// Nothing may write to dir any more: the caller has killed every process whose sandbox showed it. The tree
// itself is not trusted. CommitCode refuses everything but files, directories and symbolic links that stay
// inside or lead to /packages/…, and more of them than files.Code allows. Owners become root (when the worker
// is root), modes become 0644 and 0755, and hard links become separate files.
//
// Collect keeps the code until the caller calls release, and afterwards while a function refers to it. So
// call release after Put, or when there will be no Put. It may be called more than once.
func (s *Store) CommitCode(dir string) (digest string, release func(), err error) {
	defer s.throwAway(dir)
	list, err := s.seal(dir, files.Code)
	if err != nil {
		return "", nil, err
	}
	text, digest := list.Text()
	desk, err := s.Stage()
	if err != nil {
		return "", nil, err
	}
	defer s.throwAway(desk)
	if err := writeStaged(filepath.Join(desk, digest+listSuffix), text); err != nil {
		return "", nil, err
	}
	if err := files.Sync(dir, list); err != nil {
		return "", nil, err
	}
	if err := files.SyncFile(filepath.Join(desk, digest+listSuffix)); err != nil {
		return "", nil, err
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if err := s.place(desk, dir, Tree{Code, digest}); err != nil {
		return "", nil, err
	}
	if err := files.SyncFile(filepath.Join(s.dir, string(Code))); err != nil {
		return "", nil, err
	}
	hold := &Hold{store: s}
	hold.add(digest)
	return digest, hold.Release, nil
}

// place moves a sealed tree and its list to where its digest says, unless it is there and whole. The list
// comes first: what has a name in an area has a list. The caller holds writes.
func (s *Store) place(desk, dir string, tree Tree) error {
	final := s.treePath(tree)
	_, err := os.Lstat(final)
	there := err == nil
	if there && !s.isDamaged(tree) {
		return nil
	}
	if err := os.Rename(filepath.Join(desk, tree.Digest+listSuffix), final+listSuffix); err != nil {
		return files.DiskError(final, err)
	}
	if there {
		err = s.replace(dir, final, tree)
	} else {
		err = os.Rename(dir, final)
	}
	if err != nil {
		return files.DiskError(final, err)
	}
	return s.unmark(tree)
}

// replace exchanges a damaged tree, and its compiled copies, for a whole one. Processes that have it go on
// with what they have, so it stays until Collect sees none, or until the next Open.
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

// seal seals a staged tree, which the caller then has put on the disk.
func (s *Store) seal(dir string, bounds files.Bounds) (files.List, error) {
	root, err := s.openStaged(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return files.Seal(root, bounds)
}

// StagedDigest returns the digest of a tree in staging as it is now. Before anything is resolved, it is the
// digest of the bundle.Bundle.
func (s *Store) StagedDigest(dir string) (string, error) {
	root, err := s.openStaged(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	return files.Digest(root)
}

// openStaged opens a directory in staging without following a link on the way there: an installer may have
// made one.
func (s *Store) openStaged(dir string) (*os.Root, error) {
	name, err := s.staged(dir)
	if err != nil {
		return nil, err
	}
	staging, err := os.OpenRoot(s.Staging())
	if err != nil {
		return nil, files.DiskError(dir, err)
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
			return nil, files.DiskError(dir, err)
		}
		if !info.IsDir() {
			return nil, files.Refusef("%q is not a directory but a %s", at, files.TypeName(info.Mode()))
		}
	}
	root, err := staging.OpenRoot(name)
	if err != nil {
		return nil, files.DiskError(dir, err)
	}
	return root, nil
}
