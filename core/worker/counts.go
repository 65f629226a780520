package worker

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxCounted is how many functions are counted by name: those that had an event first. docs/operations.md
// says so.
const maxCounted = 100

// What events are counted by; what is not here is counted as the last.
var (
	countedKinds = [...]core.Kind{core.KindNone, core.KindException, core.KindInvalid, core.KindTimeout, core.KindExit, core.KindMemory, core.KindExhausted,
		core.KindCanceled, core.KindUnavailable, core.KindTooLarge, core.KindLoop, core.KindNotFound, core.KindConflict, core.KindUnsupported,
		core.KindInstall, core.KindBuild, core.KindImport, core.KindDenied, core.KindInternal}
	countedStarts = [...]core.Start{core.StartWarm, core.StartFork, core.StartCold, core.StartNone}
)

// counts counts the events of each function. It implements core.Counter.
type counts struct {
	there func(function string) bool // it is deployed; not asked for each event
	all   sync.Map                   // from the function's name to its *count

	mu    sync.Mutex // guards the making of a count
	named int
	other count
}

// count is of one function. It is counted in without a mutex.
type count struct {
	kinds   [len(countedKinds)]atomic.Uint64
	starts  [len(countedStarts)]atomic.Uint64
	buckets [len(core.CountBuckets) + 1]atomic.Uint64
	took    atomic.Int64 // ns
	refused atomic.Uint64
}

// observe counts an event.
func (c *counts) observe(function string, result core.Result, err error) {
	kind := core.KindNone
	if err != nil {
		kind = core.AsError(err).Kind
	}
	c.of(function).observe(kind, startOf(result), result.Phases.Total)
}

// refused counts a connection or a look-up that was refused.
func (c *counts) refused(function string) { c.of(function).refused.Add(1) }

func (c *counts) of(function string) *count {
	one, known := c.all.Load(function)
	if !known {
		one = c.find(function)
	}
	return one.(*count)
}

func (c *count) observe(kind core.Kind, start core.Start, took time.Duration) {
	c.kinds[indexOf(countedKinds[:], kind)].Add(1)
	c.starts[indexOf(countedStarts[:], start)].Add(1)
	bucket := 0
	for bucket < len(core.CountBuckets) && took > core.CountBuckets[bucket] {
		bucket++
	}
	c.buckets[bucket].Add(1)
	c.took.Add(int64(took))
}

func indexOf[T comparable](all []T, one T) int {
	if at := slices.Index(all, one); at >= 0 {
		return at
	}
	return len(all) - 1
}

func startOf(result core.Result) core.Start { return cmp.Or(result.Start, core.StartNone) }

// find returns the count of a function that has none: its own, or that of all functions that are too many.
func (c *counts) find(function string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, known := c.all.Load(function); known {
		return one
	}
	if c.named == maxCounted || !c.there(function) { // one that was removed meanwhile would have a name here for ever
		return &c.other
	}
	c.named++
	one := new(count)
	c.all.Store(function, one)
	return one
}

// forget makes room for another function.
func (c *counts) forget(function string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.all.LoadAndDelete(function); known {
		c.named--
	}
}

// Counted implements core.Counter.
func (c *counts) Counted() []core.FunctionCount {
	var all []core.FunctionCount
	c.all.Range(func(name, one any) bool {
		all = append(all, one.(*count).read(name.(string)))
		return true
	})
	slices.SortFunc(all, func(a, b core.FunctionCount) int { return cmp.Compare(a.Function, b.Function) })
	if other := c.other.read(core.OtherFunctions); len(other.Kinds) > 0 || other.Refused > 0 {
		all = append(all, other)
	}
	return all
}

func (c *count) read(name string) core.FunctionCount {
	f := core.FunctionCount{Function: name, Kinds: map[core.Kind]uint64{}, Starts: map[core.Start]uint64{}, Took: time.Duration(c.took.Load()), Refused: c.refused.Load()}
	for i := range c.kinds {
		if n := c.kinds[i].Load(); n > 0 {
			f.Kinds[countedKinds[i]] = n
		}
	}
	for i := range c.starts {
		if n := c.starts[i].Load(); n > 0 {
			f.Starts[countedStarts[i]] = n
		}
	}
	for i := range c.buckets {
		f.Buckets = append(f.Buckets, c.buckets[i].Load())
	}
	return f
}
