package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// Lookup returns the package that was installed from one of the archives of a lock. It returns false when the
// package has to be installed. Index entries whose files are damaged or gone do not count, and neither do
// files that a package's own code has made, if the lock allows no such code.
func (s *Store) Lookup(runtime core.RuntimeID, wanted core.Locked) (core.Installed, bool) {
	found, _, ok := s.lookup(runtime, wanted)
	return found, ok
}

func (s *Store) lookup(runtime core.RuntimeID, wanted core.Locked) (found core.Installed, path string, ok bool) {
	archives := wanted.Archives
	if len(archives) == 0 { // a driver that knows no digests
		archives = []string{""}
	}
	for _, archive := range archives {
		path, err := s.indexPath(runtime, wanted, archive)
		if err != nil {
			return core.Installed{}, "", false
		}
		found, known := s.entry(path)
		if !known || found.Runtime != runtime || found.Name != wanted.Name || found.Version != wanted.Version || found.Locked.Scripts != wanted.Scripts || s.isDamaged(Tree{Packages, found.Digest}) {
			continue
		}
		if _, err := s.path(Tree{Packages, found.Digest}); err == nil {
			return found, path, true
		}
	}
	return core.Installed{}, "", false
}

// Take looks up the packages of a lock, and holds those that the store has. It returns the others as missing:
// they have to be installed. It refuses a package in quarantine.
func (s *Store) Take(runtime core.RuntimeID, wanted []core.Locked, hold *Hold) (have []core.Package, missing []core.Locked, err error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	now := time.Now()
	for _, p := range wanted {
		f := s.forbids(p)
		found, path, ok := s.lookup(runtime, p)
		if ok && f == nil { // its entry has the name that its driver has compared with what it fetched, which a lock's may not be
			f = s.forbids(found.Locked)
		}
		if f != nil {
			return nil, nil, core.Errorf(core.KindInstall, core.FaultCaller, "%s is quarantined on this worker (%s): take another version, or allow it with `pipsqueak store release '%s'`", p, f.Reason, f)
		}
		if !ok {
			missing = append(missing, p)
			continue
		}
		if err := s.requireMore(path, found, p.Requires); err != nil {
			return nil, nil, err
		}
		hold.add(found.Digest)
		s.use(path, now)
		have = append(have, found.Package)
	}
	return have, missing, nil
}

// requireMore notes what a further lock says that a package requires: which of its extras are asked for
// differs from function to function. The caller holds writes.
func (s *Store) requireMore(path string, entry core.Installed, requires []string) error {
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(entry.Locked.Requires, requires))))
	if len(all) == len(entry.Locked.Requires) {
		return nil
	}
	entry.Locked.Requires = all
	return s.writeIndex(path, entry)
}

// writeIndex makes the file of an entry of the index, whole or not at all, and knows the entry. The caller
// holds writes.
func (s *Store) writeIndex(path string, entry core.Installed) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return files.DiskError(path, err)
	}
	if err := s.writeFile(path, data); err != nil {
		return err
	}
	entry.Used = time.Now().UTC()
	s.know(path, entry)
	return nil
}

// Find returns the index entry of a package of a function. It returns false when the entry is gone or
// damaged. Slices and pointers are shared and must not be changed.
func (s *Store) Find(runtime core.RuntimeID, pkg core.Package) (core.Installed, bool) {
	found, ok := s.find(runtime, pkg)
	if ok {
		found.Quarantine = s.quarantine(found)
	}
	return found, ok
}

func (s *Store) find(runtime core.RuntimeID, pkg core.Package) (core.Installed, bool) {
	if found := s.entriesOf(runtime, core.Set{pkg}); len(found) > 0 {
		return found[0].Installed, true
	}
	return core.Installed{}, false
}

// Installed returns all installed packages, sorted as in core.Inventory, as Find does. The slice is the
// caller's.
func (s *Store) Installed() []core.Installed {
	var all []core.Installed
	for _, e := range s.entries() {
		e.Quarantine = s.quarantine(e.Installed)
		all = append(all, e.Installed)
	}
	slices.SortFunc(all, func(a, b core.Installed) int {
		return cmp.Or(a.Compare(b.Package), strings.Compare(string(a.Runtime), string(b.Runtime)))
	})
	return all
}

// InstalledOf returns those of the packages that are installed for a runtime, sorted, as Find does.
func (s *Store) InstalledOf(runtime core.RuntimeID, packages core.Set) []core.Installed {
	all := make([]core.Installed, 0, len(packages))
	for _, e := range s.entriesOf(runtime, packages) {
		e.Quarantine = s.quarantine(e.Installed)
		all = append(all, e.Installed)
	}
	slices.SortFunc(all, func(a, b core.Installed) int { return a.Compare(b.Package) })
	return all
}

