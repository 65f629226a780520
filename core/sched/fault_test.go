package sched

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestUnfit: an instance answers an event that leaves too much behind, and then ends, however the event ended
// and whoever still waited for it.
func TestUnfit(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		first, err := r.run(t.Context(), fn("f"), `1`)
		if err != nil {
			t.Fatal(err)
		}
		r.w.declare("full of zombies")
		second, err := r.run(t.Context(), fn("f"), `2`)
		if err != nil || string(second.Body) != "2" || second.Node != first.Node {
			t.Errorf("%+v %v", second, err)
		}
		r.w.on(func(b *box, _ *request) { b.answer('X', []byte(`{"type":"E","message":"no"}`)) })
		third, err := r.run(t.Context(), fn("f"), `3`)
		if !core.IsKind(err, core.KindException) || third.Node == first.Node {
			t.Errorf("%+v %v", third, err)
		}
		leaving, leave := context.WithCancel(t.Context())
		r.w.on(func(b *box, _ *request) { leave(); time.Sleep(time.Second); b.answer('R', []byte("4")) })
		fourth, err := r.run(leaving, fn("f"), `4`)
		if !core.IsKind(err, core.KindCanceled) {
			t.Errorf("%+v %v", fourth, err)
		}
		time.Sleep(2 * time.Second)
		r.w.declare("")
		r.w.on(slow(0))
		if fifth, err := r.run(t.Context(), fn("f"), `5`); err != nil || fifth.Start == core.StartWarm {
			t.Errorf("%+v %v", fifth, err)
		}
		synctest.Wait()
		want := []string{}
		for _, node := range []core.NodeID{second.Node, third.Node, fourth.Node} {
			want = append(want, fmt.Sprint("f id-1 ", node, " full of zombies"))
		}
		if r.w.mu.Lock(); !slices.Equal(r.w.ended, want) || r.w.alive != 1 {
			t.Errorf("%d instances live, %q were retired, want %q", r.w.alive, r.w.ended, want)
		}
		r.w.mu.Unlock()
	})
}

func TestHandlerFaults(t *testing.T) {
	tests := []struct {
		name   string
		handle func(b *box, r *request)
		kind   core.Kind
		whose  core.Fault
		says   string
		kept   bool // the instance serves on
	}{
		{"raises", func(b *box, r *request) {
			b.answer('X', []byte(`{"type":"ValueError","message":"no","stack":["a","b"]}`))
		}, core.KindException, core.FaultHandler, "ValueError: no", true},
		{"dies and says so", func(b *box, r *request) {
			b.answer('D', []byte(`{"type":"SIGSEGV","message":"no such memory","stack":["a","b"]}`))
		}, core.KindExit, core.FaultHandler, "SIGSEGV: no such memory", false},
		{"refuses", func(b *box, r *request) { b.answer('L', []byte(`{"kind":"invalid","message":"a set is not JSON"}`)) }, core.KindInvalid, core.FaultHandler, "a set", true},
		{"too large, told", func(b *box, r *request) { b.answer('L', []byte(`{"kind":"too_large","message":"50 MB"}`)) }, core.KindTooLarge, core.FaultHandler, "50 MB", true},
		{"a bit too large", func(b *box, r *request) { b.answer('R', make([]byte, core.MaxResult+1)) }, core.KindTooLarge, core.FaultHandler, "6291457", true},
		{"far too large", func(b *box, r *request) { b.far.Write([]byte{0x7f, 0, 0, 0, 'R'}) }, core.KindTooLarge, core.FaultHandler, "bytes", false},
		{"unknown frame", func(b *box, r *request) { b.answer('Q', nil) }, core.KindExit, core.FaultHandler, "descriptor 4", false},
		{"empty frame", func(b *box, r *request) { b.far.Write([]byte{0, 0, 0, 0, 'R'}) }, core.KindExit, core.FaultHandler, "descriptor 4", false},
		{"two answers", func(b *box, r *request) {
			one := append([]byte{0, 0, 0, 34, 'R'}, b.token+"1"...)
			b.far.Write(append(one, one...))
		}, core.KindExit, core.FaultHandler, "descriptor 4", false},
		{"answer of another", func(b *box, r *request) { b.write('R', []byte(strings.Repeat("0", 32)+"1")) }, core.KindExit, core.FaultHandler, "not its own", false},
		{"answer of nobody", func(b *box, r *request) { b.write('R', []byte("1")) }, core.KindExit, core.FaultHandler, "not its own", false},
		{"no JSON", func(b *box, r *request) { b.answer('R', []byte("[Inf]")) }, core.KindInvalid, core.FaultHandler, "result is not JSON", true},
		{"two values", func(b *box, r *request) { b.answer('R', []byte("1 2")) }, core.KindInvalid, core.FaultHandler, "result is not JSON", true},
		{"nothing", func(b *box, r *request) { b.answer('R', nil) }, core.KindInvalid, core.FaultHandler, "result is not JSON", true},
		{"no UTF-8", func(b *box, r *request) { b.answer('R', []byte("\"\xff\"")) }, core.KindInvalid, core.FaultHandler, "not in UTF-8: byte 1", true},
		{"nested too deep", func(b *box, r *request) { b.answer('R', []byte(strings.Repeat("[", 513)+strings.Repeat("]", 513))) }, core.KindInvalid, core.FaultHandler, "over 512", true},
		{"a death that is none", func(b *box, r *request) { b.answer('D', []byte(`{`)) }, core.KindInternal, core.FaultDriver, "exception", false},
		{"an exception that is none", func(b *box, r *request) { b.answer('X', []byte(`{`)) }, core.KindInternal, core.FaultDriver, "exception", false},
		{"hangs", func(b *box, r *request) { <-b.done }, core.KindTimeout, core.FaultHandler, "30s", false},
		{"exits", func(b *box, r *request) { b.die(core.Exit{Code: 3, Known: true}) }, core.KindExit, core.FaultHandler, "code 3", false},
		{"crashes in the middle of its answer", func(b *box, r *request) {
			b.far.Write([]byte{0, 0, 0, 9, 'R', '1'})
			b.die(core.Exit{Signal: 11, Known: true})
		}, core.KindExit, core.FaultHandler, "signal 11", false},
		{"is killed", func(b *box, r *request) { b.die(core.Exit{Signal: 9, Known: true}) }, core.KindExit, core.FaultHandler, "signal 9", false},
		{"ends among many", func(b *box, r *request) { b.die(core.Exit{Signal: 6, Crowded: true, Known: true}) }, core.KindExit, core.FaultHandler, "more processes and threads than it may have", false},
		{"runs out of memory", func(b *box, r *request) { b.die(core.Exit{Signal: 9, OutOfMemory: true, Known: true}) }, core.KindMemory, core.FaultHandler, "268435456", false},
		{"closes its endpoint", func(b *box, r *request) { b.far.Close() }, core.KindExit, core.FaultHandler, "closed the connection", false},
		{"loses its zygote", func(b *box, r *request) { b.w.box("zygote-1").die(core.Exit{Signal: 9, Known: true}) }, core.KindUnavailable, core.FaultWorker, "zygote", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			within(t, 9, func(t *testing.T, r *rig) {
				first, err := r.run(t.Context(), fn("f"), `1`)
				if err != nil {
					t.Fatal(err)
				}
				r.w.on(test.handle)
				res, err := r.run(t.Context(), fn("f"), `1`)
				if e := fault(t, err, test.kind, test.whose); !strings.Contains(e.Message, test.says) {
					t.Errorf("says %q", e.Message)
				}
				if res.Node != first.Node || res.Phases.Total == 0 && test.name == "hangs" {
					t.Errorf("%+v", res)
				}
				r.w.on(slow(0))
				synctest.Wait()
				after, err := r.run(t.Context(), fn("f"), `1`)
				if err != nil || (after.Node == first.Node) != test.kept {
					t.Errorf("after it: %+v %v", after, err)
				}
			})
		})
	}
}

