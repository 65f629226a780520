package tree

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// lines is a log.
type lines struct{ all []string }

func (l *lines) Write(line []byte) (int, error) {
	l.all = append(l.all, string(line))
	return len(line), nil
}

// A move that no race explains is a fault of the worker's, and its line has both states.
func TestIllegalMoveIsLogged(t *testing.T) {
	within(t, plenty, func(t *testing.T, w *world, tr *Tree) {
		n, _, _ := mustStart(t, tr, fn("f"))
		log := &lines{}
		tr.config.Log = slog.New(slog.NewTextHandler(log, nil))
		for range 2 {
			n.Release(time.Now())
		}
		n.parent.apply(started)
		n.Evict()
		n.Evict() // asks, and is refused
		n.Kill()
		<-n.Done()
		n.Release(time.Now()) // its process has ended meanwhile
		want := []string{"event=release from=idle to=idle", "event=started from=ready to=busy"}
		if len(log.all) != len(want) {
			t.Fatalf("the log is %q", log.all)
		}
		for i, line := range log.all {
			if !strings.Contains(line, want[i]) || !strings.Contains(line, "level=ERROR msg=transition node=") {
				t.Errorf("line %d is %q, and is to have %q", i, line, want[i])
			}
		}
	})
}

// No fault are events that apply, events that only ask, and events that meet the end of the node.
func TestIllegal(t *testing.T) {
	faults := map[event][]state{
		made:    {parked, ready, idle, busy, leaving},
		park:    {parked, ready, idle, busy, retired},
		unpark:  {making, ready, idle, busy, leaving, retired},
		started: {parked, ready, idle, busy, retired},
		release: {making, parked, ready, idle, retired},
	}
	for from := making; from <= dead; from++ {
		for e := made; e <= end; e++ {
			_, ok := transition(from, e)
			if got, want := !ok && illegal(from, e), slices.Contains(faults[e], from); got != want {
				t.Errorf("%v in %v: a fault is %v, want %v", e, from, got, want)
			}
			if to, ok := transition(making, e); ok && from == making && e != drain && to != e.target() {
				t.Errorf("%v leads to %v, and %v is said", e, to, e.target())
			}
		}
	}
}

func TestPredicates(t *testing.T) {
	for from := making; from <= dead; from++ {
		if got, want := from.evictable(), slices.Contains([]state{parked, ready, idle, retired}, from); got != want {
			t.Errorf("%v is evictable: %v", from, got)
		}
		if got, want := from.measurable(), slices.Contains([]state{parked, ready, idle, busy, leaving, retired}, from); got != want {
			t.Errorf("%v is measurable: %v", from, got)
		}
	}
}
