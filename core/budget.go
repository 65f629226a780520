package core

import (
	"runtime"
	"sync/atomic"
)

// Budget is a number of bytes, parts of which are taken and given back. Its methods may be called from many
// goroutines at once.
type Budget struct {
	total int64
	taken atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(total int64) *Budget { return &Budget{total: total} }

// EventBudget returns a budget for the memory of events under way: 32 MiB, and 16 MiB more for each processor.
func EventBudget() *Budget { return NewBudget(32<<20 + int64(runtime.NumCPU())*16<<20) }

// Take takes bytes. It takes nothing and returns false if there are fewer left.
func (b *Budget) Take(bytes int64) bool {
	if b.taken.Add(bytes) <= b.total {
		return true
	}
	b.taken.Add(-bytes)
	return false
}

// Give gives bytes back that were taken.
func (b *Budget) Give(bytes int64) { b.taken.Add(-bytes) }

// Total returns the bytes of the whole budget.
func (b *Budget) Total() int64 { return b.total }
