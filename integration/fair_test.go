package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Does one function's burst leave starts to the others?

// TestFairStarts asks how long a fork start of a light function takes while another function is sent 48
// events at a time, each of which needs an instance of its own, and others start cold. First come, first
// served, it took more than fifty times as long as on a quiet worker.
func TestFairStarts(t *testing.T) {
	system(t)
	w := shared(t)
	handler := "def handler(event, context):\n    return event\n"
	fresh := files{"handler.py": handler, "pipsqueak.yaml": "reuse: false\n"}
	for _, name := range []string{"fair-light", "fair-burst"} {
		w.deploy(t, name, fresh)
		forkStart(t, w, name, `{}`)
	}
	cold := fresh.with("handler.py", "import time\nuntil = time.process_time() + 0.4\nwhile time.process_time() < until:\n    pass\n"+handler)
	for i := range 3 {
		w.deploy(t, fmt.Sprint("fair-cold-", i), cold)
	}
	quiet := lightStarts(t, w, 60)

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	served := 0
	send := func(name string, together int) {
		for range together {
			group.Go(func() {
				for ctx.Err() == nil {
					a, err := w.do(context.WithoutCancel(ctx), http.MethodPost, "/run/"+name, strings.NewReader(`{}`))
					if err != nil || a.status != http.StatusOK {
						t.Errorf("%s: %v, %v", name, a, err)
						return
					}
					mu.Lock()
					served++
					mu.Unlock()
				}
			})
		}
	}
	send("fair-burst", 48)
	for i := range 3 {
		send(fmt.Sprint("fair-cold-", i), 2)
	}
	time.Sleep(time.Second)
	busy := lightStarts(t, w, 60)
	stop()
	group.Wait()
	t.Logf("p50 and p90 of a light start: %v and %v quiet, %v and %v beside %d other starts; %.0f× and %.0f×", quiet[30], quiet[54], busy[30], busy[54], served,
		float64(busy[30])/float64(quiet[30]), float64(busy[54])/float64(quiet[54]))
	if most := 30*quiet[54] + 100*time.Millisecond; busy[54] > most {
		t.Errorf("a light start takes %v, and %v on a quiet worker; more than %v is unfair", busy[54], quiet[54], most)
	}
}

// lightStarts returns how long that many starts took, sorted.
func lightStarts(t *testing.T, w *worker, n int) (took []time.Duration) {
	for range n {
		time.Sleep(20 * time.Millisecond)
		began := time.Now()
		w.run(t, "fair-light", `{}`)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}
