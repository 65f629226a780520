package bundle

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// sink writes the entries of one archive below root. No entry is ever written through a link: every directory
// above it is a directory that the sink made itself, and the entry does not exist before.
type sink struct {
	root     *os.Root
	upload   *upload
	entries  int
	unpacked int64
	dirs     map[string]bool // made, and real
	buffer   []byte

	// The directory that was used last: entries come one directory after the other, and a path is walked name
	// by name at each call.
	here     *os.Root
	hereName string
}

func newSink(root *os.Root, upload *upload) *sink {
	return &sink{root: root, upload: upload, dirs: map[string]bool{".": true}, buffer: make([]byte, 128<<10), here: root, hereName: "."}
}

// close gives the directory that was used last free.
func (s *sink) close() {
	if s.here != s.root {
		s.here.Close()
	}
	s.here, s.hereName = s.root, "."
}

// at returns the directory of an entry, which the sink has made, and the entry's name in it.
func (s *sink) at(entry string) (dir *os.Root, name string, err error) {
	parent, name := path.Split(entry)
	parent = path.Clean(parent)
	if parent == s.hereName {
		return s.here, name, nil
	}
	from, rest := s.root, parent
	if below, found := strings.CutPrefix(parent, s.hereName+"/"); found {
		from, rest = s.here, below
	}
	if parent == "." {
		s.close()
		return s.root, name, nil
	}
	next, err := from.OpenRoot(rest)
	if err != nil {
		return nil, "", err
	}
	s.close()
	s.here, s.hereName = next, parent
	return next, name, nil
}

// clean returns the path of an entry as the sink uses it: relative, with slashes, without "." and a slash at
// the end.
func clean(name string) (string, error) {
	if err := files.CheckPath(name); err != nil {
		return "", err
	}
	if path.IsAbs(name) {
		return "", files.Refusef("the archive's entry %q has an absolute path; make the archive with relative paths", name)
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", files.Refusef("the archive's entry %q has '..' in its path; make the archive inside of the function's directory", name)
		}
	}
	return path.Clean(name), nil
}

// count counts one more entry.
func (s *sink) count() error {
	if err := s.upload.check(); err != nil {
		return err
	}
	if s.entries++; s.entries > s.upload.bounds.entries {
		return files.TooLargef("the archive has more than the %d files and directories that are allowed; "+
			"leave out what the function does not need", s.upload.bounds.entries)
	}
	return nil
}

// directory takes the entry of a directory.
func (s *sink) directory(name string) error {
	if s.dirs[name] {
		return s.count()
	}
	return s.makeDirectory(name)
}

// makeDirectory makes a directory, and those above it, where they are missing.
func (s *sink) makeDirectory(name string) error {
	if s.dirs[name] {
		return nil
	}
	if err := s.makeDirectory(path.Dir(name)); err != nil {
		return err
	}
	if err := s.count(); err != nil {
		return err
	}
	dir, base, err := s.at(name)
	if err != nil {
		return s.fail(name, err)
	}
	if info, err := dir.Lstat(base); err == nil {
		return files.Refusef("the archive has the entry %q both as a directory and as a %s; make it again", name, files.TypeName(info.Mode()))
	}
	if err := dir.Mkdir(base, 0o755); err != nil {
		return s.fail(name, err)
	}
	if err := dir.Chmod(base, 0o755); err != nil {
		return s.fail(name, err)
	}
	s.dirs[name] = true
	return nil
}

// file writes a file. If the archive has it twice, the last one counts, as with tar itself. The file keeps
// its time of change, by which make knows that a generated file is older than its source. A time before 1980
// means none, in tar and in zip, and one that is still to come is not believed.
func (s *sink) file(name string, mode fs.FileMode, changed time.Time, content io.Reader) error {
	dir, base, err := s.prepare(name)
	if err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if mode.Perm()&0o111 != 0 {
		perm = 0o755
	}
	file, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return s.fail(name, err)
	}
	defer file.Close()
	if err := s.copy(file, name, content); err != nil {
		return err
	}
	if err := file.Chmod(perm); err != nil {
		return s.fail(name, err)
	}
	if err := file.Close(); err != nil {
		return s.fail(name, err)
	}
	if changed.Year() < 1980 || changed.After(time.Now()) {
		return nil
	}
	if err := dir.Chtimes(base, changed, changed); err != nil {
		return s.fail(name, err)
	}
	return nil
}

