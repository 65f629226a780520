package plan

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
)

const (
	improvements = 30 // tries
	maxImproved  = 16 // nodes of a tree that is improved
)

// fill adds to what is chosen until memory is full: always the choice with the most benefit for each byte. What
// a choice is good for only falls while others are chosen, so it is weighed again when it seems the best. Those of
// without are not chosen.
func (s *planner) fill(without []int) {
	q := &ranking{benefit: make([]float64, len(s.pool)), price: make([]float64, len(s.pool))}
	for i := range s.pool {
		if q.benefit[i] = s.benefit(i); q.benefit[i] > 0 && !slices.Contains(without, i) {
			q.price[i] = s.price(i)
			q.order = append(q.order, i)
		}
	}
	heap.Init(q)
	for len(q.order) > 0 {
		best := q.order[0]
		benefit := s.benefit(best)
		if benefit <= 0 || s.bytes+q.price[best] > float64(s.budget) {
			heap.Pop(q)
			continue
		}
		if benefit < q.benefit[best] {
			q.benefit[best] = benefit
			heap.Fix(q, 0)
			continue
		}
		heap.Pop(q)
		s.choose(best, q)
	}
}

// begin sets what is chosen.
func (s *planner) begin(chosen []int) {
	s.chosen, s.bytes = nil, 0
	s.have, s.shared = make([]float64, len(s.index.wishes)), make([]float64, len(s.pool))
	q := &ranking{order: slices.Clone(chosen), benefit: make([]float64, len(s.pool)), price: make([]float64, len(s.pool))}
	for _, c := range chosen {
		q.price[c] = s.price(c)
		s.choose(c, q)
	}
	for i := range s.pool {
		for _, c := range chosen {
			if s.pool[c].bytes > s.shared[i] && s.becomes(c, i) {
				s.shared[i] = s.pool[c].bytes
			}
		}
	}
}

// saved is what all starts save by what is chosen.
func (s *planner) saved() (sum float64) {
	for i, w := range s.index.wishes {
		sum += w.count * s.have[i]
	}
	return sum
}

// improve drops some of what is chosen, fills memory with others, and keeps what is better. Large trees are left
// as they are, because each try takes as long as it takes to fill memory.
func (s *planner) improve() {
	if len(s.chosen) > maxImproved {
		return
	}
	random := rand.New(rand.NewPCG(3, 4))
	best, value := slices.Clone(s.chosen), s.saved()
	for range improvements {
		var kept []int
		loss := s.losses()
		worst := slices.Clone(best)
		slices.SortFunc(worst, func(a, b int) int { return cmp.Or(cmp.Compare(loss[a], loss[b]), cmp.Compare(a, b)) })
		worst = worst[:min(len(worst), len(worst)*3/10+3)]
		for _, c := range best {
			dropped := 0.04
			if slices.Contains(worst, c) {
				dropped = 0.33
			}
			if random.Float64() >= dropped {
				kept = append(kept, c)
			}
		}
		s.begin(kept)
		s.fill(best) // what was dropped is chosen again only when nothing else is
		s.fill(nil)
		if v := s.saved(); v > value {
			best, value = slices.Clone(s.chosen), v
		} else {
			s.begin(best)
		}
	}
}

// losses is what all starts lose for each byte without one of the chosen.
func (s *planner) losses() map[int]float64 {
	first, second := make([]int, len(s.have)), make([]float64, len(s.have))
	top := make([]float64, len(s.have))
	for _, c := range s.chosen {
		for _, w := range s.pool[c].wishes {
			if g := s.pool[c].gain; g > top[w] {
				first[w], top[w], second[w] = c, g, top[w]
			} else {
				second[w] = max(second[w], g)
			}
		}
	}
	loss := map[int]float64{}
	for w := range first {
		if top[w] > 0 {
			loss[first[w]] += s.index.wishes[w].count * (top[w] - second[w])
		}
	}
	for _, c := range s.chosen {
		loss[c] /= s.pool[c].bytes - s.shared[c] + float64(s.machine.NodeBytes)
	}
	return loss
}

// choose adds a choice to the plan, and finds the new price of those whose parent or child it may be.
func (s *planner) choose(best int, q *ranking) {
	one := &s.pool[best]
	moved := []int{best} // nodes with another parent
	s.bytes += q.price[best]
	for _, c := range s.chosen {
		if s.shared[c] < one.bytes && s.becomes(best, c) {
			s.shared[c] = one.bytes
			moved = append(moved, c)
		}
	}
	s.chosen = append(s.chosen, best)
	for _, w := range one.wishes {
		s.have[w] = max(s.have[w], one.gain)
	}
	for _, i := range q.order {
		changed := false
		if i != best && s.becomes(best, i) {
			changed, s.shared[i] = true, max(s.shared[i], one.bytes)
		}
		for j := 0; j < len(moved) && !changed; j++ {
			changed = s.becomes(i, moved[j])
		}
		if changed {
			q.price[i] = s.price(i)
		}
	}
	heap.Init(q)
}

// becomes says whether choice i may be the parent of j.
func (s *planner) becomes(i, j int) bool {
	return s.pool[i].size < s.pool[j].size && mayBecome(s.pool[i].set, s.pool[i].asked, s.pool[j].set)
}

// benefit is what a choice saves all starts, beyond what is chosen, in nanoseconds.
func (s *planner) benefit(i int) (sum float64) {
	gain := s.pool[i].gain
	for _, w := range s.pool[i].wishes {
		if more := gain - s.have[w]; more > 0 {
			sum += more * s.index.wishes[w].count
		}
	}
	return sum
}

// price is the memory that a choice takes: less what it shares with its parent, and less what others share with
// it from then on.
func (s *planner) price(i int) float64 {
	bytes := s.pool[i].bytes
	price := bytes - s.shared[i] + float64(s.machine.NodeBytes)
	for _, c := range s.chosen {
		if s.shared[c] < bytes && s.becomes(i, c) {
			price -= bytes - s.shared[c]
		}
	}
	return price
}

// ranking is a heap of choices, the most benefit for each byte on top.
type ranking struct {
	order          []int
	benefit, price []float64
}

func (q *ranking) Len() int { return len(q.order) }
func (q *ranking) Less(i, j int) bool {
	a, b := q.order[i], q.order[j]
	if x, y := q.value(a), q.value(b); x != y {
		return x > y
	}
	return a < b
}
func (q *ranking) Swap(i, j int) { q.order[i], q.order[j] = q.order[j], q.order[i] }
func (q *ranking) Push(any)      { panic("nothing is added") }
func (q *ranking) Pop() any {
	last := q.order[len(q.order)-1]
	q.order = q.order[:len(q.order)-1]
	return last
}

// value is the benefit for each byte. What takes no memory, or frees some, costs a byte.
func (q *ranking) value(i int) float64 { return q.benefit[i] / max(q.price[i], 1) }
