package core

import (
	"runtime"
	"sync"
)

// Budget is a number of bytes, parts of which namespaces take and give back. One namespace has at most half,
// so that there is room for another. Its methods may be called from many goroutines at once.
type Budget struct {
	total int64
	mu    sync.Mutex
	taken int64
	by    map[string]int64 // namespace → bytes
}

// NewBudget returns a budget of so many bytes.
func NewBudget(total int64) *Budget { return &Budget{total: total, by: map[string]int64{}} }

// EventBudget returns a budget for the memory of events under way: 32 MiB, and 16 MiB more for each
// processor.
func EventBudget() *Budget { return NewBudget(32<<20 + int64(runtime.NumCPU())*16<<20) }

// Take takes bytes for a namespace. It takes nothing and returns false if there are fewer left, or would be
// of its half.
func (b *Budget) Take(namespace string, bytes int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken+bytes > b.total || b.by[namespace]+bytes > b.total/2 {
		return false
	}
	b.taken += bytes
	b.by[namespace] += bytes
	return true
}

// Give gives bytes back that were taken for a namespace.
func (b *Budget) Give(namespace string, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken -= bytes
	if b.by[namespace] -= bytes; b.by[namespace] == 0 {
		delete(b.by, namespace)
	}
}

// Greatest returns the namespace that has most.
func (b *Budget) Greatest() (namespace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for one, bytes := range b.by {
		if bytes > b.by[namespace] {
			namespace = one
		}
	}
	return namespace
}

// Total returns the bytes of the whole budget.
func (b *Budget) Total() int64 { return b.total }

// Share returns the bytes that one namespace may have.
func (b *Budget) Share() int64 { return b.total / 2 }
