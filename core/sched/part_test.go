package sched

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// taker takes a response in parts.
type taker struct {
	head, body string
	result     core.Result
	slow       time.Duration
	refuses    error // the second part and what follows
	parts      int
}

func (s *taker) Begin(head []byte, result core.Result) error {
	s.head, s.result = string(head), result
	return nil
}

func (s *taker) Write(ctx context.Context, part []byte) error {
	if s.parts++; s.parts > 1 && s.refuses != nil {
		return s.refuses
	}
	s.body += string(part)
	select {
	case <-time.After(s.slow):
		return nil
	case <-ctx.Done():
		return core.Errorf(core.KindCanceled, core.FaultCaller, "too slow")
	}
}

// say passes on a part, and returns the error that is the answer to it.
func (b *box) say(t *testing.T, number int, meta, part string) *core.Error {
	t.Helper()
	b.answer('S', prefixed(meta, part))
	got, failed, _ := b.told(t)
	if got != number && got != 0 {
		t.Errorf("part %d is answered as %d", number, got)
	}
	return failed
}

// parts is a handler that passes on two parts, with a second between them, and then does what its event says.
func parts(t *testing.T, failed *[]*core.Error) func(b *box, r *request) {
	return func(b *box, r *request) {
		*failed = append(*failed, b.say(t, 1, `{"call":1,"head":{"statusCode":201}}`, "one"))
		time.Sleep(time.Second)
		*failed = append(*failed, b.say(t, 2, `{"call":2}`, "two"))
		switch string(r.event) {
		case `"raises"`:
			b.answer('X', []byte(`{"type":"E","message":"m"}`))
		case `"dies"`:
			b.die(core.Exit{Signal: 11, Known: true})
		case `"hangs"`:
			_, _ = io.Copy(io.Discard, b.far)
		default:
			b.answer('R', []byte(`null`))
		}
	}
}

func (r *rig) pass(ctx context.Context, f *core.Function, event string, to core.Stream) (core.Result, error) {
	return r.Invoke(ctx, f, core.Invocation{Function: f.Name, ID: "id-1", Event: []byte(event), Stream: to})
}

func TestParts(t *testing.T) {
	within(t, 5, func(t *testing.T, r *rig) {
		var failed []*core.Error
		r.w.on(parts(t, &failed))
		for i, start := range []core.Start{core.StartFork, core.StartWarm} {
			to := &taker{}
			result, err := r.pass(t.Context(), fn("f"), `1`, to)
			if err != nil || to.head != `{"statusCode":201}` || to.body != "onetwo" {
				t.Errorf("%+v, %v", to, err)
			}
			if to.result.Start != result.Start || i > 0 && result.Start != start || to.result.Node != result.Node || result.Phases.Handler < time.Second || to.result.Phases.Handler > time.Millisecond {
				t.Errorf("at the head %+v, at the end %+v", to.result, result)
			}
		}
		for event, kind := range map[string]core.Kind{`"raises"`: core.KindException, `"dies"`: core.KindExit, `"hangs"`: core.KindTimeout} {
			to := &taker{}
			if _, err := r.pass(t.Context(), fn("f"), event, to); !core.IsKind(err, kind) || to.body != "onetwo" {
				t.Errorf("%s: %q, %v", event, to.body, err)
			}
		}
		for _, e := range failed {
			if e != nil {
				t.Errorf("a part was not passed on: %v", e)
			}
		}
	})
}

// TestPartsWait: the handler does not run ahead of a slow caller, and what the caller takes counts as its
// time.
func TestPartsWait(t *testing.T) {
	within(t, 5, func(t *testing.T, r *rig) {
		var failed []*core.Error
		r.w.on(parts(t, &failed))
		result, err := r.pass(t.Context(), fn("f"), `1`, &taker{slow: 10 * time.Second})
		if took := result.Phases.Handler.Round(time.Second); err != nil || took != 21*time.Second {
			t.Errorf("took %v, %v", took, err)
		}
		_, err = r.pass(t.Context(), fn("f"), `1`, &taker{slow: time.Hour})
		fault(t, err, core.KindTimeout, core.FaultHandler)
		time.Sleep(time.Second) // the fake one does not die at once
		if n := r.counted("f"); n != 0 {
			t.Errorf("%d instances, of which one wrote beyond its time", n)
		}
	})
}

