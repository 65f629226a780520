package plan

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

const (
	improvements = 100 // tries
	maxImproved  = 64  // nodes of a plan for guesses that is improved
)

// chosen is the part of the pool that the plan has so far, with what each other choice is worth beside it.
// Adding and removing one changes only what serves the same functions, and what may be its parent or child.
type chosen struct {
	*planner
	of      [][]int32 // for each wish, the choices that serve it, the highest gain first
	having  [][]int32 // for each atom, the choices that have it
	kin     []kin     // for each choice, once it has been chosen
	trifle  float64   // a benefit that is nothing but an error of rounding
	list    []int32   // what is chosen, in the order in which it was
	from    [][]int32 // for each wish, the chosen that serve it
	have    []float64 // what each wish saves
	saved   float64   // by all wishes
	bytes   float64   // of all that is chosen
	in      []bool
	benefit []float64 // what each choice saves all starts beyond what is chosen, in nanoseconds
	shared  []float64 // bytes of the heaviest of the chosen that may become it
	others  []float64 // bytes that the chosen would share with it, beyond those that they share already
}

// kin are the choices that may become one, and those that it may become.
type kin struct {
	known       bool
	under, over []int32
}

func newChosen(s *planner) *chosen {
	c := &chosen{
		planner: s, of: make([][]int32, len(s.index.wishes)), having: make([][]int32, len(s.index.atoms)), kin: make([]kin, len(s.pool)),
		from: make([][]int32, len(s.index.wishes)), have: make([]float64, len(s.index.wishes)), in: make([]bool, len(s.pool)),
		benefit: make([]float64, len(s.pool)), shared: make([]float64, len(s.pool)), others: make([]float64, len(s.pool)),
	}
	order := make([]int32, len(s.pool))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(s.pool[b].gain, s.pool[a].gain) })
	for _, i := range order {
		one := &s.pool[i]
		for _, w := range one.wishes {
			c.of[w] = append(c.of[w], i)
			c.benefit[i] += one.gain * s.index.wishes[w].count
		}
		for a := range one.set.all {
			c.having[a] = append(c.having[a], i)
		}
		c.trifle = max(c.trifle, c.benefit[i]*1e-9)
	}
	return c
}

// relatives returns the kin of a choice.
func (c *chosen) relatives(i int32) *kin {
	k := &c.kin[i]
	if k.known {
		return k
	}
	k.known = true
	one := &c.pool[i]
	for _, j := range c.of[one.wishes[0]] { // what may become one serves its wishes, too
		if c.becomes(j, i) {
			k.under = append(k.under, j)
		}
	}
	var fewest []int32
	for a := range one.set.all {
		if fewest == nil || len(c.having[a]) < len(fewest) {
			fewest = c.having[a]
		}
	}
	for _, j := range fewest {
		if c.becomes(i, j) {
			k.over = append(k.over, j)
		}
	}
	return k
}

// becomes says whether choice i may be the parent of j.
func (c *chosen) becomes(i, j int32) bool {
	return c.pool[i].size < c.pool[j].size && mayBecome(c.pool[i].set, c.pool[i].asked, c.pool[j].set)
}

// price is the memory that a choice takes: less what it shares with its parent, and less what others share
// with it from then on.
func (c *chosen) price(i int32) float64 {
	return c.pool[i].bytes - c.shared[i] + float64(c.machine.NodeBytes) - c.others[i]
}

// add chooses one.
func (c *chosen) add(i int32) {
	one := &c.pool[i]
	c.list, c.in[i] = append(c.list, i), true
	c.bytes += one.bytes - c.shared[i] + float64(c.machine.NodeBytes)
	for _, w := range one.wishes {
		c.from[w] = append(c.from[w], i)
		if one.gain > c.have[w] {
			c.serve(w, one.gain)
		}
	}
	k := c.relatives(i)
	for _, j := range k.under {
		c.others[j] += max(c.pool[j].bytes-c.shared[i], 0)
	}
	for _, j := range k.over {
		c.share(j, max(c.shared[j], one.bytes))
	}
}

