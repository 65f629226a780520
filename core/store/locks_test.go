package store

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

func TestLocks(t *testing.T) {
	s := openTest(t)
	inputs := files.DigestPrefix + strings.Repeat("ab", 32)
	if got := s.RememberedLock(inputs); got != nil {
		t.Errorf("nobody remembered %+v", got)
	}
	want := core.Lock{Runtime: "r1", Inputs: inputs, Packages: []core.Locked{{Name: "p", Version: "1", Archives: []string{"sha256:1"}}}, Files: map[string]string{"own.lock": "text"}}
	coretest.Must(t, s.RememberLock(want))
	if got := s.RememberedLock(inputs); !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := s.RememberLock(core.Lock{Inputs: "sha256:../x"}); !core.IsKind(err, core.KindInternal) {
		t.Error(err)
	}
}
