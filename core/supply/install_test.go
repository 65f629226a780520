package supply

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestInTurn(t *testing.T) {
	packages := []core.Locked{
		{Name: "a", Version: "1", Requires: []string{"c==1", "b==1"}, Scripts: true},
		{Name: "b", Version: "1"},
		{Name: "c", Version: "1", Requires: []string{"d==1", "a==1"}, Scripts: true}, // in a circle
		{Name: "@scope+d", Version: "1"},
		{Name: "e", Version: "1"},
	}
	for _, test := range []struct {
		allow []string
		want  string
	}{
		{[]string{"a", "c"}, "[b @scope+d e] [c] [a]"},
		{[]string{"a", "c", "@scope/d"}, "[b e] [c] [a] [@scope+d]"},
		{[]string{"b", "e", "@scope/d"}, "[c] [b] [a] [@scope+d] [e]"},
	} {
		got := ""
		for _, turn := range inTurn(packages, test.allow) {
			var names []string
			for _, p := range turn {
				names = append(names, p.Name)
			}
			got += fmt.Sprint(" ", names)
		}
		if got != " "+test.want {
			t.Errorf("allowed %v: %s, want %s", test.allow, got, test.want)
		}
	}
	err := refuseScripts(packages, []string{"a"})
	if !core.IsKind(err, core.KindInstall) || !slices.Contains([]string{"c==1"}, err.Error()[:4]) {
		t.Errorf("what is not allowed: %v", err)
	}
	if err := refuseScripts(packages, []string{"a", "c"}); err != nil {
		t.Error(err)
	}
}
