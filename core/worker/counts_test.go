package worker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestCounts(t *testing.T) {
	if len(countedKinds) != len(count{}.kinds) || len(countedStarts) != len(count{}.starts) || len(core.CountBuckets)+1 != len(count{}.buckets) {
		t.Fatal("a count has not the right number of places")
	}
	c := &counts{there: func(name string) bool { return name != "gone" }}
	seen := func(name string, start core.Start, took time.Duration, err error) {
		c.observe(name, core.Result{Start: start, Phases: core.Phases{Total: took}}, err)
	}
	seen("f", core.StartWarm, time.Millisecond, nil)
	seen("f", core.StartFork, 2*time.Millisecond, nil)
	seen("f", "", time.Minute, core.Errorf(core.KindTimeout, core.FaultHandler, "late"))
	seen("f", core.StartCold, time.Second, errors.New("a defect"))
	for i := range 200 {
		seen(fmt.Sprintf("g%d", i), core.StartWarm, 0, nil)
	}
	seen("gone", core.StartWarm, 0, nil) // an event that ends after its function was removed
	c.refused("f")
	c.refused("f")
	all := c.Counted()
	if len(all) != maxCounted+1 || all[len(all)-1].Function != core.OtherFunctions || all[len(all)-1].Kinds[core.KindNone] != 200-(maxCounted-1)+1 {
		t.Fatalf("%d functions, the last %+v", len(all), all[len(all)-1])
	}
	want := `{f map[internal:1 ok:2 timeout:1] map[cold:1 fork:1 none:1 warm:1] [1 1 0 0 0 1 0 0 1] 1m1.003s 2}`
	if got := fmt.Sprint(all[0]); got != want {
		t.Errorf("%s", got)
	}
	c.forget("f")
	seen("new", core.StartWarm, 0, nil)
	if got := fmt.Sprint(c.Counted()); !strings.Contains(got, "{new map[ok:1]") || strings.Contains(got, "{f ") {
		t.Errorf("%.100s", got)
	}
}

func TestEveryKindIsCounted(t *testing.T) {
	c := &counts{there: func(string) bool { return true }}
	for _, kind := range core.Kinds() {
		c.observe("f", core.Result{}, core.Errorf(kind, core.FaultWorker, "it"))
	}
	counted := c.Counted()[0].Kinds
	for _, kind := range core.Kinds() {
		if counted[kind] != 1 {
			t.Errorf("one event of the kind %s was counted %d times", kind, counted[kind])
		}
	}
}

func BenchmarkCounts(b *testing.B) {
	c := &counts{there: func(string) bool { return true }}
	result := core.Result{Start: core.StartWarm, Phases: core.Phases{Total: time.Millisecond}}
	b.ReportAllocs()
	for b.Loop() {
		c.observe("f", result, nil)
	}
}
