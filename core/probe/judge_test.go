package probe

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

func TestAttempts(t *testing.T) {
	o := sandbox.Observation{Processes: map[int]sandbox.Process{1: {Threads: 1, Signals: 1 << 1}, 2: {Threads: 2}}}
	after := sandbox.Observation{Network: sandbox.Network{Unreachable: 2, Connections: 1, Datagrams: 3},
		Processes: map[int]sandbox.Process{1: {Threads: 1, Signals: 1<<1 | 1<<14 | 3<<31 | 1<<63}, 2: {Threads: 1}, 9: {Threads: 5, Files: map[string]string{"1": "x"}}}}
	var p core.Probe
	if why := compare(&p, o, after); why != "leaves 1 process running at import" || p.Threads != 0 || p.Files != nil ||
		!slices.Equal(p.Signals, []string{"SIGTERM", "signal 64"}) || len(p.Network) != 3 || p.Network[1] != "1 connection to its own machine" {
		t.Errorf("%q %+v", why, p)
	}
}
