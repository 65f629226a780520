package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Seal makes a tree within bounds safe to show to others, and returns its list. Afterwards nothing in the
// tree can harm a reader, everybody can read it, and only its owner, root, can write it. The caller writes
// the tree to the disk for good.
//
// The tree is not trusted. Seal refuses everything but files, directories and symbolic links that stay inside
// or lead to /packages/…. Hard links become separate files, and every mode becomes 0644 or 0755.
func Seal(root *os.Root, bounds Bounds) (List, error) {
	info, err := root.Stat(".")
	if err != nil {
		return nil, DiskError(root.Name(), err)
	}
	if err := normalise(spot{root, ".", info}, Item{Path: ".", Mode: info.Mode()}); err != nil {
		return nil, err
	}
	return walk(root, bounds, normalise)
}

// sealedMode is the mode that an item has in a sealed tree.
func sealedMode(i Item) fs.FileMode {
	switch {
	case i.Mode.IsDir():
		return DirectoryMode
	case i.executable():
		return executableMode
	default:
		return FileMode
	}
}

// normalise gives an item its final owner and mode. The owner comes first: a change of owner takes away
// set-user-id bits and file capabilities, and after it nobody else can change the mode back.
func normalise(at spot, i Item) error {
	fail := func(err error) error { return DiskError(filepath.Join(at.dir.Name(), at.name), err) }
	stat, ok := at.info.Sys().(*syscall.Stat_t)
	if !ok {
		return fail(errors.ErrUnsupported)
	}
	copied := i.Mode.IsRegular() && stat.Nlink > 1
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
	if mode := sealedMode(i); copied || mode != i.Mode&^fs.ModeDir {
		if i.Mode.Type() == fs.ModeSymlink {
			return nil
		}
		if err := at.dir.Chmod(at.name, mode); err != nil {
			return fail(err)
		}
	}
	return nil
}

// unlink makes a file with more than one name a file of its own, so that a name outside of the tree neither
// changes with it nor changes it.
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
