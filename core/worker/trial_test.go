package worker

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// In a trial packages that nobody has measured have room, and what is known of the function stays what it was.
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
