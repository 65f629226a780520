// Package store keeps deployed code and installed packages on disk, by digest: it finds packages again by
// name and version, notices damage, collects what nobody needs, and remembers the functions over a restart.
//
// Everything lives in one data directory that belongs to one worker:
//
//	code/<hex>/                            the code of a function, never changed
//	packages/<hex>/                        one version of one package, never changed
//	packages/<hex>.<hex>/                  a compiled copy of it
//	….list                                 beside each of them: the list of its files, which its digest is of
//	….damaged                              beside one that was found damaged: how, a core.DamagedFile
//	index/<runtime>/<name>-<version>@<…>.json  a core.Installed; what follows the @ stands for the archive that it is from; read by Open only
//	locks/<hex>.json                       a core.Lock, by its inputs
//	scans/<hex>.json                       what was found in a package, by its digest
//	functions/<name>@<version>.json        a core.Function; of several versions the newest is the deployed one
//	functions/<name>.removed               the last version of a function that was removed, or cannot be read
//	functions/<name>.signed                when the newest signature was made that was accepted for the name
//	functions/switch                       a change of several functions that has happened, and of which files are to be written yet
//	secrets.json                           the secrets of all namespaces, sealed
//	secrets.key                            the key that seals them, if the operator has given none elsewhere
//	storage/<name>.ext4                    what a function keeps beyond its instances, a file system
//	quarantine.json                        what is forbidden, core.Forbidden
//	format.json                            which Pipsqueak has had the directory last, and its format
//	journal/<…>.json                       entries of the index of packages that may not be on the disk yet
//	staging/                               everything half-done; emptied by Open
//	lock                                   which worker has the directory, by its pid; the kernel frees it when that ends
//
// A tree of files gets to code/ and packages/ by a rename from staging/ after it is complete and safe to show
// to a function. So a crash leaves whole things, and half things in staging/ only. Code is on the disk
// before. Packages are soon after: what a power cut takes of them is found by the journal.
//
// Mutex order: Store.writes before Store.mu. writes is held while names are changed on the disk, and never
// while a tree is read or unpacked; mu guards what is in memory, and no disk is waited for under it.
package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/routes"
)

// Store is one open data directory. All methods may be called from many goroutines at once; every error is a
// *core.Error.
type Store struct {
	dir   string
	owned *os.File // the file that says which worker has the directory

	// writes serialises what changes the names in code/, packages/, index/ and functions/. It is never held
	// while a tree is read or unpacked.
	writes sync.Mutex
	// Under writes:
	readRule core.PackageRule
	held     map[string]int    // holds on digests
	replaced map[string]string // damaged trees that were exchanged, in staging: their digests

	settling sync.WaitGroup // trees that are being written to the disk
	unnoted  atomic.Bool    // there was no room to note the format

	mu         sync.RWMutex // for what is in memory only, so that Get never waits for a disk
	functions  map[string]core.Function
	namespaces map[string]core.NamespaceSpec // never changed, but exchanged
	secrets    map[string]SealedSecret       // never changed, but exchanged
	removed    map[string]int                // the last version of each function that was removed
	signed     map[string]time.Time
	damaged    map[Tree]core.DamagedFile
	rules      []rule                           // never changed, but exchanged
	verdicts   map[forbiddenKey]*core.Forbidden // verdicts of the rules on packages of functions
	index      map[string][]indexed             // its entries, by versionOf their files
	compiled   map[compiledKey]string           // digests of compiled copies
	routes     *routes.Table                    // never changed, but exchanged
}

// Open opens a data directory for this worker alone, and makes the directory when it is missing. It removes
// unfinished work. It returns a warning, a *core.Error that names the thing, for each function that could not
// be loaded as it was, each package that a power cut has damaged, and everything else in the directory that
// is not as it should be; such things it moves aside or leaves alone. The caller closes the Store.
func Open(dir string) (s *Store, warnings []error, err error) {
	return OpenAfter(dir, func() error { return nil })
}

