package worker

import "testing"

func TestInstancesWith(t *testing.T) {
	for limit, want := range map[uint64]int{0: 1, 256: 1, 400: 2, 1024: 22, 4096: 125, 1 << 20: maxInstances, 1 << 63: maxInstances} {
		if got := instancesWith(limit); got != want {
			t.Errorf("with %d descriptors %d instances", limit, got)
		}
	}
}