// remove undoes add.
func (c *chosen) remove(i int32) {
	one := &c.pool[i]
	at := slices.Index(c.list, i)
	c.list, c.in[i] = slices.Delete(c.list, at, at+1), false
	c.bytes -= one.bytes - c.shared[i] + float64(c.machine.NodeBytes)
	for _, w := range one.wishes {
		at := slices.Index(c.from[w], i)
		c.from[w] = slices.Delete(c.from[w], at, at+1)
		if one.gain == c.have[w] {
			next := 0.0
			for _, j := range c.from[w] {
				next = max(next, c.pool[j].gain)
			}
			c.serve(w, next)
		}
	}
	k := c.relatives(i)
	for _, j := range k.under {
		c.others[j] -= max(c.pool[j].bytes-c.shared[i], 0)
	}
	for _, j := range k.over {
		if c.shared[j] > one.bytes {
			continue
		}
		heaviest := 0.0
		for _, p := range c.from[c.pool[j].wishes[0]] {
			if c.pool[p].bytes > heaviest && c.becomes(p, j) {
				heaviest = c.pool[p].bytes
			}
		}
		c.share(j, heaviest)
	}
}

// serve sets what a wish saves.
func (c *chosen) serve(w int32, gain float64) {
	was, count := c.have[w], c.index.wishes[w].count
	for _, i := range c.of[w] {
		own := c.pool[i].gain
		if own <= was && own <= gain {
			break
		}
		c.benefit[i] += count * (max(own-gain, 0) - max(own-was, 0))
	}
	c.saved += count * (gain - was)
	c.have[w] = gain
}

// share sets what a choice has of its parent.
func (c *chosen) share(i int32, bytes float64) {
	was := c.shared[i]
	if was == bytes {
		return
	}
	c.shared[i] = bytes
	if !c.in[i] {
		return
	}
	c.bytes += was - bytes
	for _, j := range c.relatives(i).under {
		c.others[j] += max(c.pool[j].bytes-bytes, 0) - max(c.pool[j].bytes-was, 0)
	}
}

// fill chooses until memory is full: always the choice with the most benefit for each byte. Those of without
// are not chosen.
func (c *chosen) fill(without []int32) {
	for {
		c.breathe()
		best, benefit, price := int32(-1), 0.0, 1.0
		room := float64(c.budget) - c.bytes
		for i, b := range c.benefit {
			if b <= c.trifle || c.in[i] {
				continue
			}
			p := c.price(int32(i))
			if p > room {
				continue
			}
			if i < c.there {
				b *= sticky
			}
			p = max(p, 1) // what takes no memory, or frees some, costs a byte
			if b*price > benefit*p && !slices.Contains(without, int32(i)) {
				best, benefit, price = int32(i), b, p
			}
		}
		if best < 0 {
			return
		}
		c.add(best)
	}
}

// prune drops what nobody starts from any more, unless others share more memory by it than it takes.
func (c *chosen) prune() {
	for _, i := range slices.Clone(c.list) {
		c.breathe()
		bytes, saved := c.bytes, c.saved
		if c.remove(i); c.saved < saved-c.trifle || c.bytes > bytes {
			c.add(i)
		}
	}
}

// set chooses a list instead of what is chosen.
func (c *chosen) set(list []int32) {
	for _, i := range slices.Clone(c.list) {
		if !slices.Contains(list, i) {
			c.remove(i)
		}
	}
	for _, i := range list {
		if !c.in[i] {
			c.add(i)
		}
	}
}

// improve drops a few of what is chosen, fills memory with others, and keeps what is better. A large plan is
// left as it is if functions are guessed, because it would only fit the guesses better, and nothing else.
func (c *chosen) improve() {
	if len(c.list) == 0 || len(c.list) > maxImproved && c.index.known < len(c.index.wishes) {
		return
	}
	random := rand.New(rand.NewPCG(3, 4))
	best, value := slices.Clone(c.list), c.saved
	for range improvements {
		dropped := c.draw(random)
		for _, d := range dropped {
			c.remove(d)
		}
		c.fill(dropped) // what was dropped is chosen again only when nothing else is
		c.fill(nil)
		if c.saved > value*(1+1e-9) {
			best, value = slices.Clone(c.list), c.saved
		} else {
			c.set(best)
		}
	}
}

// draw returns one to four of what is chosen. Most serve functions that the first one serves.
func (c *chosen) draw(random *rand.Rand) []int32 {
	first := c.list[random.IntN(len(c.list))]
	drawn := []int32{first}
	wishes := c.pool[first].wishes
	for range random.IntN(4) {
		among := c.list
		if random.IntN(3) > 0 {
			among = c.from[wishes[random.IntN(len(wishes))]]
		}
		if one := among[random.IntN(len(among))]; !slices.Contains(drawn, one) {
			drawn = append(drawn, one)
		}
	}
	return drawn
}
