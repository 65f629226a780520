package gateway

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Of a namespace that is refused much, each answer waits; the answers of another one do not, and neither does
// what has run.
func TestRefusalsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(func(_ context.Context, i core.Invocation) (core.Result, error) {
			refused := core.Errorf(core.KindExhausted, core.FaultCaller, "the queue of %s is full", i.Function).Again()
			switch core.Namespace(i.Function) {
			case "ran":
				return core.Result{Start: core.StartWarm}, refused // of what it has called
			case "served":
				return core.Result{Start: core.StartWarm, Body: []byte("1")}, nil
			}
			return core.Result{}, refused
		})
		took := func(function string, status int) time.Duration {
			began := time.Now()
			if got := send(t, g, "POST", "/run/"+function, "127.0.0.1"); got.Code != status {
				t.Errorf("%s: %d %s", function, got.Code, got.Body)
			}
			return time.Since(began)
		}
		for range freeRefusals {
			if slow := took("f.loud", 429); slow != 0 {
				t.Fatalf("one of the first refusals took %v", slow)
			}
		}
		var group sync.WaitGroup
		var mu sync.Mutex
		all := time.Duration(0)
		for range 2 * freeRefusals {
			group.Go(func() {
				slow := took("other.loud", 429)
				mu.Lock()
				defer mu.Unlock()
				all += slow
			})
		}
		for function, status := range map[string]int{"f.quiet": 429, "f": 429, "f.ran": 429, "f.served": 200} {
			for range 3 {
				if slow := took(function, status); slow != 0 {
					t.Errorf("%s took %v", function, slow)
				}
			}
		}
		group.Wait()
		if mean := all / (2 * freeRefusals); mean < slowAnswer/2 || mean > slowAnswer {
			t.Errorf("further refusals took %v", mean)
		}
		time.Sleep(10 * time.Second)
		if slow := took("f.loud", 429); slow != 0 {
			t.Errorf("after a pause a refusal took %v", slow)
		}
	})
}
