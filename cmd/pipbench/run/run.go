// Package run drives a platform by a trace, and checks and measures every answer.
package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/trace"
)

// Options are how a run is done.
type Options struct {
	Dir      string // of packages and functions
	Trace    string // file
	Out      string // file of results
	Closed   int    // clients, each of which sends the next event when it has an answer; 0 sends each event when it is due
	Continue bool   // with the results of a run that was interrupted
	Timeout  time.Duration
	Progress io.Writer
	IsLive   bool // Progress is a terminal
}

// runner is a run under way.
type runner struct {
	Options
	target    Target
	trace     *trace.Trace
	functions map[string]functions.Function
	done      []bool // events that have a result from before
	begin     time.Time
	out       *results.Writer
	shown     *progress
	stop      context.CancelCauseFunc
}

// hopeless is how many events fail, and none succeeds, before a run is given up.
const hopeless = 20

// Do runs a trace, or the rest of it. An interruption leaves the results so far; a wrong answer is an error
// in the end.
func Do(ctx context.Context, target Target, o Options) (err error) {
	r := &runner{Options: o, target: target, functions: map[string]functions.Function{}}
	if err := r.read(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.out.Close()) }()
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	if err := r.deploy(ctx); err != nil {
		return err
	}
	from := r.from()
	r.begin = time.Now().Add(-from)
	r.shown = newProgress(o.Progress, o.IsLive, len(r.trace.Events)-r.left(), len(r.trace.Events))
	var watches sync.WaitGroup
	watching, unwatch := context.WithCancel(ctx)
	watches.Go(func() { r.watch(watching) })
	if o.Closed > 0 {
		r.closed(ctx)
	} else {
		r.open(ctx)
	}
	unwatch()
	watches.Wait()
	r.shown.end()
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return fmt.Errorf("interrupted; %s has the results so far, and --continue goes on", o.Out)
		}
		return err
	}
	r.out.Complete()
	return r.shown.wrong()
}

// read reads functions, trace and earlier results, and begins to write.
func (r *runner) read() error {
	set, err := functions.Open(r.Dir)
	if err != nil {
		return err
	}
	for _, f := range set.Functions {
		r.functions[f.Name] = f
	}
	if r.trace, err = trace.Open(r.Trace); err != nil {
		return err
	}
	for i, e := range r.trace.Events {
		if _, known := r.functions[e.Function]; !known {
			return fmt.Errorf("%s: event %d: function: there is no %q in %s", r.Trace, i, e.Function, r.Dir)
		}
	}
	text, err := json.Marshal([]any{set, r.trace})
	if err != nil {
		return err
	}
	mode := "open"
	if r.Closed > 0 {
		mode = "closed " + strconv.Itoa(r.Closed)
	}
	h := r.trace.Head
	head := results.Head{Target: r.target.Name(), Mode: mode, Trace: fmt.Sprintf("%s, seed %d, speed %g", h.Model, h.Seed, h.Speed),
		Digest: fmt.Sprintf("%x", sha256.Sum256(text))[:16], Events: len(r.trace.Events), Began: time.Now(), System: system()}
	r.done = make([]bool, len(r.trace.Events))
	if !r.Continue {
		r.out, err = results.Create(r.Out, head)
		return err
	}
	before, err := results.Open(r.Out)
	if err != nil {
		return err
	}
	for _, one := range before.Requests {
		if one.Event < len(r.done) {
			r.done[one.Event] = true
		}
	}
	r.out, err = before.Continue(head)
	return err
}

// system describes the machine.
func system() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease") // absent elsewhere than on Linux
	return fmt.Sprintf("%s/%s, %d processors %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), bytes.TrimSpace(release))
}

