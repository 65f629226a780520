package compare

import (
	"cmp"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// Common is what no function has for itself: of Pipsqueak, the zygotes.
const Common = "common"

// Cost is what a function, or all of a language, has cost in a run.
type Cost struct {
	Run      string `json:"run"`
	Language string `json:"language"`
	Function string `json:"function"` // All for all of the language
	Requests int    `json:"requests"`
	// Busy is for how many seconds requests were served: without their time in queues, if the target says
	// that.
	Busy      Number `json:"busy_s"`
	Processor Number `json:"processor_s"` // seconds of the processors, if the target says so
	// Memory is bytes times seconds, in 10^9: of instances, idle ones too, where the target tells its memory
	// over time; otherwise of what each request had for as long as it had it.
	Memory Number `json:"memory_gb_s"`
}

// Costs are those of a run: of each function, of each language, and what is common to all, the dearest first.
func Costs(name string, r *results.Run) (all []Cost) {
	byFunction := map[string]*Cost{}
	for _, q := range r.Requests {
		if q.Error != "" {
			continue
		}
		c := byFunction[q.Function]
		if c == nil {
			c = &Cost{Run: name, Language: q.Language, Function: q.Function}
			byFunction[q.Function] = c
		}
		c.Requests++
		busy := q.Latency
		if total := q.Phases["total"]; total > 0 {
			busy = total - q.Phases["queue"]
		}
		c.Busy += Number(busy / 1e3)
		c.Processor += Number(q.CPU / 1e3)
		c.Memory += Number(float64(q.Bytes) * q.Held / 1e12)
	}
	common := Cost{Run: name, Language: All, Function: Common}
	for i := 1; i < len(r.Memory); i++ {
		m, seconds := r.Memory[i-1], (r.Memory[i].At-r.Memory[i-1].At)/1e3
		rest := m.Bytes
		for function, bytes := range m.Functions {
			if c := byFunction[function]; c != nil {
				c.Memory += Number(float64(bytes) * seconds / 1e9)
				rest -= bytes
			}
		}
		common.Memory += Number(float64(rest) * seconds / 1e9)
	}
	for _, c := range byFunction {
		all = append(all, *c)
	}
	all = append(all, languages(all)...)
	if common.Memory > 0 {
		all = append(all, common)
	}
	slices.SortFunc(all, func(a, b Cost) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Memory, a.Memory), cmp.Compare(b.Busy, a.Busy), cmp.Compare(a.Function, b.Function))
	})
	return all
}

// languages are the sums of costs by language.
func languages(costs []Cost) (all []Cost) {
	for _, c := range costs {
		i := slices.IndexFunc(all, func(sum Cost) bool { return sum.Language == c.Language })
		if i < 0 {
			all = append(all, Cost{Run: c.Run, Language: c.Language, Function: All})
			i = len(all) - 1
		}
		sum := &all[i]
		sum.Requests += c.Requests
		sum.Busy += c.Busy
		sum.Processor += c.Processor
		sum.Memory += c.Memory
	}
	return all
}

// rank has what is common first, then languages, then functions.
func rank(c Cost) int {
	switch c.Function {
	case Common:
		return 0
	case All:
		return 1
	}
	return 2
}
