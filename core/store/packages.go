package store

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Lookup returns the package that was installed from one of the archives of a lock. Not ok means that it has to be installed: an
// index entry that cannot be read, that is quarantined, or whose files are gone, counts as none.
func (s *Store) Lookup(runtime core.RuntimeID, wanted core.Locked) (core.Installed, bool) {
	archives := wanted.Archives
	if len(archives) == 0 { // a driver that knows no digests
		archives = []string{""}
	}
	for _, archive := range archives {
		path, err := s.indexPath(runtime, wanted, archive)
		if err != nil {
			return core.Installed{}, false
		}
		found, err := readInstalled(path)
		if err != nil || found.Runtime != runtime || found.Name != wanted.Name || found.Version != wanted.Version || found.Quarantine != "" {
			continue
		}
		if _, err := s.PackagePath(found.Digest); err == nil {
			return found, true
		}
	}
	return core.Installed{}, false
}

// Find returns what is known of a package of a function. Not ok means that its index entry is gone or damaged.
func (s *Store) Find(runtime core.RuntimeID, pkg core.Package) (core.Installed, bool) {
	path, err := s.indexPath(runtime, core.Locked{Name: pkg.Name, Version: pkg.Version}, "")
	if err != nil {
		return core.Installed{}, false
	}
	base := strings.TrimSuffix(filepath.Base(path), ".json")
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return core.Installed{}, false
	}
	for _, entry := range entries {
		name, _, _ := strings.Cut(strings.TrimSuffix(entry.Name(), ".json"), "@")
		if name != base {
			continue
		}
		found, err := readInstalled(filepath.Join(filepath.Dir(path), entry.Name()))
		if err == nil && found.Package == pkg {
			return found, true
		}
	}
	return core.Installed{}, false
}

func readInstalled(path string) (found core.Installed, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &found)
	}
	return found, err
}

// CommitPackage moves the files of a package for a runtime from dir, which is in a directory of Stage, to the store, and returns
// it with its digest. When the package has been committed before from the same archive, that one stays and is returned, so that everybody
// who asks for a version shares one. For dir, the tree in it and what happens to it, see CommitCode; a tree that is refused is a
// KindInstall error of the caller's, who chose the package. An archive that is none of the lock's is the driver's KindInstall error.
func (s *Store) CommitPackage(runtime core.RuntimeID, wanted core.Locked, receipt core.Receipt, dir string) (core.Installed, error) {
	defer s.throwAway(dir)
	if len(wanted.Archives) > 0 && !slices.Contains(wanted.Archives, receipt.Archive) {
		return core.Installed{}, core.Errorf(core.KindInstall, core.FaultDriver, "the package %s was installed from an archive with the digest %q, which its lock does not have: nothing of it was kept", wanted, receipt.Archive)
	}
	path, err := s.indexPath(runtime, wanted, receipt.Archive)
	if err != nil {
		return core.Installed{}, err
	}
	items, err := s.seal(dir)
	if e := core.AsError(err); e != nil && e.Fault == core.FaultCaller {
		return core.Installed{}, core.Errorf(core.KindInstall, core.FaultCaller, "the package %s cannot be used: %w", wanted, err)
	}
	if err != nil {
		return core.Installed{}, err
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if earlier, ok := s.Lookup(runtime, wanted); ok {
		return earlier, nil
	}
	digest, size := treeDigest(items), int64(0)
	for _, i := range items {
		size += i.size
	}
	if err := s.place(dir, "packages", digest); err != nil {
		return core.Installed{}, err
	}
	now := time.Now().UTC()
	entry := core.Installed{Package: core.Package{Name: wanted.Name, Version: wanted.Version, Digest: digest}, Runtime: runtime,
		Locked: wanted, Receipt: receipt, Size: size, Added: now, Used: now}
	return entry, s.enter(path, entry)
}

// enter writes a file of the index.
func (s *Store) enter(path string, entry core.Installed) error {
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

// indexPath returns the file of the index for a package from an archive, by the digest of that. Names may hold slashes, and both
// parts hyphens: they are escaped so that the last hyphen divides them.
func (s *Store) indexPath(runtime core.RuntimeID, pkg core.Locked, archive string) (string, error) {
	if !validRuntime.MatchString(string(runtime)) {
		return "", core.Errorf(core.KindInvalid, core.FaultDriver, "%q cannot be the name of a runtime: it is no file name", runtime)
	}
	for what, part := range map[string]string{"name": pkg.Name, "version": pkg.Version} {
		if part == "" || part[0] == '.' || strings.ContainsFunc(part, unicode.IsControl) {
			return "", core.Errorf(core.KindInvalid, core.FaultDriver, "%q cannot be the %s of a package", part, what)
		}
	}
	file := strings.ReplaceAll(url.PathEscape(pkg.Name), "@", "%40") + "-" + strings.ReplaceAll(url.PathEscape(pkg.Version), "-", "%2D")
	if archive != "" {
		// Long enough to tell archives apart; the whole digest is in the file.
		file += "@" + fmt.Sprintf("%x", sha256.Sum256([]byte(archive)))[:16]
	}
	file += ".json"
	if len(file) > maxPathElement {
		return "", core.Errorf(core.KindInvalid, core.FaultDriver, "the name and version of package %.80q… are too long", pkg.String())
	}
	return filepath.Join(s.dir, "index", string(runtime), file), nil
}
