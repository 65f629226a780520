package supply

// turns lets one preparation at a time go on: probes would disturb each other's times, and packages that two
// functions share are prepared once. A deploy that somebody waits for goes before all work that nobody waits
// for, but for one piece of it, however much of that a start brings.
//
// Both are semaphores of one place, for a channel passes the place on in the order of those who wait. Mutex
// order: later, now.
type turns struct {
	now   chan struct{}
	later chan struct{} // among work that nobody waits for: whoever has it is the only one of them that waits for now
}

func newTurns() turns {
	return turns{now: make(chan struct{}, 1), later: make(chan struct{}, 1)}
}

// takeLater takes a turn for work that nobody waits for. The caller calls end when it is done.
func (t turns) takeLater() (end func()) {
	t.later <- struct{}{}
	t.now <- struct{}{}
	return func() { <-t.now; <-t.later }
}

// take takes a turn for work that somebody waits for. When others have the turn, it calls wait, and the
// function that wait returns once the turn has come. The caller calls end when it is done.
func (t turns) take(wait func() (come func())) (end func()) {
	end = func() { <-t.now }
	select {
	case t.now <- struct{}{}:
		return end
	default:
	}
	come := wait()
	t.now <- struct{}{}
	come()
	return end
}
