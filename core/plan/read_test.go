package plan

import (
	"reflect"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestRead(t *testing.T) {
	a, b, c := pkgs("a")[0], pkgs("b")[0], pkgs("c")[0]
	demand, facts := Read(core.Demand{
		Functions: []core.FunctionDemand{
			{Name: "idle", Runtime: "lang1", Packages: core.NewSet(a), Use: 0.2},
			{Name: "busy", Runtime: "lang1", Namespace: "team", Packages: core.NewSet(a, b), Use: 7},
		},
		Packages: []core.PackageCost{
			{Package: a, Runtime: "lang1", Took: time.Second, Bytes: 5, Requires: []string{"b"}},
			{Package: b, Runtime: "lang1", Asks: core.NewSet(a)},
			{Package: c, Runtime: "lang1", AsksAll: true},
		},
	})
	wantDemand := []Arrivals{
		{Shape{Runtime: "lang1", Set: core.NewSet(a)}, 1},
		{Shape{Runtime: "lang1", Namespace: "team", Set: core.NewSet(a, b)}, 7},
	}
	wantFacts := Facts{
		Asks:  Asks{{"lang1", b}: core.NewSet(a), {"lang1", c}: nil},
		Needs: Needs{a: {Requires: []string{"b"}, Took: time.Second, Bytes: 5}, b: {}, c: {}},
	}
	if !reflect.DeepEqual(demand, wantDemand) || !reflect.DeepEqual(facts, wantFacts) {
		t.Errorf("%+v, %+v", demand, facts)
	}
}