// prepare makes the directories above an entry and removes an earlier file in its place. It returns the one
// that the entry is in, and its name there.
func (s *sink) prepare(name string) (dir *os.Root, base string, err error) {
	if err := s.count(); err != nil {
		return nil, "", err
	}
	if err := s.makeDirectory(path.Dir(name)); err != nil {
		return nil, "", err
	}
	if dir, base, err = s.at(name); err != nil {
		return nil, "", s.fail(name, err)
	}
	info, err := dir.Lstat(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, base, nil
	case err != nil:
		return nil, "", s.fail(name, err)
	case !info.Mode().IsRegular():
		return nil, "", files.Refusef("the archive has the entry %q twice, first as a %s; make it again", name, files.TypeName(info.Mode()))
	}
	if err := dir.Remove(base); err != nil {
		return nil, "", s.fail(name, err)
	}
	return dir, base, nil
}

// copy is io.Copy that keeps the bounds and tells the errors of the archive from those of the disk.
func (s *sink) copy(file *os.File, name string, content io.Reader) error {
	for {
		n, err := content.Read(s.buffer)
		s.unpacked += int64(n)
		if limit := s.upload.unpacked(s.unpacked, s.upload.bounds.unpacked); limit != nil {
			return limit
		}
		if _, err := file.Write(s.buffer[:n]); err != nil {
			return s.fail(name, err)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return damaged(name, err)
		}
	}
}

// link makes a symbolic link. Unpack looks at where it leads when everything is there that is part of the
// function.
func (s *sink) link(name, target string) error {
	if earlier, err := s.root.Readlink(name); err == nil && earlier == target && s.dirs[path.Dir(name)] {
		return s.count()
	}
	if target == "" || len(target) > files.MaxPath || strings.Contains(target, "\x00") {
		return files.Refusef("the archive's symbolic link %q leads to %s, which is no path; make the archive again", name, files.Quote(target))
	}
	dir, base, err := s.prepare(name)
	if err != nil {
		return err
	}
	if err := dir.Symlink(target, base); err != nil {
		return s.fail(name, err)
	}
	return nil
}

// hardLink makes a copy of an earlier file of the archive: the store shares whole trees, not files.
func (s *sink) hardLink(name, target string) error {
	from, err := clean(target)
	if err != nil {
		return files.Refusef("the archive's hard link %q leads out of it, to %s; make it again without that", name, files.Quote(target))
	}
	if from == name {
		return s.count()
	}
	info, err := s.root.Lstat(from)
	if err != nil || !info.Mode().IsRegular() || !s.dirs[path.Dir(from)] {
		return files.Refusef("the archive's hard link %q leads to %s, which is no file before it in the archive; make it again", name, files.Quote(target))
	}
	file, err := s.root.Open(from)
	if err != nil {
		return s.fail(from, err)
	}
	defer file.Close()
	return s.file(name, info.Mode(), info.ModTime(), file)
}

func (s *sink) fail(name string, err error) error {
	return files.DiskError(filepath.Join(s.root.Name(), name), err)
}

// damaged is the error of an archive that cannot be read at an entry. A *core.Error stays as it is.
func damaged(name string, err error) error {
	var already *core.Error
	if errors.As(err, &already) {
		return already
	}
	return files.Refusef("the archive is damaged or cut off at its entry %s; make it again: %w", files.Quote(name), err)
}

// checkLinks checks all symbolic links of an unpacked tree.
func checkLinks(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return files.DiskError(dir, err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() != fs.ModeSymlink {
			return err
		}
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		return files.CheckLink(root, name, target)
	})
	if err != nil {
		return files.DiskError(dir, err)
	}
	return nil
}
