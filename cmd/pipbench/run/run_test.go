package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/trace"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// platform is a server of functions a and b, which answers as do says: with a status and a change of the
// right answer.
type platform struct {
	*httptest.Server
	do func(function string, event functions.Event) (status, off int)
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event functions.Event
	name := strings.TrimPrefix(r.URL.Path, "/run/")
	text, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(text, &event); err != nil || r.Method != http.MethodPost {
		http.Error(w, "no event", http.StatusBadRequest)
		return
	}
	status, n := p.do(name, event)
	for _, b := range []byte("value of " + name + event.Nonce) {
		n = (n*31 + int(b)) % 1000003
	}
	w.Header().Set("Pipsqueak-Start", "warm")
	w.Header().Set("Server-Timing", "handler;dur=1.5, total;dur=2")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"function": %q, "answer": %d}`, name, n)
}

// bench is a platform, its functions, and a trace in which each is called every few milliseconds.
func bench(t *testing.T, events int, every float64, do func(string, functions.Event) (status, off int)) (Target, Options) {
	t.Helper()
	p := &platform{do: do}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	dir := t.TempDir()
	set := functions.Set{Functions: []functions.Function{{Name: "a", Language: "python", Values: "value of a"}, {Name: "b", Language: "node", Values: "value of b"}}}
	text, err := json.Marshal(set)
	coretest.Must(t, err)
	coretest.Must(t, os.Mkdir(filepath.Join(dir, "functions"), 0o755))
	coretest.Must(t, os.WriteFile(filepath.Join(dir, "functions/functions.json"), text, 0o644))
	tr := trace.Trace{Head: trace.Head{Model: "even", Duration: float64(events) * every, Speed: 1}}
	for i := range events {
		tr.Events = append(tr.Events, trace.Event{At: float64(i) * every, Function: []string{"a", "b"}[i%2], Wait: 1})
	}
	o := Options{Dir: dir, Trace: filepath.Join(dir, "trace"), Out: filepath.Join(dir, "results"), Timeout: 5 * time.Second, Progress: io.Discard}
	coretest.Must(t, tr.Write(o.Trace))
	target, err := NewURL(p.URL + "/run/{function}")
	coretest.Must(t, err)
	return target, o
}

func right(string, functions.Event) (int, int) { return 200, 0 }

// TestOpen sends events while the platform stands still: their latency is what they have waited since they
// were due.
func TestOpen(t *testing.T) {
	var once sync.Once
	var gate sync.RWMutex
	target, o := bench(t, 40, 10, func(string, functions.Event) (int, int) {
		once.Do(func() { gate.Lock(); time.AfterFunc(300*time.Millisecond, gate.Unlock) })
		gate.RLock()
		defer gate.RUnlock()
		return 200, 0
	})
	var shown strings.Builder
	o.Progress = &shown
	coretest.Must(t, Do(t.Context(), target, o))
	r, err := results.Open(o.Out)
	coretest.Must(t, err)
	if len(r.Requests) != 40 || !r.Complete || r.Head.Mode != "open" || !strings.Contains(shown.String(), "] 40/40  ") {
		t.Fatalf("%d requests of %+v; %q", len(r.Requests), r.Head, shown.String())
	}
	for _, q := range r.Requests {
		if want := 290 - q.Due; q.Latency < want || q.Latency > want+300 || q.Error != "" || math.Abs(q.Latency-q.Ended+q.Due) > 0.01 {
			t.Errorf("%+v has a latency of less than %.0f ms", q, want)
		}
		if q.Start != "warm" || q.Phases["handler"] != 1.5 || q.Phases["total"] != 2 || q.Spends != 1 || q.Language != map[string]string{"a": "python", "b": "node"}[q.Function] {
			t.Errorf("the answer's headers, or the event, are lost: %+v", q)
		}
	}
}

// TestClosed checks that clients wait for their answers, and for nothing else.
func TestClosed(t *testing.T) {
	var now, most atomic.Int64
	target, o := bench(t, 30, 1000, func(string, functions.Event) (int, int) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		time.Sleep(5 * time.Millisecond)
		return 200, 0
	})
	o.Closed = 3
	coretest.Must(t, Do(t.Context(), target, o))
	r, err := results.Open(o.Out)
	coretest.Must(t, err)
	if len(r.Requests) != 30 || r.Head.Mode != "closed 3" || most.Load() != 3 {
		t.Errorf("%d requests of %+v, %d at once", len(r.Requests), r.Head, most.Load())
	}
	for _, q := range r.Requests {
		if math.Abs(q.Latency-q.Ended+q.Sent) > 0.01 || q.Latency < 5 || q.Latency > 2000 {
			t.Errorf("%+v: the latency is the time to the answer", q)
		}
	}
}

// TestWrong has some answers wrong, others refused, and one that does not come.
func TestWrong(t *testing.T) {
	target, o := bench(t, 30, 1, func(_ string, e functions.Event) (int, int) {
		switch e.Nonce {
		case "e3", "e7":
			return 200, 1
		case "e5":
			return 503, 0
		case "e6":
			time.Sleep(time.Second)
		}
		return 200, 0
	})
	o.Timeout = 300 * time.Millisecond
	err := Do(t.Context(), target, o)
	if err == nil || !strings.Contains(err.Error(), "2 of 28 answers are wrong, the first to event ") || !strings.Contains(err.Error(), `b has to answer {"function": "b", "answer": `) {
		t.Fatalf("wrong answers: %v", err)
	}
	r, err := results.Open(o.Out)
	coretest.Must(t, err)
	for _, q := range r.Requests {
		want := map[int]string{3: "b has to answer ", 7: "b has to answer ", 5: "503 Service Unavailable: {", 6: "no answer within 300ms"}[q.Event]
		if !strings.Contains(q.Error, want) || (want == "") != (q.Error == "") || q.IsWrong != (q.Event == 3 || q.Event == 7) {
			t.Errorf("event %d: %+v, want %q", q.Event, q, want)
		}
	}
	if len(r.Requests) != 30 || !r.Complete {
		t.Errorf("%d results", len(r.Requests))
	}
}

// TestContinue interrupts a run, and goes on with it: each event has one result.
func TestContinue(t *testing.T) {
	var count atomic.Int64
	ctx, interrupt := context.WithCancel(t.Context())
	target, o := bench(t, 100, 5, func(string, functions.Event) (int, int) {
		if count.Add(1) == 40 {
			interrupt()
			time.Sleep(50 * time.Millisecond)
		}
		return 200, 0
	})
	if err := Do(ctx, target, o); err == nil || !strings.Contains(err.Error(), "interrupted; "+o.Out+" has the results so far, and --continue goes on") {
		t.Fatalf("an interrupted run: %v", err)
	}
	first, err := results.Open(o.Out)
	coretest.Must(t, err)
	if n := len(first.Requests); n < 30 || n > 60 || first.Complete {
		t.Fatalf("%d results of an interrupted run", n)
	}
	for _, q := range first.Requests {
		if q.Error != "" {
			t.Errorf("a request that was interrupted counts: %+v", q)
		}
	}
	if err := Do(t.Context(), target, o); err == nil || !strings.Contains(err.Error(), "has results already; --continue goes on with them") {
		t.Errorf("results were overwritten: %v", err)
	}
	o.Continue = true
	other := o
	other.Closed = 5
	if err := Do(t.Context(), target, other); err == nil || !strings.Contains(err.Error(), "line 1: run: mode: open, and not closed 5: these are results of another run") {
		t.Errorf("a run of another mode goes on: %v", err)
	}
	text, err := os.ReadFile(o.Out)
	coretest.Must(t, err)
	coretest.Must(t, os.WriteFile(o.Out, text[:len(text)-7], 0o644)) // as if the machine had died
	began := time.Now()
	coretest.Must(t, Do(t.Context(), target, o))
	if took := time.Since(began); took > 450*time.Millisecond {
		t.Errorf("the rest of 500 ms has taken %v", took)
	}
	r, err := results.Open(o.Out)
	coretest.Must(t, err)
	seen := map[int]int{}
	for _, q := range r.Requests {
		seen[q.Event]++
	}
	if len(seen) != 100 || len(r.Requests) != 100 || r.Continued != 1 || !r.Complete {
		t.Errorf("%d results of %d events, continued %d times", len(r.Requests), len(seen), r.Continued)
	}
	if err := Do(t.Context(), target, o); err == nil || !strings.Contains(err.Error(), "has all results") {
		t.Errorf("a complete run goes on: %v", err)
	}
}

// TestHopeless checks that a run ends when nothing answers.
func TestHopeless(t *testing.T) {
	target, o := bench(t, 1000, 10, func(string, functions.Event) (int, int) { return 404, 0 })
	began := time.Now()
	err := Do(t.Context(), target, o)
	if err == nil || !strings.Contains(err.Error(), "/run/{function}: the first 20 events have no right answer: ") || !strings.Contains(err.Error(), "404 Not Found") {
		t.Errorf("a platform without the functions: %v", err)
	}
	if time.Since(began) > 5*time.Second {
		t.Errorf("it has taken %v", time.Since(began))
	}
}

func TestBadInput(t *testing.T) {
	target, o := bench(t, 3, 1, right)
	strange := filepath.Join(t.TempDir(), "trace")
	coretest.Must(t, (&trace.Trace{Head: trace.Head{Model: "x", Speed: 1}, Events: []trace.Event{{Function: "c"}}}).Write(strange))
	for want, change := range map[string]func(*Options){
		`event 0: function: there is no "c" in `: func(o *Options) { o.Trace = strange },
		"no such file or directory":              func(o *Options) { o.Trace = "none" },
		"has no functions":                       func(o *Options) { o.Dir = t.TempDir() },
		"open none: ":                            func(o *Options) { o.Out, o.Continue = "none", true },
	} {
		changed := o
		change(&changed)
		if err := Do(t.Context(), target, changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, address := range []string{"pipsqeak", "ftp://x/", "http://", "http://%zz"} {
		if _, err := NewURL(address); err == nil || !strings.Contains(err.Error(), "--target: ") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if u, err := NewURL("http://x/y/"); err != nil || u.Template != "http://x/y/{function}" {
		t.Errorf("an address of all functions: %v, %v", u, err)
	}
}

// TestPercentiles compares what a progress shows with what it was told.
func TestPercentiles(t *testing.T) {
	p := newProgress(io.Discard, false, 0, 1000)
	for i := range 1000 {
		p.add(results.Request{Latency: float64(i + 1)})
	}
	for share, want := range map[float64]float64{0.001: 1, 0.5: 500, 0.9: 900, 0.99: 990, 1: 1000} {
		if got := p.percentile(share); got < want*0.97 || got > want*1.03 {
			t.Errorf("the percentile %g is %.1f, want %g", share, got, want)
		}
	}
}
