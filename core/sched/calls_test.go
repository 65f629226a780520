package sched

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// prefixed is a body of an I or A frame.
func prefixed(meta, rest string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(meta))), meta...), rest...)
}

// ask sends a call, as the handler does.
func (b *box) ask(number int, function, event string) {
	b.answer('I', prefixed(fmt.Sprintf(`{"call":%d,"function":%q}`, number, function), event))
}

// told reads one answer. It is empty when the instance was ended.
func (b *box) told(t *testing.T) (number int, e *core.Error, result string) {
	t.Helper()
	var head [5]byte
	_, _ = io.ReadFull(b.far, head[:])
	body := make([]byte, max(1, binary.BigEndian.Uint32(head[:]))-1)
	if n, _ := io.ReadFull(b.far, body); n == 0 || n < len(body) {
		return 0, nil, ""
	}
	if head[4] != 'A' {
		t.Errorf("a call is answered by %q", head)
	}
	end := 4 + binary.BigEndian.Uint32(body)
	var meta struct {
		Call  int
		Error *core.Error
	}
	if err := json.Unmarshal(body[4:end], &meta); err != nil {
		t.Errorf("%v in %q", err, body)
	}
	return meta.Call, meta.Error, string(body[end:])
}

// withCalls lets the functions invoke each other.
func withCalls(t *testing.T, handle func(b *box, r *request), test func(t *testing.T, r *rig)) {
	within(t, 50, func(t *testing.T, r *rig) {
		r.config.Invoke = func(ctx context.Context, i core.Invocation) (core.Result, error) {
			if i.Function == "none" {
				return core.Result{}, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function none")
			}
			return r.Invoke(ctx, fn(i.Function), i)
		}
		r.w.on(handle)
		test(t, r)
	})
}

func TestCalls(t *testing.T) {
	handle := func(b *box, r *request) {
		switch b.config.Function {
		case "two": // calls two at once, of which the first is answered last
			b.ask(7, "slow", `"s"`)
			b.ask(8, "echo", `"e"`)
			first, _, one := b.told(t)
			second, _, two := b.told(t)
			b.answer('R', []byte(fmt.Sprintf(`[%d,%s,%d,%s]`, first, one, second, two)))
		case "slow":
			time.Sleep(time.Second)
			b.answer('R', r.event)
		case "raises":
			b.answer('X', []byte(`{"type":"E","message":"m"}`))
		case "hangs":
			_, _ = io.Copy(io.Discard, b.far) // until it is ended
		case "meta":
			b.answer('R', []byte(fmt.Sprintf(`[%q,%d,%d]`, r.ID, r.Depth, r.Deadline)))
		case "asks":
			var e struct{ Function, Event string }
			if err := json.Unmarshal(r.event, &e); err != nil {
				t.Error(err)
			}
			b.ask(1, e.Function, e.Event)
			_, failed, result := b.told(t)
			if failed != nil {
				result = fmt.Sprintf("%q", string(failed.Kind)+" of the "+string(failed.Fault))
			}
			b.answer('R', []byte(result))
		case "loop":
			b.ask(1, "loop", fmt.Sprint(r.Depth))
			_, failed, result := b.told(t)
			if failed != nil {
				result = fmt.Sprintf(`{"kind":%q,"depth":%d}`, failed.Kind, r.Depth)
			}
			b.answer('R', []byte(result))
		default:
			b.answer('R', r.event)
		}
	}
	withCalls(t, handle, func(t *testing.T, r *rig) {
		for event, want := range map[string]string{
			`{"function":"echo","event":"{}"}`:    `{}`,
			`{"function":"none","event":"1"}`:     `"not_found of the caller"`,
			`{"function":"raises","event":"1"}`:   `"exception of the handler"`,
			`{"function":"echo","event":"{nono"}`: `"invalid of the handler"`,
		} {
			if res, err := r.run(t.Context(), fn("asks"), event); err != nil || string(res.Body) != want {
				t.Errorf("%s gives %s, %v; want %s", event, res.Body, err, want)
			}
		}
		if res, err := r.run(t.Context(), fn("two"), "1"); err != nil || string(res.Body) != `[8,"e",7,"s"]` {
			t.Errorf("two at once: %s, %v", res.Body, err)
		}
		if res, err := r.run(t.Context(), fn("loop"), "1"); err != nil || string(res.Body) != `{"kind":"loop","depth":16}` {
			t.Errorf("loop: %s, %v", res.Body, err)
		}
		// The deadline above counts, and so does the id.
		brief := fn("asks")
		brief.Version, brief.Limits.Timeout = 2, 2*time.Second
		began := time.Now()
		res, err := r.run(t.Context(), brief, `{"function":"meta","event":"1"}`)
		var got []any
		if json.Unmarshal(res.Body, &got) != nil || got[0] != "id-1" || got[1] != 1.0 || time.UnixMilli(int64(got[2].(float64))).Sub(began) > 2100*time.Millisecond {
			t.Errorf("the called one got %s, %v", res.Body, err)
		}
		began = time.Now()
		// Both deadlines are the same moment: the one below may still be told to the one above.
		if res, err := r.run(t.Context(), brief, `{"function":"hangs","event":"1"}`); err != nil || string(res.Body) != `"timeout of the handler"` {
			fault(t, err, core.KindTimeout, core.FaultHandler)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("a call outlived the event above it by %v", took-2*time.Second)
		}
	})
}

