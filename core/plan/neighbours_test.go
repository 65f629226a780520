package plan

import (
	"testing"
	"time"
)

func TestNeighbours(t *testing.T) {
	var n Neighbours
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		namespace string
		after     time.Duration
		several   bool
	}{
		{"a", 0, false},
		{"a", time.Hour, false},
		{"b", time.Hour, false}, // a's is long ago
		{"b", time.Millisecond, false},
		{"a", time.Millisecond, true},
		{"a", 900 * time.Millisecond, true},
		{"a", 100 * time.Millisecond, false},
		{"b", 999 * time.Millisecond, true},
		{"c", 999 * time.Millisecond, true},
		{"c", 0, true},
		{"c", time.Millisecond, false},
	} {
		now = now.Add(step.after)
		if n = n.Seen(step.namespace, now); n.Several(now) != step.several {
			t.Errorf("step %d: several is %v", i, !step.several)
		}
	}
}