// OpenAfter is Open, and calls end when no other worker has the directory any more, before it removes
// anything. end ends processes that still write there.
func OpenAfter(dir string, end func() error) (s *Store, warnings []error, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, nil, files.DiskError(dir, err)
	}
	last, err := checkFormat(dir)
	if err != nil {
		return nil, nil, err
	}
	warnings, err = layOut(dir)
	if err != nil {
		return nil, nil, err
	}
	owned, err := takeDirectory(dir)
	if err != nil {
		return nil, nil, err
	}
	if err := end(); err != nil {
		owned.Close()
		return nil, nil, err
	}
	s = &Store{dir: dir, owned: owned, held: map[string]int{}, replaced: map[string]string{},
		functions: map[string]core.Function{}, removed: map[string]int{}, namespaces: map[string]core.NamespaceSpec{}, secrets: map[string]SealedSecret{}, signed: map[string]time.Time{}, damaged: map[Tree]core.DamagedFile{}, verdicts: map[forbiddenKey]*core.Forbidden{}, readRule: literally, index: map[string][]indexed{}, compiled: map[compiledKey]string{}}
	warnings = append(warnings, s.sweep()...)
	warnings = append(warnings, s.renameLists()...)
	warnings = append(warnings, s.readJournal()...)
	warnings = append(warnings, s.loadSecrets()...)
	err = errors.Join(s.loadIndex(), s.loadNamespaces())
	if err == nil {
		var more []error
		more, err = s.load()
		warnings = append(warnings, more...)
	}
	if err != nil {
		owned.Close()
		return nil, nil, err
	}
	if err := s.noteFormat(last); err != nil {
		warnings = append(warnings, err)
		s.unnoted.Store(true)
	}
	return s, warnings, nil
}

// Close lets another worker open the data directory. The Store must not be used afterwards.
func (s *Store) Close() error {
	s.settling.Wait()
	if err := s.owned.Close(); err != nil {
		return files.DiskError(s.owned.Name(), err)
	}
	return nil
}

// layOut makes the directories. No other user of the machine may pass through the data directory: what is in
// it are functions' code, their secrets, and trees that staged work may write. Sandboxes have mounts of these
// and need no path.
func layOut(dir string) (warnings []error, err error) {
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)); err != nil {
		return nil, files.DiskError(dir, err)
	}
	for name, mode := range map[string]fs.FileMode{"code": 0o755, "packages": 0o755, "index": 0o755, "locks": 0o755, "scans": 0o755, "functions": 0o700, "journal": 0o700, "storage": 0o700, "staging": 0o711} {
		sub := filepath.Join(dir, name)
		if info, err := os.Stat(sub); exists(sub) && (err != nil || !info.IsDir()) {
			warnings = append(warnings, aside(sub, errors.New("it is no directory")))
		}
		if err := os.MkdirAll(sub, mode); err != nil {
			return warnings, files.DiskError(sub, err)
		}
		if err := os.Chmod(sub, mode); err != nil {
			return warnings, files.DiskError(sub, err)
		}
	}
	for _, name := range []string{ownerFile, formatFile} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && !info.Mode().IsRegular() {
			warnings = append(warnings, aside(filepath.Join(dir, name), errors.New("it is no file")))
		}
	}
	return warnings, files.SyncFile(dir)
}

// aside moves away what is not what it should be, so that the worker starts and nothing is lost. It returns
// the warning about that.
func aside(path string, why error) error {
	to := path + ".corrupt"
	if exists(to) {
		to += "-" + rand.Text()
	}
	if err := os.Rename(path, to); err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "%s cannot be used (%w), nor moved away: %v; remove it", path, why, err)
	}
	return core.Errorf(core.KindInternal, core.FaultWorker, "%s cannot be used and was moved to %s: %w", path, to, why)
}

// takeDirectory takes the data directory for this process, until that ends in whatever way.
func takeDirectory(dir string) (*os.File, error) {
	name := filepath.Join(dir, ownerFile)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, files.DiskError(name, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, files.DiskError(name, err)
		}
		pid, _ := os.ReadFile(name)
		return nil, core.Errorf(core.KindConflict, core.FaultWorker,
			"the data directory %s is in use by another worker (pid %s): stop that one, or give this one its own --data directory",
			dir, strings.TrimSpace(string(pid)))
	}
	if err = file.Truncate(0); err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	if err != nil {
		file.Close()
		return nil, files.DiskError(name, err)
	}
	return file, nil
}

