package egress

import "sync"

// questions are those that instances are waiting for answers to.
type questions struct {
	router *Router
	mu     sync.Mutex
	each   map[*Port]int
	all    int
}

// begin reports whether one more of an instance may be looked up. Who begins ends it.
func (q *questions) begin(p *Port) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.each[p] == questionsEach || q.all == questionsAll {
		return false
	}
	q.each[p]++
	q.all++
	return true
}

func (q *questions) end(p *Port) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all--
	if q.each[p]--; q.each[p] == 0 {
		delete(q.each, p)
	}
}