// Staged is the files of a package in a directory of Stage, to be committed.
type Staged struct {
	Locked  core.Locked
	Receipt core.Receipt
	Dir     string
}

// CommitPackages moves packages of a runtime to the store, holds them, and returns them with their digests.
// They survive a power cut soon afterwards; an earlier one leaves them damaged.
//
// A package that was committed before from the same archive stays and is returned, so that all functions
// share one. The directories, and the trees in them, are treated as in CommitCode. A tree that is refused is
// a KindInstall error of the caller's, who chose the package. An archive that the lock does not have is a
// KindInstall error of the driver's.
func (s *Store) CommitPackages(runtime core.RuntimeID, staged []Staged, hold *Hold) ([]core.Installed, error) {
	defer func() {
		for _, p := range staged {
			s.throwAway(p.Dir)
		}
	}()
	desk, err := s.Stage()
	if err != nil {
		return nil, err
	}
	defer s.throwAway(desk)
	drafts, errs := make([]draft, len(staged)), make([]error, len(staged))
	var group sync.WaitGroup
	var next atomic.Int64
	for range goruntime.GOMAXPROCS(0) { // a package often has one large file, which one processor reads
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(staged)); i = next.Add(1) - 1 {
				drafts[i], errs[i] = s.draftPackage(runtime, staged[i], desk, int(i))
			}
		})
	}
	group.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	area := filepath.Join(s.dir, "index", string(runtime))
	if err := os.Mkdir(area, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, files.DiskError(area, err)
	}
	all := make([]core.Installed, len(drafts))
	for i, d := range drafts {
		all[i] = d.entry
	}
	settle, err := s.journal(all)
	if err != nil {
		return nil, err
	}
	defer settle()
	s.writes.Lock()
	defer s.writes.Unlock()
	for i, d := range drafts {
		if all[i], err = s.enter(desk, staged[i].Dir, d); err != nil {
			return nil, err
		}
		hold.add(all[i].Digest)
	}
	return all, nil
}

// draft is an entry of the index that is complete but for its place.
type draft struct {
	entry      core.Installed
	file, path string // on the desk, and in the index
}

// draftPackage seals a package, and writes its list and its entry to the desk.
func (s *Store) draftPackage(runtime core.RuntimeID, p Staged, desk string, number int) (d draft, err error) {
	if len(p.Locked.Archives) > 0 && !slices.Contains(p.Locked.Archives, p.Receipt.Archive) {
		return d, core.Errorf(core.KindInstall, core.FaultDriver, "the package %s was installed from an archive with the digest %q, which its lock does not have: nothing of it was kept", p.Locked, p.Receipt.Archive)
	}
	if d.path, err = s.indexPath(runtime, p.Locked, p.Receipt.Archive); err != nil {
		return d, err
	}
	list, err := s.seal(p.Dir, files.Any)
	if e := core.AsError(err); e != nil && e.Fault == core.FaultCaller {
		return d, core.Errorf(core.KindInstall, core.FaultCaller, "the package %s cannot be used: %w", p.Locked, err)
	}
	if err != nil {
		return d, err
	}
	text, digest := list.Text()
	now := time.Now().UTC()
	d.entry = core.Installed{Package: core.Package{Name: p.Locked.Name, Version: p.Locked.Version, Digest: digest}, Runtime: runtime,
		Locked: p.Locked, Receipt: p.Receipt, Size: list.Bytes(), Added: now, Used: now}
	d.file = filepath.Join(desk, fmt.Sprintf("%d.json", number))
	d.entry, err = writeEntry(d.file, d.entry)
	return d, errors.Join(err, writeStaged(filepath.Join(desk, digest+listSuffix), text))
}

// enter gives a package its place in the store. The caller holds writes and syncs the directories.
func (s *Store) enter(desk, dir string, d draft) (core.Installed, error) {
	if earlier, ok := s.Lookup(d.entry.Runtime, d.entry.Locked); ok {
		return earlier, nil
	}
	if err := s.place(desk, dir, Tree{Packages, d.entry.Digest}); err != nil {
		return core.Installed{}, err
	}
	if err := os.Rename(d.file, d.path); err != nil {
		return core.Installed{}, files.DiskError(d.path, err)
	}
	s.know(d.path, d.entry)
	return d.entry, nil
}

var validRuntime = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$`)

// indexPath returns the file of the index for a package from an archive, by the digest of that. Names may
// hold slashes, and both parts hyphens: they are escaped so that the last hyphen divides them.
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
	if len(file) > files.MaxElement {
		return "", core.Errorf(core.KindInvalid, core.FaultDriver, "the name and version of package %.80q… are too long", pkg.String())
	}
	return filepath.Join(s.dir, "index", string(runtime), file), nil
}
