package probe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// compare notes what is there after an import that was not before, and returns which of it forbids a fork.
// Threads and processes do, for a fork is of one thread. Open files and sockets do, for what enters a sandbox
// has them no more, and their numbers become those of others; shared memory does, for there siblings would
// meet. Handlers of signals come along, and belong to each process. Attempts at the network do not: a zygote
// has none, and an import that needs one fails.
func compare(result *core.Probe, before, after sandbox.Observation) (why string) {
	result.Threads, result.Children = more(before, after)
	signals := uint64(0)
	for pid, p := range after.Processes {
		was, there := before.Processes[pid]
		if !there {
			continue
		}
		signals |= p.Signals &^ was.Signals
		for at, name := range p.Files {
			if was.Files[at] != name {
				result.Files = append(result.Files, name)
			}
		}
	}
	slices.Sort(result.Files)
	result.Signals = signalNames(signals)
	result.Network = attempts(before.Network, after.Network)
	var reasons []string
	if result.Threads > 0 {
		reasons = append(reasons, "starts "+core.Count(result.Threads, "thread", "threads"))
	}
	if result.Children > 0 {
		reasons = append(reasons, "leaves "+core.Count(result.Children, "process", "processes")+" running")
	}
	if len(result.Files) > 0 {
		reasons = append(reasons, "leaves open "+strings.Join(tally(result.Files), ", "))
	}
	if len(reasons) == 0 {
		return ""
	}
	return strings.Join(reasons, " and ") + " at import"
}

// more counts the threads of the processes that were there before, beyond those that they had, and the
// processes that were not.
func more(before, after sandbox.Observation) (threads, children int) {
	for pid, p := range after.Processes {
		if was, there := before.Processes[pid]; there {
			threads += max(p.Threads-was.Threads, 0)
		} else {
			children++
		}
	}
	return threads, children
}

// tally counts what is there several times.
func tally(names []string) []string {
	times := map[string]int{}
	for _, name := range names {
		times[name]++
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(times)) {
		if times[name] > 1 {
			name = fmt.Sprintf("%d times %s", times[name], name)
		}
		out = append(out, name)
	}
	return out
}

func signalNames(set uint64) (names []string) {
	for n := 1; n <= 64; n++ {
		if set&(1<<(n-1)) == 0 || n == 32 || n == 33 { // two that the C library uses for its threads
			continue
		}
		names = append(names, cmp.Or(unix.SignalName(syscall.Signal(n)), fmt.Sprintf("signal %d", n)))
	}
	return names
}

func attempts(before, after sandbox.Network) (tried []string) {
	for _, one := range []struct {
		n       int64
		one, of string
		what    string
	}{
		{after.Unreachable - before.Unreachable, "attempt", "attempts", "to reach another machine"},
		{after.Connections - before.Connections, "connection", "connections", "to its own machine"},
		{after.Datagrams - before.Datagrams, "datagram", "datagrams", "to its own machine, as look-ups of names send them"},
	} {
		if one.n > 0 {
			tried = append(tried, core.Count(int(one.n), one.one, one.of)+" "+one.what)
		}
	}
	return tried
}