// ownerFile is the file that a worker holds while it has the data directory.
const ownerFile = "lock"

// sweep removes unfinished work of an earlier worker. A directory that cannot be removed stays: its name is
// unique, so it is in nobody's way.
func (s *Store) sweep() (warnings []error) {
	staging := s.Staging()
	entries, err := os.ReadDir(staging)
	if err != nil {
		return []error{files.DiskError(staging, err)}
	}
	for _, entry := range entries {
		name := filepath.Join(staging, entry.Name())
		err := os.RemoveAll(name)
		for range 2 { // who still writes there seldom does so for long
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				err = os.RemoveAll(name)
			}
		}
		if err != nil {
			warnings = append(warnings, core.Errorf(core.KindInternal, core.FaultWorker, "%s is left of an earlier worker and cannot be removed now: %w; the next start tries it again", name, err))
		}
	}
	return append(warnings, s.sweepScans()...)
}

// Staging returns the full path of the directory for unfinished work.
func (s *Store) Staging() string { return filepath.Join(s.dir, "staging") }

// Stage makes an empty directory in staging/ and returns its full path. The directory is the caller's: to
// fill, and then to give to CommitCode, CommitPackages or Discard.
func (s *Store) Stage() (string, error) {
	staging := s.Staging()
	dir, err := os.MkdirTemp(staging, "")
	if err != nil {
		return "", files.DiskError(staging, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", files.DiskError(dir, err)
	}
	return dir, nil
}

// Discard removes a directory in staging/, with everything in it. A directory that is gone already is no
// error.
func (s *Store) Discard(dir string) error {
	name, err := s.staged(dir)
	if err != nil {
		return err
	}
	// A Root, because an installer may have left a link on the way.
	staging, err := os.OpenRoot(s.Staging())
	if err != nil {
		return files.DiskError(dir, err)
	}
	defer staging.Close()
	if err := staging.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files.DiskError(dir, err)
	}
	return nil
}

// throwAway is Discard for what nobody has a use for after the call that it is in: when it fails, the next
// Open does it.
func (s *Store) throwAway(dir string) { _ = s.Discard(dir) }

// staged returns the path of dir in staging/, and refuses any other directory.
func (s *Store) staged(dir string) (string, error) {
	name, err := filepath.Rel(s.Staging(), dir)
	if err != nil || name == "." || !filepath.IsLocal(name) {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "%s is not a directory in staging of %s", dir, s.dir)
	}
	return name, nil
}

// Area is one of the two places where trees of files are kept.
type Area string

// The areas, which are directories of the data directory.
const (
	Code     Area = "code"
	Packages Area = "packages"
)

// Tree names one tree of files of the store.
type Tree struct {
	Area   Area
	Digest string
}

// The ends of the names of files beside a tree.
const (
	listSuffix    = ".list"
	damagedSuffix = ".damaged"
)

// treePath returns where a tree is or would be.
func (s *Store) treePath(tree Tree) string {
	return filepath.Join(s.dir, string(tree.Area), strings.TrimPrefix(tree.Digest, files.DigestPrefix))
}

// CodePath returns the full path of the code with a digest that CommitCode returned. The directory belongs to
// the Store and must not be written to. The error is KindNotFound when it is not there.
func (s *Store) CodePath(digest string) (string, error) { return s.path(Tree{Code, digest}) }

func (s *Store) path(tree Tree) (string, error) {
	if _, ok := files.Hex(tree.Digest); !ok {
		return "", core.Errorf(core.KindInternal, core.FaultWorker, "%q is not a digest; one looks like %s<64 hex digits>", tree.Digest, files.DigestPrefix)
	}
	dir := s.treePath(tree)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", core.Errorf(core.KindNotFound, core.FaultWorker, "%s is not in the data directory; deploy the function again", dir)
	} else if err != nil {
		return "", files.DiskError(dir, err)
	}
	return dir, nil
}
