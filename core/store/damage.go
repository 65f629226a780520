package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What may not be used is of two kinds. A tree whose files are not what they were has a mark beside it, by its digest; a version
// of a package that somebody has forbidden has the reason in its entry of the index. Both are in memory too, so that it costs
// nothing to ask at each start of a process.

// forbiddenKey names a version of a package in a runtime.
type forbiddenKey struct {
	runtime       core.RuntimeID
	name, version string
}

// Damaged returns the trees that are marked as damaged, with the first file of each that was found to be.
func (s *Store) Damaged() map[Tree]core.DamagedFile {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.damaged)
}

func (s *Store) isDamaged(tree Tree) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, damaged := s.damaged[tree]
	return damaged
}

// forbids returns why somebody has forbidden a version, "" when nobody has.
func (s *Store) forbids(runtime core.RuntimeID, name, version string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.forbidden[forbiddenKey{runtime, name, version}]
}

// quarantine returns why the package may not be used, "" when it may.
func (s *Store) quarantine(p core.Installed) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if file, damaged := s.damaged[Tree{Packages, p.Digest}]; damaged && p.Quarantine == "" {
		return "damaged: " + file.String()
	}
	return p.Quarantine
}

// Refused returns why no process may be started with this code and these packages, nil when one may.
func (s *Store) Refused(runtime core.RuntimeID, code string, packages core.Set) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.damaged) == 0 && len(s.forbidden) == 0 {
		return nil
	}
	if file, damaged := s.damaged[Tree{Code, code}]; damaged {
		return core.Errorf(core.KindUnavailable, core.FaultWorker, "the code of the function is damaged on this worker (%s): deploy it again", file)
	}
	for _, p := range packages {
		if why := s.forbidden[forbiddenKey{runtime, p.Name, p.Version}]; why != "" {
			return core.Errorf(core.KindUnavailable, core.FaultWorker,
				"the package %s is quarantined on this worker (%s): deploy the function with another version, or allow this one with `pipsqueak store release %s`", p, why, p)
		}
		if file, damaged := s.damaged[Tree{Packages, p.Digest}]; damaged {
			e := core.Errorf(core.KindUnavailable, core.FaultWorker,
				"the package %s is damaged on this worker (%s): the worker tries to install it anew; `pipsqueak store verify %s` says why it cannot", p, file, p)
			e.Retryable = true
			return e
		}
	}
	return nil
}

// Mark says that a tree is damaged: it is not used until the same files are committed again, or are found to be whole.
func (s *Store) Mark(tree Tree, file core.DamagedFile) error {
	data, err := json.Marshal(file)
	if err != nil {
		return diskError(tree.Digest, err)
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	s.mu.Lock()
	s.damaged[tree] = file
	s.mu.Unlock()
	return s.writeFile(s.treePath(tree)+damagedSuffix, data)
}

// unmark forgets a mark. The caller holds writes.
func (s *Store) unmark(tree Tree) error {
	if !s.isDamaged(tree) {
		return nil
	}
	path := s.treePath(tree) + damagedSuffix
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.damaged, tree)
	return nil
}

// Forbid forbids all installed packages of a name and version for a reason, or allows them again without one. It returns what it
// concerns, KindNotFound when there is none.
func (s *Store) Forbid(name, version, reason string) ([]core.Installed, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	var all []core.Installed
	for _, path := range s.index() {
		entry, err := readInstalled(path)
		if err != nil || entry.Name != name || entry.Version != version {
			continue
		}
		entry.Quarantine = reason
		data, err := json.Marshal(entry)
		if err != nil {
			return nil, diskError(path, err)
		}
		if err := s.writeFile(path, data); err != nil {
			return nil, err
		}
		s.forbid(entry)
		entry.Quarantine = s.quarantine(entry)
		all = append(all, entry)
	}
	if len(all) == 0 {
		return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no package %s==%s in the store; `pipsqueak store list` shows those there are", name, version)
	}
	return all, nil
}

func (s *Store) forbid(entry core.Installed) {
	key := forbiddenKey{entry.Runtime, entry.Name, entry.Version}
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry.Quarantine == "" {
		delete(s.forbidden, key)
	} else {
		s.forbidden[key] = entry.Quarantine
	}
}

// loadIndex reads what may not be used, and what is compiled.
func (s *Store) loadIndex() error {
	for _, name := range s.index() {
		entry, err := readInstalled(name)
		if err != nil {
			continue
		}
		s.knowCopy(entry)
		if entry.Quarantine != "" {
			s.forbid(entry)
		}
	}
	for _, area := range []Area{Code, Packages} {
		marks, err := fs.Glob(os.DirFS(s.dir), string(area)+"/*"+damagedSuffix)
		if err != nil {
			return diskError(s.dir, err)
		}
		for _, mark := range marks {
			file := core.DamagedFile{Reason: "was found damaged"}
			if data, err := os.ReadFile(filepath.Join(s.dir, mark)); err == nil {
				_ = json.Unmarshal(data, &file) // that there is a mark is enough
			}
			s.damaged[Tree{area, digestPrefix + strings.TrimSuffix(path.Base(mark), damagedSuffix)}] = file
		}
	}
	return nil
}
