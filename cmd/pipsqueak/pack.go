package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

// packer writes a function's directory into an archive.
type packer struct {
	archive *tar.Writer
	ignore  bundle.Ignore
	// shared is the git repository that the directory is in: links out of the directory may lead to files of
	// it. Empty without one.
	shared string
}

// pack writes the directory as a tar.gz, with those settings unless they are nil. It leaves out everything
// that is not part of the function, and everything that names the user and the machine. Symbolic links that
// stay inside are packed as links. A link to another directory of the same repository is replaced by that
// directory.
func pack(out io.Writer, dir string, settings []byte) error {
	dir, err := filepath.EvalSymlinks(dir) // a walk does not follow its root
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	ignore, err := bundle.LoadIgnore(os.DirFS(dir))
	if err != nil {
		return err
	}
	zipped := gzip.NewWriter(out)
	p := packer{archive: tar.NewWriter(zipped), ignore: ignore, shared: repositoryOf(dir)}
	if settings != nil {
		header := &tar.Header{Name: bundle.SettingsFile, Mode: 0o644, Size: int64(len(settings)), Format: tar.FormatPAX}
		if err := p.archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := p.archive.Write(settings); err != nil {
			return err
		}
	}
	if err := p.directory(dir, "", []string{dir}, settings != nil); err != nil {
		return err
	}
	if err := p.archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

// repositoryOf returns the directory of the git repository that a directory is in, or nothing.
func repositoryOf(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// directory packs the contents of a directory below a name in the archive. Roots are the directories that are
// being packed: the function's, and one for each link that was followed to get here.
func (p *packer) directory(dir, below string, roots []string, settings bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(below, entry.Name())
		if settings && name == bundle.SettingsFile || p.ignore.Match(name, entry.IsDir()) {
			continue
		}
		if err := p.entry(filepath.Join(dir, entry.Name()), name, roots); err != nil {
			return err
		}
	}
	return nil
}

// entry packs one file, directory or link.
func (p *packer) entry(file, name string, roots []string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return p.link(file, name, info, roots)
	}
	if err := p.write(file, name, "", info); err != nil || !info.IsDir() {
		return err
	}
	return p.directory(file, name, roots, false)
}

// link packs a symbolic link, or what it leads to.
func (p *packer) link(file, name string, info fs.FileInfo, roots []string) error {
	target, err := os.Readlink(file)
	if err != nil {
		return err
	}
	leads, err := filepath.EvalSymlinks(file)
	root := roots[len(roots)-1]
	inside := !filepath.IsAbs(target) && within(root, filepath.Join(filepath.Dir(file), target))
	switch {
	case inside && (errors.Is(err, fs.ErrNotExist) || err == nil && within(root, leads)):
		return p.write(file, name, filepath.ToSlash(target), info) // one to nothing as well: it may be made when the function is built
	case err != nil:
		return fmt.Errorf("the symbolic link %s: %w", file, err)
	case p.shared == "" || !within(p.shared, leads):
		return fmt.Errorf("the symbolic link %s leads out of the directory, to %s: only links to files of the same git repository are followed; "+
			"copy what it leads to, or name the link in %s", file, leads, bundle.IgnoreFile)
	case slices.ContainsFunc(roots, func(root string) bool { return within(leads, root) }):
		return fmt.Errorf("the symbolic link %s leads to %s, which has it inside: name the link in %s", file, leads, bundle.IgnoreFile)
	}
	if info, err = os.Stat(leads); err != nil {
		return err
	}
	if info.IsDir() && p.ignore.Match(name, true) {
		return nil
	}
	if err := p.write(leads, name, "", info); err != nil || !info.IsDir() {
		return err
	}
	return p.directory(leads, name, append(slices.Clone(roots), leads), false)
}

// within says whether a path is a directory or below it.
func within(dir, file string) bool {
	separator := string(filepath.Separator)
	return file == dir || strings.HasPrefix(file, strings.TrimSuffix(dir, separator)+separator)
}

// write writes one entry of the archive. The target is a link's.
func (p *packer) write(file, name, target string, info fs.FileInfo) error {
	if info.IsDir() {
		name += "/"
	} else if !info.Mode().IsRegular() && target == "" {
		return fmt.Errorf("%s is a %s; a function has files, directories and links only", file, info.Mode().Type())
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Format = name, tar.FormatPAX
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	if err := p.archive.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := io.Copy(p.archive, content); err != nil {
		return fmt.Errorf("%s: %w", file, err) // one that grows while it is read, among others
	}
	return nil
}

// secretsLeftOut returns the files with secrets in a directory that are not packed.
func secretsLeftOut(dir string) []string {
	ignore, err := bundle.LoadIgnore(os.DirFS(dir))
	if err != nil {
		return nil // pack says so
	}
	files, _ := filepath.Glob(filepath.Join(dir, ".env*")) // fails for bad patterns only
	var out []string
	for _, file := range files {
		if name := filepath.Base(file); ignore.Match(name, false) {
			out = append(out, name)
		}
	}
	return out
}
