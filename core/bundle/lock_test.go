package bundle

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

func TestLoadLock(t *testing.T) {
	dir := t.TempDir()
	for text, word := range map[string]string{
		"":  "cannot be read",
		"{": "cannot be read",
		`{"packages":[{"name":"p","version":"1"}]}`:                                 "no digest for p==1",
		`{"packages":[{"name":"p/../../x","version":"1","archives":["sha256:1"]}]}`: "not be in a directory of its own",
		`{"files":{"../x":"text"}}`:                                                 "not in the function's directory",
	} {
		filestest.Write(t, dir, map[string]string{LockFile: text})
		_, err := LoadLock(dir)
		coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, word, LockFile)
	}
	filestest.Write(t, dir, map[string]string{LockFile: `{"runtime":"r1","packages":[{"name":"p","version":"1","archives":["sha256:1"]}]}`})
	if got, err := LoadLock(dir); err != nil || len(got.Packages) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := LoadLock(t.TempDir()); err != nil || got != nil {
		t.Errorf("without a lock file: %+v, %v", got, err)
	}
}
