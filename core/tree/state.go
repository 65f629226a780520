package tree

// state is where a node is in its life.
type state uint32

const (
	making  state = iota // its sandbox or process is not complete yet
	parked               // a child made ahead, which waits for its import
	ready                // a zygote that forks
	idle                 // an instance that nobody holds
	busy                 // an instance that somebody holds
	leaving              // an instance that ends when it is released, or when its start has ended
	retired              // a zygote that forks no more and ends after its last child
	dying                // ended by the worker or with its parent; the process may still be there
	dead
)

func (s state) String() string {
	return [...]string{"making", "parked", "ready", "idle", "busy", "leaving", "retired", "dying", "dead"}[s]
}

// evictable says whether a node in that state may be evicted, if nothing was forked from it.
func (s state) evictable() bool {
	_, ok := transition(s, evict)
	return ok
}

// measurable says whether a node in that state has a process whose memory can be measured.
func (s state) measurable() bool { return s != making && s < dying }

// event is what can happen to a node.
type event uint8

const (
	made    event = iota // a zygote has imported everything
	park                 // a child made ahead stands in its sandbox
	unpark               // a start takes a child made ahead
	started              // an instance has imported its handler; the caller of Start holds it
	lease                // somebody takes hold of it
	release              // the holder gives it back
	drain                // end as soon as nobody holds it
	retire               // fork no more
	evict                // end if nobody holds it
	kill                 // end now
	end                  // the process has ended
)

func (e event) String() string {
	return [...]string{"made", "park", "unpark", "started", "lease", "release", "drain", "retire", "evict", "kill", "end"}[e]
}

// target is the state that the event leads to where nothing else has happened.
func (e event) target() state {
	return [...]state{ready, parked, making, busy, busy, idle, dying, retired, dying, dying, dead}[e]
}

// transition is the whole life of a node. It returns false for an event that does not apply in that state.
//
// A zygote:
//
//	making ──made──▶ ready
//	   │               │
//	   └──retire──▶ retired ◀─ retire     (made leaves it retired)
//
// An instance:
//
//	making ──started──▶ busy ──release──▶ idle
//	│    ▲               ▲ │                │
//	park unpark          │ drain            │
//	▼    │               └─┼─────lease──────┘
//	parked                 ▼
//	         drain of   leaving ──release──▶ dying     (started leaves it leaving)
//	         making ───────▲
//
// Either: kill leads from every state before dying to dying, evict from those of nodes that nobody holds
// (parked, ready, idle, retired), drain from parked and idle. The end of the process leads from every state
// to dead.
func transition(from state, e event) (to state, ok bool) {
	switch e {
	case made:
		switch from {
		case making:
			return ready, true
		case retired:
			return retired, true
		}
	case park:
		return parked, from == making
	case unpark:
		return making, from == parked
	case started:
		switch from {
		case making:
			return busy, true
		case leaving:
			return leaving, true
		}
	case lease:
		return busy, from == idle
	case release:
		switch from {
		case busy:
			return idle, true
		case leaving:
			return dying, true
		}
	case drain:
		switch from {
		case making, busy, leaving:
			return leaving, true
		case parked, idle:
			return dying, true
		}
	case retire:
		return retired, from == making || from == ready
	case evict:
		return dying, from == parked || from == ready || from == idle || from == retired
	case kill:
		return dying, from < dying
	case end:
		return dead, from < dead
	}
	return from, false
}

// illegal says whether an event that does not apply in that state is a fault of the worker's. It is none when
// the event only asks for something, or when the node may have ended, or have been drained, at the same
// moment.
func illegal(from state, e event) bool {
	switch e {
	case lease, drain, retire, evict, kill, end:
		return false
	case park:
		return from < dying && from != leaving
	}
	return from < dying
}
