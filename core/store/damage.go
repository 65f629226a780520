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
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// A tree whose files are not what they were has a mark beside it, by its digest. Marks are in memory too, so
// that it costs nothing to ask at each start of a process.

// Damaged returns the trees that are marked as damaged, each with the first file that was found damaged.
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

// Mark marks a tree as damaged. Nobody uses it until the same files are committed again, or are found to be
// whole.
func (s *Store) Mark(tree Tree, file core.DamagedFile) error {
	data, err := json.Marshal(file)
	if err != nil {
		return files.DiskError(tree.Digest, err)
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
		return files.DiskError(path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.damaged, tree)
	return nil
}

// loadMarks reads which trees are damaged.
func (s *Store) loadMarks() error {
	for _, area := range []Area{Code, Packages} {
		marks, err := fs.Glob(os.DirFS(s.dir), string(area)+"/*"+damagedSuffix)
		if err != nil {
			return files.DiskError(s.dir, err)
		}
		for _, mark := range marks {
			file := core.DamagedFile{Reason: "was found damaged"}
			if data, err := os.ReadFile(filepath.Join(s.dir, mark)); err == nil {
				_ = json.Unmarshal(data, &file) // that there is a mark is enough
			}
			s.damaged[Tree{area, files.DigestPrefix + strings.TrimSuffix(path.Base(mark), damagedSuffix)}] = file
		}
	}
	return nil
}
