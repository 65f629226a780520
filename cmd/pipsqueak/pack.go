package main

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// leftOut are directories that belong to tools and never to a function.
var leftOut = []string{".git", "__pycache__"}

// pack writes the directory as a tar.gz, without what tells of the user and the machine that packed it, and with that manifest unless it
// is nil. Symbolic links are packed as links; whether one may point where it does is the server's to say.
func pack(out io.Writer, dir string, manifest []byte) error {
	dir, err := filepath.EvalSymlinks(dir) // a walk does not follow its root
	if err != nil {
		return err
	}
	zipped := gzip.NewWriter(out)
	archive := tar.NewWriter(zipped)
	if manifest != nil {
		header := &tar.Header{Name: store.ManifestFile, Mode: 0o644, Size: int64(len(manifest)), Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(manifest); err != nil {
			return err
		}
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if entry.IsDir() && slices.Contains(leftOut, entry.Name()) {
			return filepath.SkipDir
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if manifest != nil && name == store.ManifestFile {
			return nil
		}
		return packOne(archive, path, filepath.ToSlash(name))
	})
	if err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

// packOne writes one file, directory or link.
func packOne(archive *tar.Writer, path, name string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	var target string
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	case info.IsDir():
		name += "/"
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is a %s; a function has files, directories and links only", path, info.Mode().Type())
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Format = name, tar.FormatPAX
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(archive, file); err != nil {
		return fmt.Errorf("%s: %w", path, err) // one that grows while it is read, among others
	}
	return nil
}
