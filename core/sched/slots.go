package sched

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// slots counts the instances of the worker against its limit, and those of each namespace against its quotas.
type slots struct {
	limit  int
	quotas func(namespace string) core.Quotas

	mu      sync.Mutex // guards the following; taken after a pool's, never before
	used    int
	users   map[*pool]int // instances of each
	spaces  map[string]*space
	starved []*pool // pools that want a slot, the longest waiting first
	drained chan struct{}
}

// space is a namespace. It stays for as long as the worker lives.
type space struct {
	name   string
	hungry atomic.Bool // other functions want instances in the place of its own
	lanes  lanes

	// Guarded by slots.mu.
	used core.Quotas // instances and memory
}

func newSlots(config Config) *slots {
	quotas := config.Quotas
	if quotas == nil {
		quotas = func(string) core.Quotas { return core.Quotas{} }
	}
	return &slots{limit: config.MaxInstances, quotas: quotas, users: map[*pool]int{}, spaces: map[string]*space{}}
}

// space returns the namespace of that name.
func (s *slots) space(name string) *space {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.spaces[name]
	if one == nil {
		one = &space{name: name}
		s.spaces[name] = one
	}
	return one
}

// take takes a slot for p, or remembers that p wants one.
func (s *slots) take(p *pool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used < s.limit && s.quota(p) == "" {
		s.used++
		s.users[p]++
		p.space.used.Instances++
		p.space.used.Memory += p.fn.Limits.Memory
		return true
	}
	if !slices.Contains(s.starved, p) {
		s.starved = append(s.starved, p)
		s.settle()
	}
	return false
}

// quota returns the quota that keeps p from one more instance, "" when none does. The caller holds mu.
func (s *slots) quota(p *pool) string {
	return plan.Quota(s.quotas(p.space.name), p.space.used, p.fn.Limits.Memory)
}

// settle notes which namespaces may keep no idle instance: that of a starved function, and if the worker's
// limit is what starves it, each that has more than its share. The caller holds mu.
func (s *slots) settle() {
	hungry := map[*space]bool{}
	for _, q := range s.starved {
		hungry[q.space] = true
		for _, one := range s.spaces {
			hungry[one] = hungry[one] || s.over(one, q)
		}
	}
	for _, one := range s.spaces {
		one.hungry.Store(hungry[one])
	}
}

// over says whether a namespace has more than its share of the worker's instances, while q of another one is
// starved by the worker's limit. The caller holds mu.
func (s *slots) over(one *space, q *pool) bool {
	if one == q.space || s.quota(q) != "" {
		return false
	}
	others := 0
	for _, other := range s.spaces {
		if other != q.space && other.used.Instances > 0 {
			others++
		}
	}
	return one.used.Instances > plan.Share(s.limit, others)
}

// gives says whether p, which has that many instances, has to end one that became free, though it has
// requests for it: it has more than its share, or its namespace has, while others are starved. In such a
// namespace each function gives that has as many as the average, rounded down: were it rounded up, a starved
// one might wait for a second event of the few that have more.
func (s *slots) gives(p *pool, alive int) bool {
	if !p.space.hungry.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0 // functions of the namespace that have instances
	for q := range s.users {
		if q.space == p.space {
			own++
		}
	}
	for _, q := range s.starved {
		switch {
		case q.space != p.space && s.over(p.space, q) && alive >= p.space.used.Instances/max(own, 1):
			return true
		case q.space == p.space && alive > plan.Share(min(s.limit, p.space.used.Instances+1), own):
			return true
		}
	}
	return false
}

// mayEnd says whether an idle instance of a namespace may end so that p can have one more.
func (s *slots) mayEnd(p *pool) func(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	may := map[string]bool{p.space.name: true}
	for name, one := range s.spaces {
		may[name] = may[name] || s.over(one, p)
	}
	return func(namespace string) bool { return may[namespace] }
}

// bound returns the quota that keeps p from one more instance as an error, nil when none does.
func (s *slots) bound(p *pool) *core.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	quotas := s.quotas(p.space.name)
	switch which := s.quota(p); which {
	case core.QuotaInstances:
		return core.QuotaError(p.space.name, which, core.Count(quotas.Instances, "instance", "instances"))
	case core.QuotaMemory:
		return core.QuotaError(p.space.name, which, core.Count(int(quotas.Memory>>20), "MiB", "MiB")+" for its instances, by their memory_mb")
	}
	return nil
}

// of returns what the instances of a namespace have.
func (s *slots) of(namespace string) core.Quotas {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.spaces[namespace]; one != nil {
		return one.used
	}
	return core.Quotas{}
}

// put gives a slot of p back, and lets starved pools try again. The caller holds no pool's mutex.
func (s *slots) put(p *pool) {
	s.mu.Lock()
	s.used--
	p.space.used.Instances--
	p.space.used.Memory -= p.fn.Limits.Memory
	if s.users[p]--; s.users[p] == 0 {
		delete(s.users, p)
	}
	if s.used == 0 && s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
	s.mu.Unlock()
	s.feed()
}

// feed lets starved pools try again for as long as there are slots. Quotas that were raised count too.
func (s *slots) feed() {
	for p := s.next(); p != nil; p = s.next() {
		p.retry()
	}
}

// next takes a pool from the starved ones that may have a slot: one of the namespace that has the fewest, and
// of those the one that has waited longest.
func (s *slots) next() (p *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= s.limit {
		return nil
	}
	for _, q := range s.starved {
		if s.quota(q) == "" && (p == nil || q.space.used.Instances < p.space.used.Instances) {
			p = q
		}
	}
	if p != nil {
		s.starved = slices.DeleteFunc(s.starved, func(q *pool) bool { return q == p })
		s.settle()
	}
	return p
}

// empty returns a channel that is closed when no slot is in use.
func (s *slots) empty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	if s.used == 0 {
		close(c)
	} else {
		s.drained = c
	}
	return c
}