func TestCallerThatGoesAway(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		f := fn("f")
		first, _ := r.run(t.Context(), f, `1`)
		r.w.on(slow(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := r.run(ctx, f, `"unheard"`)
		fault(t, err, core.KindCanceled, core.FaultCaller)
		if time.Since(began) != 100*time.Millisecond {
			t.Errorf("it was told after %v", time.Since(began))
		}
		time.Sleep(time.Second)
		if res, err := r.run(t.Context(), f, `"heard"`); err != nil || res.Node != first.Node || string(res.Body) != `"heard"` {
			t.Errorf("%+v %v", res, err)
		}
		// While an instance is being started for it: the instance is kept.
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = r.run(ctx, fn("g"), `1`)
		fault(t, err, core.KindCanceled, core.FaultCaller)
		time.Sleep(time.Second)
		if res, err := r.run(t.Context(), fn("g"), `1`); err != nil || res.Start != core.StartWarm {
			t.Errorf("%+v %v", res, err)
		}
		// Unheard until its deadline: it is killed then.
		r.w.on(slow(time.Hour))
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.run(ctx, fn("g"), `1`)
		fault(t, err, core.KindCanceled, core.FaultCaller)
		time.Sleep(31 * time.Second)
		if got := r.counted("g"); got != 0 {
			t.Errorf("%d alive", got)
		}
		r.w.mu.Lock()
		failed := fmt.Sprint(r.w.failed)
		r.w.mu.Unlock()
		if failed != "[g id-1 timeout]" { // somebody is told all the same
			t.Errorf("failed unheard: %s", failed)
		}
		time.Sleep(time.Hour)
	})
}

// The output of an instance belongs to the event for which it is started, and then to the event that it has.
// Begin comes before the instance knows of the event, and Over before the next event can begin.
func TestVoices(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		f := fn("f")
		f.Limits.MaxInstances = 1
		var waiting sync.WaitGroup
		for i := range 3 {
			waiting.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				_, _ = r.Invoke(t.Context(), f, core.Invocation{ID: fmt.Sprint(i), Event: []byte("1")})
			})
		}
		waiting.Wait()
		if got := fmt.Sprint(r.w.voices); got != "[begin 0 over begin 0 over begin 1 over begin 2 over]" {
			t.Error(got)
		}
	})
}

func TestIdleInstanceFoundDead(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		f := fn("f")
		first, _ := r.run(t.Context(), f, `1`)
		r.w.box(first.Node).far.Close() // dead, and the tree has not seen it
		res, err := r.run(t.Context(), f, `2`)
		if err != nil || string(res.Body) != `2` || res.Node == first.Node {
			t.Errorf("%+v %v", res, err)
		}
	})
}
