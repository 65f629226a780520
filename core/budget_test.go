package core

import (
	"sync"
	"testing"
)

func TestBudget(t *testing.T) {
	b := NewBudget(100)
	if !b.Take(60) || b.Take(41) || !b.Take(40) || b.Take(1) {
		t.Error("a budget of 100 bytes gives more, or less")
	}
	b.Give(60)
	if !b.Take(60) {
		t.Error("bytes that were given back cannot be taken")
	}
	b.Give(100)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10_000 {
				if b.Take(30) {
					b.Give(30)
				}
			}
		})
	}
	all.Wait()
	if !b.Take(100) {
		t.Error("bytes were lost")
	}
}
