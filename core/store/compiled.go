package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// A package can have a compiled copy for each runtime, packages/<hex>.<hex of the copy>: hard links to the
// files of the package, and what the driver's compiler has made of them. Sandboxes see the copy instead of
// the package, under the package's digest: what a function has is the same with and without it. It has a list
// as the package has one, and lives and is damaged with the package.

// compiledKey names a package of a runtime, which has at most one compiled copy.
type compiledKey struct {
	runtime core.RuntimeID
	digest  string // of the package
}

// PackagePath returns the full path of the directory that processes of a runtime see as an installed package:
// its compiled copy, or the package itself when there is no copy. The directory belongs to the Store and must
// not be written to. The error is KindNotFound when the package is not there.
func (s *Store) PackagePath(runtime core.RuntimeID, digest string) (string, error) {
	path, err := s.path(Tree{Packages, digest})
	if err != nil {
		return "", err
	}
	s.mu.RLock()
	copied := s.compiled[compiledKey{runtime, digest}]
	s.mu.RUnlock()
	if copied != "" {
		if compiled := copyPath(path, copied); exists(compiled) {
			return compiled, nil
		}
	}
	return path, nil
}

// Uncompiled returns those of the installed packages that have no compiled copy.
func (s *Store) Uncompiled(installed []core.Installed) (without []core.Package) {
	for _, p := range installed {
		if p.Compiled == "" || !exists(copyPath(s.treePath(Tree{Packages, p.Digest}), p.Compiled)) {
			without = append(without, p.Package)
		}
	}
	return without
}