// A name means a function of the caller's own namespace, and a function of another one cannot be called,
// whether it is there or not.
func TestCallsStayInTheNamespace(t *testing.T) {
	withCalls(t, func(b *box, r *request) {
		if !strings.HasPrefix(b.config.Function, "asks") {
			b.answer('R', fmt.Appendf(nil, "%q", b.config.Function))
			return
		}
		b.ask(1, strings.Trim(string(r.event), `"`), "1")
		_, failed, result := b.told(t)
		if failed != nil {
			result = fmt.Sprintf("%q", failed.Message)
		}
		b.answer('R', []byte(result))
	}, func(t *testing.T, r *rig) {
		for _, c := range []struct{ from, to, want string }{
			{"asks", "echo", "echo"},
			{"asks", "echo.team", "its own namespace alone"},
			{"asks.team", "echo", "echo.team"},
			{"asks.team", "echo.team", "echo.team"},
			{"asks.team", "echo.other", "its own namespace alone"},
			{"asks.team", "none.other", "its own namespace alone"},
		} {
			res, err := r.run(t.Context(), fn(c.from), fmt.Sprintf("%q", c.to))
			if err != nil || !strings.HasSuffix(strings.Trim(string(res.Body), `"`), c.want) {
				t.Errorf("%s calls %s: %s, %v; want %s", c.from, c.to, res.Body, err, c.want)
			}
		}
	})
}