// TestPartsRefused: the caller goes, in a part or between two, or the response is too long. The handler
// learns it, and its instance serves on.
func TestPartsRefused(t *testing.T) {
	gone := core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away")
	for name, test := range map[string]struct {
		to      *taker
		most    int64
		cancels time.Duration
		kind    core.Kind
		fault   core.Fault
	}{
		"in a part": {&taker{refuses: gone}, 0, time.Hour, core.KindCanceled, core.FaultCaller},
		"between":   {&taker{}, 0, time.Second / 2, core.KindCanceled, core.FaultCaller},
		"too long":  {&taker{}, 5, time.Hour, core.KindTooLarge, core.FaultHandler},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, 5, func(t *testing.T, r *rig) {
				var failed []*core.Error
				r.w.on(parts(t, &failed))
				f := fn("f")
				f.Limits.Stream = test.most
				ctx, cancel := context.WithTimeout(t.Context(), test.cancels)
				defer cancel()
				_, err := r.pass(ctx, f, `1`, test.to)
				fault(t, err, test.kind, test.fault)
				time.Sleep(2 * time.Second) // the handler runs to its end
				synctest.Wait()
				if len(failed) != 2 || failed[0] != nil || failed[1] == nil || failed[1].Kind != test.kind || test.to.body != "one" {
					t.Errorf("the handler learnt %v, the caller got %q", failed, test.to.body)
				}
				if result, err := r.pass(t.Context(), fn("f"), `1`, &taker{}); result.Start != core.StartWarm || test.most == 0 && err != nil {
					t.Errorf("the next event: %+v, %v", result.Start, err)
				}
			})
		})
	}
}

// TestPartsUnasked: parts that nobody asked for, and heads at the wrong place, end the instance.
func TestPartsUnasked(t *testing.T) {
	for name, test := range map[string]struct {
		to    core.Stream
		metas []string
		part  string
	}{
		"nobody takes parts": {nil, []string{`{"call":1,"head":{}}`}, "x"},
		"no head":            {&taker{}, []string{`{"call":1}`}, "x"},
		"two heads":          {&taker{}, []string{`{"call":1,"head":{}}`, `{"call":2,"head":{}}`}, "x"},
		"no number":          {&taker{}, []string{`{"head":{}}`}, "x"},
		"too large":          {&taker{}, []string{`{"call":1,"head":{}}`}, strings.Repeat("x", core.MaxPart+1)},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, 5, func(t *testing.T, r *rig) {
				r.w.on(func(b *box, _ *request) {
					for _, meta := range test.metas {
						b.answer('S', prefixed(meta, test.part))
						b.told(t)
					}
				})
				_, err := r.pass(t.Context(), fn("f"), `1`, test.to)
				time.Sleep(time.Second)
				if core.IsKind(err, core.KindTimeout) || err == nil || r.counted("f") != 0 {
					t.Errorf("%v, %d instances", err, r.counted("f"))
				}
			})
		})
	}
}

// room has room for a result after a while.
type room struct {
	after time.Duration
	bytes int
}

func (r *room) Take(ctx context.Context, bytes int) error {
	r.bytes += bytes
	select {
	case <-time.After(r.after):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A large result stays in its instance until there is room for it, longer than the handler may take. Who goes
// away meanwhile ends nobody.
func TestLargeResultWaitsForRoom(t *testing.T) {
	within(t, 5, func(t *testing.T, r *rig) {
		large := `"` + strings.Repeat("x", 1<<20) + `"`
		r.w.on(func(b *box, q *request) {
			b.answer('R', []byte(map[bool]string{true: large, false: "1"}[string(q.event) == "2"]))
		})
		invoke := func(ctx context.Context, event string, to *room) (core.Result, error) {
			return r.Invoke(ctx, fn("f"), core.Invocation{Function: "f", ID: "id-1", Event: []byte(event), Room: to})
		}
		small := &room{after: time.Hour}
		if result, err := invoke(t.Context(), "1", small); err != nil || string(result.Body) != "1" || small.bytes != 0 {
			t.Errorf("a small result: %s, %v, %d bytes were asked for", result.Body, err, small.bytes)
		}
		slow := &room{after: 2 * fn("f").Limits.Timeout}
		result, err := invoke(t.Context(), "2", slow)
		if err != nil || string(result.Body) != large || slow.bytes < len(large) || result.Start != core.StartWarm {
			t.Errorf("%d bytes of %s, %v, %d were asked for", len(result.Body), result.Start, err, slow.bytes)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = invoke(ctx, "2", slow)
		fault(t, err, core.KindCanceled, core.FaultCaller)
		synctest.Wait()
		if result, err := invoke(t.Context(), "1", small); err != nil || result.Start != core.StartWarm {
			t.Errorf("after that: %s, %v", result.Start, err)
		}
	})
}
