package store

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

const (
	// format counts up when an earlier Pipsqueak would take something in the data directory for damage, or
	// not understand it. 1 knew no tokens, and would have served everybody. 2 had the lists of trees under
	// earlierListSuffix.
	format     = 3
	formatFile = "format.json"

	earlierListSuffix = ".manifest"
)

// used says which Pipsqueak has had the data directory last.
type used struct {
	Format    int    `json:"format"`
	Pipsqueak string `json:"pipsqueak"`
}

// checkFormat refuses a directory that a later Pipsqueak has had, before anything in it is changed. One
// without the file is older than the file.
func checkFormat(dir string) (last used, err error) {
	text, err := os.ReadFile(filepath.Join(dir, formatFile))
	if err != nil || json.Unmarshal(text, &last) != nil {
		return used{}, nil //nolint:nilerr // it is written again
	}
	if last.Format > format {
		return last, core.Errorf(core.KindUnsupported, core.FaultCaller, "the data directory %s was last used by Pipsqueak %s, whose format %d Pipsqueak %s does not understand (it knows format %d): start that version, or a later one, or take another directory",
			dir, last.Pipsqueak, last.Format, core.BuildOf().Version, format)
	}
	return last, nil
}

// renameLists gives lists of trees from a directory of format 2 their names of today. It looks at each start,
// because one may have been cut short.
func (s *Store) renameLists() (warnings []error) {
	for _, area := range []Area{Code, Packages} {
		earlier, _ := fs.Glob(os.DirFS(s.dir), string(area)+"/*"+earlierListSuffix) // the pattern is good
		for _, name := range earlier {
			path := filepath.Join(s.dir, name)
			if err := os.Rename(path, strings.TrimSuffix(path, earlierListSuffix)+listSuffix); err != nil {
				warnings = append(warnings, files.DiskError(path, err))
			}
		}
	}
	return warnings
}

// noteLate notes the format as soon as there is room for it. Until then an earlier Pipsqueak would take the
// directory for its own.
func (s *Store) noteLate() {
	if s.unnoted.CompareAndSwap(true, false) && s.noteFormat(used{}) != nil {
		s.unnoted.Store(true)
	}
}

// noteFormat notes that this Pipsqueak has the directory. A full disk keeps no worker from starting.
func (s *Store) noteFormat(last used) error {
	now := used{Format: format, Pipsqueak: core.BuildOf().Version}
	if now == last {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return s.writeFile(filepath.Join(s.dir, formatFile), text)
}