// The calls of an event end with it, and do not disturb the next event on the instance.
func TestCallsEndWithTheEvent(t *testing.T) {
	called := make(chan error, 1)
	withCalls(t, func(b *box, r *request) {
		if bytes.Equal(r.event, []byte(`"go"`)) {
			b.ask(1, "echo", "1")
		}
		b.answer('R', r.event)
	}, func(t *testing.T, r *rig) {
		r.config.Invoke = func(ctx context.Context, i core.Invocation) (core.Result, error) {
			<-ctx.Done()
			called <- ctx.Err()
			return core.Result{}, core.AsError(ctx.Err())
		}
		if res, err := r.run(t.Context(), fn("f"), `"go"`); err != nil || string(res.Body) != `"go"` {
			t.Errorf("%s, %v", res.Body, err)
		}
		if err := <-called; !errors.Is(err, context.Canceled) {
			t.Errorf("the call ended by %v", err)
		}
		synctest.Wait()
		if res, err := r.run(t.Context(), fn("f"), `2`); err != nil || string(res.Body) != "2" || res.Start != core.StartWarm {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// An instance that reads no answers is ended, and so is one whose call cannot be read.
func TestCallsWithoutEnd(t *testing.T) {
	withCalls(t, func(b *box, r *request) {
		if bytes.Equal(r.event, []byte(`"bad"`)) {
			b.answer('I', []byte("?"))
			return
		}
		for n := range 2 * plan.MaxUnanswered {
			b.ask(n+1, "echo", "1")
		}
	}, func(t *testing.T, r *rig) {
		r.config.Invoke = func(ctx context.Context, i core.Invocation) (core.Result, error) {
			<-ctx.Done()
			return core.Result{}, core.AsError(ctx.Err())
		}
		_, err := r.run(t.Context(), fn("f"), `"much"`)
		fault(t, err, core.KindExit, core.FaultHandler)
		_, err = r.run(t.Context(), fn("f"), `"bad"`)
		fault(t, err, core.KindInternal, core.FaultDriver)
	})
}

// Calls and results that wait for their instances have one budget, of which a namespace may have half.
func TestCallsAreHeld(t *testing.T) {
	const mib = 1 << 20
	big := func(size int) string { return `"` + strings.Repeat("x", size-2) + `"` }
	withCalls(t, func(b *box, r *request) {
		b.ask(1, "waits", big(5*mib))
		b.ask(2, "waits", big(5*mib))
		second, refused, _ := b.told(t)
		b.ask(3, "large", "1")
		third, dropped, _ := b.told(t)
		b.ask(4, "echo", "4")
		fourth, _, four := b.told(t)
		b.ask(5, "frees", "5")
		for range 2 {
			if n, e, _ := b.told(t); e != nil {
				t.Errorf("call %d: %v", n, e)
			}
		}
		if second != 2 || refused == nil || refused.Kind != core.KindExhausted || refused.Fault != core.FaultHandler || !refused.Retryable {
			t.Errorf("a call too many: %d %+v", second, refused)
		}
		if third != 3 || dropped == nil || dropped.Kind != core.KindExhausted || dropped.Retryable {
			t.Errorf("a result too many: %d %+v", third, dropped)
		}
		b.answer('R', fmt.Appendf(nil, "[%d,%s]", fourth, four))
	}, func(t *testing.T, r *rig) {
		r.held = core.NewBudget(12 * mib)
		free := make(chan bool)
		r.config.Invoke = func(_ context.Context, i core.Invocation) (core.Result, error) {
			switch i.Function {
			case "waits":
				<-free
			case "large":
				return core.Result{Body: []byte(big(2 * mib))}, nil
			case "frees":
				close(free)
			}
			return core.Result{Body: []byte("4")}, nil
		}
		if res, err := r.run(t.Context(), fn("f"), "1"); err != nil || string(res.Body) != "[4,4]" {
			t.Errorf("%s, %v", res.Body, err)
		}
		synctest.Wait()
		if !r.held.Take("default", 6*mib) {
			t.Error("bytes are missing in the budget after all calls have ended")
		}
	})
}

// A call with an invalid event is refused before the other function gets it.
func TestCallWithNoEvent(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.config.Invoke = func(context.Context, core.Invocation) (core.Result, error) {
			t.Error("it was invoked")
			return core.Result{}, nil
		}
		for _, event := range []string{"NaN", "", "1 2", "\"\xff\"", strings.Repeat("[", 600) + strings.Repeat("]", 600)} {
			r.w.on(func(b *box, _ *request) {
				b.ask(1, "g", event)
				if _, e, _ := b.told(t); e == nil || e.Kind != core.KindInvalid || e.Fault != core.FaultHandler || e.Retryable {
					t.Errorf("%.20q: %+v", event, e)
				}
				b.answer('R', []byte("1"))
			})
			if res, err := r.run(t.Context(), fn("f"), `1`); err != nil || string(res.Body) != "1" {
				t.Errorf("%.20q: %s %v", event, res.Body, err)
			}
		}
	})
}
