package v1

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// settings is a core.Settings that keeps what it was told.
type settings struct{ told core.EnvChange }

func (s *settings) SetEnv(_ context.Context, change core.EnvChange, _ func(core.Progress)) (core.Function, error) {
	s.told = change
	return core.Function{Name: change.Function}, nil
}

func TestSetEnv(t *testing.T) {
	kept := &settings{}
	url := serveParts(t, core.Service{Settings: kept}).URL + "/v1/functions/f/env"
	if a := ask(t, "POST", url, `{"set":{"A":"1","B":""},"unset":["C"]}`); a.status != 200 ||
		!reflect.DeepEqual(kept.told, core.EnvChange{Function: "f", Set: map[string]string{"A": "1", "B": ""}, Unset: []string{"C"}}) {
		t.Errorf("%d %s, %+v", a.status, a.body, kept.told)
	}
	kept.told = core.EnvChange{}
	for body, says := range map[string]string{`{"set":{"A":null}}`: "the value of A is null", `{"set":{"A":"1"}}{"set":{"A":"2"}}`: "something follows", `[]`: "cannot be understood"} {
		if a := ask(t, "POST", url, body); a.status != 400 || !strings.Contains(a.body, says) || kept.told.Function != "" {
			t.Errorf("%s: %d %s, %+v", body, a.status, a.body, kept.told)
		}
	}
}