func copyPath(path, digest string) string {
	return path + "." + strings.TrimPrefix(digest, files.DigestPrefix)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// copies returns the paths of the compiled copies of a package.
func (s *Store) copies(tree Tree) (paths []string) {
	found, _ := fs.Glob(os.DirFS(filepath.Join(s.dir, string(tree.Area))), strings.TrimPrefix(tree.Digest, files.DigestPrefix)+".*") // the pattern is good
	for _, name := range found {
		if _, hex, _ := strings.Cut(name, "."); files.IsHex(hex) {
			paths = append(paths, filepath.Join(s.dir, string(tree.Area), name))
		}
	}
	return paths
}

// CommitCompiled gives packages of a runtime their compiled files, each from a directory of Stage. In every
// case the directories belong to the Store afterwards. They are not trusted, as in CommitCode; a file where
// the package has one is the driver's error. Packages that the store does not have (any more) are left out.
func (s *Store) CommitCompiled(runtime core.RuntimeID, dirs map[core.Package]string) error {
	defer func() {
		for _, dir := range dirs {
			s.throwAway(dir)
		}
	}()
	desk, err := s.Stage()
	if err != nil {
		return err
	}
	defer s.throwAway(desk)
	sizes, copied := map[core.Package]int64{}, map[core.Package]string{}
	for pkg, dir := range dirs {
		if !exists(s.treePath(Tree{Packages, pkg.Digest})) {
			continue
		}
		if copied[pkg], sizes[pkg], err = s.draftCopy(desk, pkg, dir); err != nil {
			return err
		}
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	placed := map[core.Package]bool{}
	for pkg, digest := range copied {
		if placed[pkg], err = s.placeCopy(desk, Tree{Packages, pkg.Digest}, digest); err != nil {
			return err
		}
	}
	return s.rewrite(desk, runtime, core.NewSet(slices.Collect(maps.Keys(copied))...), func(entry *core.Installed) bool {
		if !placed[entry.Package] {
			return false
		}
		entry.Compiled = copied[entry.Package]
		entry.Size += sizes[entry.Package]
		return true
	})
}

// draftCopy makes the compiled copy of a package on the desk, under the name of its digest, with its list. It
// returns its digest, and the bytes that it has more than the package.
func (s *Store) draftCopy(desk string, pkg core.Package, dir string) (digest string, more int64, err error) {
	tree := Tree{Packages, pkg.Digest}
	all, ok := s.list(tree)
	if !ok {
		return "", 0, core.Errorf(core.KindUnavailable, core.FaultWorker, "the package %s cannot be compiled: its list of files is damaged", pkg)
	}
	made, err := s.seal(dir, files.Any)
	if err != nil {
		return "", 0, err
	}
	there := make(map[string]files.Item, len(all))
	for _, i := range all {
		there[i.Path] = i
	}
	draft := filepath.Join(desk, "copy-"+strings.TrimPrefix(pkg.Digest, files.DigestPrefix))
	if err := makeDirectory(draft); err != nil {
		return "", 0, files.DiskError(draft, err)
	}
	for _, i := range all {
		if err := link(filepath.Join(s.treePath(tree), i.Path), filepath.Join(draft, i.Path), i); err != nil {
			return "", 0, files.DiskError(draft, err)
		}
	}
	for _, i := range made {
		if old, taken := there[i.Path]; taken && old.Mode.IsDir() && i.Mode.IsDir() {
			continue
		} else if taken || !i.Mode.IsDir() && !i.Mode.IsRegular() {
			return "", 0, core.Errorf(core.KindInstall, core.FaultDriver, "compiling %s made the %s %q, and may only add files", pkg, files.TypeName(i.Mode), i.Path)
		}
		if i.Mode.IsDir() {
			err = makeDirectory(filepath.Join(draft, i.Path))
		} else {
			err = os.Rename(filepath.Join(dir, i.Path), filepath.Join(draft, i.Path))
		}
		if err != nil {
			return "", 0, files.DiskError(draft, err)
		}
		all, more = append(all, i), more+i.Size
	}
	slices.SortFunc(all, func(a, b files.Item) int { return strings.Compare(a.Path, b.Path) })
	text, digest := all.Text()
	return digest, more, writeStaged(copyPath(draft, digest)+listSuffix, text)
}

// link makes of an item of a package the same in its copy.
func link(from, to string, i files.Item) error {
	switch i.Mode.Type() {
	case fs.ModeDir:
		return makeDirectory(to)
	case fs.ModeSymlink:
		return os.Symlink(i.Target, to)
	default:
		return os.Link(from, to)
	}
}

func makeDirectory(path string) error {
	if err := os.Mkdir(path, files.DirectoryMode); err != nil {
		return err
	}
	return os.Chmod(path, files.DirectoryMode) // whatever the umask
}

// placeCopy moves a copy from the desk to beside its package, unless that is gone. The caller holds writes.
func (s *Store) placeCopy(desk string, tree Tree, digest string) (placed bool, err error) {
	path := s.treePath(tree)
	if !exists(path) || s.isDamaged(tree) {
		return false, nil
	}
	draft, final := filepath.Join(desk, "copy-"+filepath.Base(path)), copyPath(path, digest)
	if exists(final) { // another runtime has the same one, or a worker that was killed has not come to say so in the index
		if list, ok := readList(final, digest); ok && len(list.Verify(final, files.Sample{}).Damaged) == 0 {
			return true, nil
		}
		if err := os.Rename(final, draft+".old"); err != nil {
			return false, files.DiskError(final, err)
		}
	}
	err = os.Rename(copyPath(draft, digest)+listSuffix, final+listSuffix)
	if err == nil {
		err = os.Rename(draft, final)
	}
	if err != nil {
		return false, files.DiskError(final, err)
	}
	return true, nil
}

// removeCopies moves the compiled copies of a package into a directory of staging. The caller holds writes.
func (s *Store) removeCopies(tree Tree, aside string) error {
	for _, path := range s.copies(tree) {
		if err := os.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil {
			return files.DiskError(path, err)
		}
		if err := os.Remove(path + listSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return files.DiskError(path, err)
		}
	}
	return nil
}

// rewrite changes entries of packages in the index of a runtime: those of which change, which gets a copy,
// says so. The caller holds writes.
func (s *Store) rewrite(desk string, runtime core.RuntimeID, packages core.Set, change func(*core.Installed) bool) error {
	type move struct{ from, to string }
	var moves []move
	var entries []core.Installed
	for i, e := range s.entriesOf(runtime, packages) {
		entry := e.Installed
		if entry.Runtime != runtime || !change(&entry) {
			continue
		}
		entry.Used = time.Now().UTC() // as its file is
		file := filepath.Join(desk, fmt.Sprintf("%d.json", i))
		entry, err := writeEntry(file, entry)
		if err != nil {
			return err
		}
		moves, entries = append(moves, move{file, e.path}), append(entries, entry)
	}
	if len(moves) == 0 {
		return nil
	}
	settle, err := s.journal(entries)
	if err != nil {
		return err
	}
	defer settle()
	for i, m := range moves {
		if err := os.Rename(m.from, m.to); err != nil {
			return files.DiskError(m.to, err)
		}
		s.know(m.to, entries[i])
	}
	return nil
}
