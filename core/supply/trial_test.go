package supply

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// In a trial packages that nobody has measured have room, and what is known of the function stays what it
// was.
func TestUnmeasured(t *testing.T) {
	fn := &core.Function{Apart: map[string]string{"large": "large " + unprobed, "grpc": "grpcio starts 3 threads at import"}, Weights: map[string]int64{"large": 1, "grpc": 2}}
	if got := unmeasured(fn); got.Weights["large"] != unmeasuredBytes || got.Weights["grpc"] != 2 || fn.Weights["large"] != 1 {
		t.Errorf("%v, of the function %v", got.Weights, fn.Weights)
	}
	delete(fn.Apart, "large")
	if got := unmeasured(fn); got != fn {
		t.Errorf("%v", got.Weights)
	}
}

// What a trial has shown is noted once, without what was known, and more than can be believed is all.
func TestNote(t *testing.T) {
	var many []string
	for i := range maxChanges + 1 {
		many = append(many, fmt.Sprint("V", i))
	}
	for _, test := range []struct{ sets, want []string }{
		{nil, nil}, {[]string{"B", "A", "B"}, []string{"A", "B"}}, {[]string{"OWN", "READ", "AWS_LAMBDA_FUNCTION_NAME"}, nil}, {[]string{"A", "OWN", "PATH"}, []string{"A", "PATH"}},
		{[]string{"A", core.AllVariables}, []string{core.AllVariables}}, {many, []string{core.AllVariables}}, {many[1:], slices.Sorted(slices.Values(many[1:]))},
	} {
		fn := &core.Function{Imports: []string{"a"}, Env: map[string]string{"OWN": "1"}, Sets: []string{"READ"}}
		if untried(fn); fn.Watched || !slices.Equal(fn.Changes, []string{core.AllVariables}) {
			t.Errorf("of one that nobody has tried %+v", fn)
		}
		if note(fn, Trial{HandlerReport: core.HandlerReport{Sets: test.sets}}); !fn.Watched || !slices.Equal(fn.Changes, test.want) {
			t.Errorf("of %v is noted %v, want %v", test.sets, fn.Changes, test.want)
		}
	}
	fn := &core.Function{}
	if untried(fn); !fn.Watched || fn.Changes != nil {
		t.Errorf("of one that imports nothing %+v", fn)
	}
}

// A trial counts as overtaken only when something that may have been ahead of the handler looks at what it
// sets.
func TestOvertook(t *testing.T) {
	packages := synthetic(3, probed(t), "")
	packages[0].Probe.Reads, packages[0].Probe.Asks = []string{"MODE"}, []string{"./config"}
	packages[1].Probe.Asks, packages[2].Probe.Asks = nil, nil
	all := core.NewSet(packages[0].Package, packages[1].Package, packages[2].Package)
	for _, test := range []struct {
		imports, sets []string
		aside         core.Set
		apart         map[string]string
		want          bool
	}{
		{imports: []string{"package0"}, sets: nil},
		{imports: []string{"package0"}, sets: []string{"OTHER"}},
		{imports: []string{"package0"}, sets: []string{"MODE"}, want: true},
		{imports: []string{"package1"}, sets: []string{"MODE"}, want: true}, // a zygote may have loaded it all the same
		{imports: []string{"package0"}, sets: []string{"./"}, want: true},
		{imports: []string{"package0"}, sets: []string{"@argv"}},
		{imports: []string{"package1"}, sets: []string{core.AllVariables}, want: true},
		{imports: []string{"package1"}, sets: []string{"=package1"}, want: true},
		{imports: []string{"package1"}, sets: []string{"=json"}},
		{imports: []string{"package0"}, sets: []string{"MODE"}, aside: all[:1], apart: map[string]string{"package0": "package0 reads it"}},
		{imports: []string{"package1", "json"}, sets: []string{"OTHER"}, apart: map[string]string{"json": "json " + unprobed}},
		{imports: []string{"package1", "json"}, sets: []string{"OTHER"}, want: true}, // nobody knows what it reads
	} {
		fn := &core.Function{Packages: all, Imports: test.imports, Aside: test.aside, Apart: test.apart}
		if got := overtook(fn, Trial{HandlerReport: core.HandlerReport{Sets: test.sets}}, packages); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
		if len(fn.Changes) > 0 {
			t.Error("it has noted what it was only to look at")
		}
	}
}
