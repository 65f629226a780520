package compare

import (
	"math"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// TestCosts adds up what a platform tells: of a worker its memory over time, of processes what each had.
func TestCosts(t *testing.T) {
	worker := &results.Run{Requests: []results.Request{
		{Function: "a", Language: "python", Latency: 900, Phases: map[string]float64{"total": 800, "queue": 300}},
		{Function: "b", Language: "python", Latency: 100},
		{Function: "b", Language: "python", Latency: 5000, Error: "503"},
	}, Memory: []results.Memory{
		{At: 0, Bytes: 3e9, Functions: map[string]int64{"a": 1e9}},
		{At: 2000, Bytes: 4e9, Functions: map[string]int64{"a": 1e9, "b": 2e9, "gone": 5e8}},
		{At: 3000, Bytes: 9e9},
	}}
	processes := &results.Run{Requests: []results.Request{
		{Function: "c", Language: "node", Latency: 100, CPU: 80, Bytes: 2e9, Held: 500},
		{Function: "c", Language: "node", Latency: 100, CPU: 20, Bytes: 1e9, Held: 1000},
	}}
	for i, want := range [][]Cost{{
		{"r", All, Common, 0, 0, 0, 2*2 + 1},
		{"r", "python", All, 2, 0.6, 0, 5},
		{"r", "python", "a", 1, 0.5, 0, 3},
		{"r", "python", "b", 1, 0.1, 0, 2},
	}, {
		{"r", "node", All, 2, 0.2, 0.1, 2},
		{"r", "node", "c", 2, 0.2, 0.1, 2},
	}} {
		got := Costs("r", []*results.Run{worker, processes}[i])
		if len(got) != len(want) {
			t.Errorf("%+v", got)
			continue
		}
		for j, c := range got {
			near := func(a, b Number) bool { return math.Abs(float64(a-b)) < 1e-9 }
			w := want[j]
			if c.Language != w.Language || c.Function != w.Function || c.Requests != w.Requests || !near(c.Busy, w.Busy) || !near(c.Processor, w.Processor) || !near(c.Memory, w.Memory) {
				t.Errorf("%+v, want %+v", c, w)
			}
		}
	}
}