// deploy has the target make ready the functions that are called.
func (r *runner) deploy(ctx context.Context) error {
	ready := map[string]bool{}
	for i, e := range r.trace.Events {
		if r.done[i] || ready[e.Function] {
			continue
		}
		ready[e.Function] = true
		f := r.functions[e.Function]
		began := time.Now()
		did, err := r.target.Deploy(ctx, f, filepath.Join(r.Dir, "functions", f.Name), r.Continue)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted while it deployed %s; --continue goes on", f.Name)
		}
		if err != nil {
			return fmt.Errorf("deploy %s: %w", f.Name, err)
		}
		if did {
			took := time.Since(began)
			r.out.Deploy(results.Deploy{Function: f.Name, Language: f.Language, Took: ms(took)})
			fmt.Fprintf(r.Progress, "deployed %s in %v\n", f.Name, took.Round(10*time.Millisecond))
		}
		if err := r.out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// from is where in the trace the run begins: with the first event that has no result.
func (r *runner) from() time.Duration {
	for i, e := range r.trace.Events {
		if !r.done[i] {
			if i == 0 {
				return 0
			}
			return e.Due()
		}
	}
	return time.Duration(r.trace.Head.Duration * float64(time.Millisecond))
}

// left is how many events have no result.
func (r *runner) left() (n int) {
	for _, done := range r.done {
		if !done {
			n++
		}
	}
	return n
}

// open sends each event when it is due, whether others have been answered or not. If the target is at the
// number of requests that it bears at once, events wait here, and their latency counts.
func (r *runner) open(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, r.target.Most())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, e := range r.trace.Events {
		if r.done[i] {
			continue
		}
		timer.Reset(time.Until(r.begin.Add(e.Due())))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		group.Go(func() {
			r.send(ctx, i, e)
			<-slots
		})
	}
}

// closed has clients send one event after the other, without regard to when they are due.
func (r *runner) closed(ctx context.Context) {
	next := make(chan int)
	var group sync.WaitGroup
	for range r.Closed {
		group.Go(func() {
			for i := range next {
				r.send(ctx, i, r.trace.Events[i])
			}
		})
	}
	for i := range r.trace.Events {
		if r.done[i] {
			continue
		}
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	group.Wait()
}

// send sends an event, and keeps what comes of it, unless the run was interrupted meanwhile.
func (r *runner) send(ctx context.Context, i int, e trace.Event) {
	f := r.functions[e.Function]
	event := functions.Event{Nonce: "e" + strconv.Itoa(i), CPU: e.CPU, Wait: e.Wait, Memory: e.Memory}
	text, err := json.Marshal(event)
	within, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	sent := time.Now()
	var a Answer
	if err == nil {
		a, err = r.target.Invoke(within, f, text)
	}
	ended := time.Now()
	if err != nil && ctx.Err() != nil {
		return
	}
	q := results.Request{Event: i, Function: f.Name, Language: f.Language, Start: a.Start, Phases: a.Phases, Spends: e.CPU + e.Wait,
		CPU: a.CPU, Bytes: a.Bytes, Held: a.Held,
		Due: e.At, Sent: ms(sent.Sub(r.begin)), Ended: ms(ended.Sub(r.begin))}
	since := sent
	if r.Closed == 0 {
		since = r.begin.Add(e.Due())
	}
	q.Latency = ms(ended.Sub(since))
	switch {
	case err != nil && within.Err() != nil:
		q.Error = fmt.Sprintf("no answer within %v", r.Timeout)
	case err != nil:
		q.Error = err.Error()
	default:
		if err := f.Check(event.Nonce, a.Result); err != nil {
			q.Error, q.IsWrong = err.Error(), true
		}
	}
	r.out.Request(q)
	if r.shown.add(q) {
		r.stop(fmt.Errorf("%s: the first %d events have no right answer: %s", r.target.Name(), hopeless, q.Error))
	}
}

// watch shows progress, writes results to the disk, and asks the target for its memory, once a second.
func (r *runner) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if m, known := r.target.Memory(ctx); known {
			r.out.Memory(results.Memory{At: ms(time.Since(r.begin)), Bytes: m.Bytes, Functions: m.Functions})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := r.out.Flush(); err != nil {
			r.stop(err)
			return
		}
		r.shown.show()
	}
}

// ms is a duration in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
