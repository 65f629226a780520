package store

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestLocks(t *testing.T) {
	s := openTest(t)
	inputs := digestPrefix + strings.Repeat("ab", 32)
	if got := s.Lock(inputs); got != nil {
		t.Errorf("nobody remembered %+v", got)
	}
	want := core.Lock{Runtime: "r1", Inputs: inputs, Packages: []core.Locked{{Name: "p", Version: "1", Archives: []string{"sha256:1"}}}, Files: map[string]string{"own.lock": "text"}}
	must(t, s.RememberLock(want))
	if got := s.Lock(inputs); !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := s.RememberLock(core.Lock{Inputs: "sha256:../x"}); !core.IsKind(err, core.KindInternal) {
		t.Error(err)
	}
	dir := stage(t, s, map[string]string{})
	for text, word := range map[string]string{
		"":  "cannot be read",
		"{": "cannot be read",
		`{"packages":[{"name":"p","version":"1"}]}`:                                 "no digest for p==1",
		`{"packages":[{"name":"p/../../x","version":"1","archives":["sha256:1"]}]}`: "not be in a directory of its own",
		`{"files":{"../x":"text"}}`:                                                 "not in the function's directory",
	} {
		write(t, dir, map[string]string{LockFile: text})
		_, err := LoadLock(dir)
		wantError(t, err, core.KindInvalid, core.FaultCaller, word, LockFile)
	}
	write(t, dir, map[string]string{LockFile: `{"runtime":"r1","packages":[{"name":"p","version":"1","archives":["sha256:1"]}]}`})
	if got, err := LoadLock(dir); err != nil || len(got.Packages) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := LoadLock(stage(t, s, map[string]string{})); err != nil || got != nil {
		t.Errorf("without a lock file: %+v, %v", got, err)
	}
}
