package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// installed is a file of the index.
type installed struct {
	Runtime core.RuntimeID `json:"runtime"`
	core.Package
}

// Lookup returns an installed package with its digest. Not ok means that it has to be installed: an index entry that cannot be
// read, or whose files are gone, counts as none.
func (s *Store) Lookup(runtime core.RuntimeID, name, version string) (core.Package, bool) {
	path, err := s.indexPath(runtime, core.Package{Name: name, Version: version})
	if err != nil {
		return core.Package{}, false
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return core.Package{}, false
	}
	var found installed
	if json.Unmarshal(data, &found) != nil || found.Runtime != runtime || found.Name != name || found.Version != version {
		return core.Package{}, false
	}
	if _, err := s.PackagePath(found.Digest); err != nil {
		return core.Package{}, false
	}
	return found.Package, true
}

// CommitPackage moves the files of a package for a runtime from dir, which is in a directory of Stage, to the store, and returns
// the package with its digest. When the package has been committed before, that one stays and is returned, so that everybody
// who asks for a version shares one. For dir, the tree in it and what happens to it, see CommitCode; a tree that is refused is a
// KindInstall error of the caller's, who chose the package.
func (s *Store) CommitPackage(runtime core.RuntimeID, pkg core.Package, dir string) (core.Package, error) {
	path, err := s.indexPath(runtime, pkg)
	if err != nil {
		return core.Package{}, err
	}
	defer s.throwAway(dir)
	digest, err := s.seal(dir)
	if e := core.AsError(err); e != nil && e.Fault == core.FaultCaller {
		return core.Package{}, core.Errorf(core.KindInstall, core.FaultCaller, "the package %s cannot be used: %w", pkg, err)
	}
	if err != nil {
		return core.Package{}, err
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if earlier, ok := s.Lookup(runtime, pkg.Name, pkg.Version); ok {
		return earlier, nil
	}
	if err := s.place(dir, "packages", digest); err != nil {
		return core.Package{}, err
	}
	pkg.Digest = digest
	return pkg, s.enter(path, installed{Runtime: runtime, Package: pkg})
}

// enter writes a file of the index.
func (s *Store) enter(path string, entry installed) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return diskError(path, err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err == nil {
		err = syncDirectory(filepath.Join(s.dir, "index"))
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return diskError(path, err)
	}
	return writeFile(path, data)
}

var validRuntime = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$`)

// indexPath returns the file of the index for a package. Names may hold slashes, and both parts hyphens: they are escaped so that
// the last hyphen divides them.
func (s *Store) indexPath(runtime core.RuntimeID, pkg core.Package) (string, error) {
	if !validRuntime.MatchString(string(runtime)) {
		return "", core.Errorf(core.KindInvalid, core.FaultDriver, "%q cannot be the name of a runtime: it is no file name", runtime)
	}
	for what, part := range map[string]string{"name": pkg.Name, "version": pkg.Version} {
		if part == "" || part[0] == '.' || strings.ContainsFunc(part, unicode.IsControl) {
			return "", core.Errorf(core.KindInvalid, core.FaultDriver, "%q cannot be the %s of a package", part, what)
		}
	}
	file := url.PathEscape(pkg.Name) + "-" + strings.ReplaceAll(url.PathEscape(pkg.Version), "-", "%2D") + ".json"
	if len(file) > maxPathElement {
		return "", core.Errorf(core.KindInvalid, core.FaultDriver, "the name and version of package %.80q… are too long", pkg.String())
	}
	return filepath.Join(s.dir, "index", string(runtime), file), nil
}
