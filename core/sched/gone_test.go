package sched

import (
	"context"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// news has the instances of the world take the news that a caller has gone. A handler that has an event waits
// for it, at most a minute.
func news(r *rig) {
	r.w.on(func(b *box, q *request) {
		frame := make([]byte, 5+32)
		heard := make(chan bool, 1)
		go func() {
			_, err := io.ReadFull(b.far, frame)
			heard <- err == nil && string(frame) == "\x00\x00\x00\x21G"+q.Token
		}()
		select {
		case is := <-heard:
			b.answer('X', []byte(map[bool]string{true: `{"type":"Gone"}`, false: `{"type":"Other"}`}[is]))
		case <-time.After(time.Minute):
			b.answer('R', []byte("1"))
		}
	})
}

// An instance learns that the caller of its event has gone, and then has the next one.
func TestGone(t *testing.T) {
	within(t, 5, func(t *testing.T, r *rig) {
		f := fn("f")
		f.Limits.Timeout = time.Hour
		r.w.gone = true
		first, _ := r.run(t.Context(), f, `1`)
		news(r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.run(ctx, f, `1`)
		fault(t, err, core.KindCanceled, core.FaultCaller)
		synctest.Wait()
		r.w.on(slow(0))
		if res, err := r.run(t.Context(), f, `"next"`); err != nil || res.Node != first.Node || string(res.Body) != `"next"` {
			t.Errorf("%+v %v", res, err)
		}
		if !slices.Equal(r.w.failed, []string{"f id-1 exception"}) {
			t.Errorf("unheard: %q", r.w.failed)
		}
	})
}

// The instance of a driver without the capability is told nothing.
func TestGoneUntold(t *testing.T) {
	within(t, 5, func(t *testing.T, r *rig) {
		f := fn("f")
		f.Limits.Timeout = time.Hour
		news(r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.run(ctx, f, `1`)
		fault(t, err, core.KindCanceled, core.FaultCaller)
		time.Sleep(time.Hour)
		if len(r.w.failed) > 0 {
			t.Errorf("unheard: %q", r.w.failed)
		}
	})
}

// Of several events the one learns it whose caller has gone.
func TestGoneOfSeveral(t *testing.T) {
	within(t, 5, func(t *testing.T, r *rig) {
		r.w.gone = true
		r.w.on(beside(func(r *request) {
			select {
			case <-r.gone:
				r.answer('X', `{"type":"Gone"}`)
			case <-time.After(5 * time.Second):
				r.answer('R', "1")
			}
		}))
		f := several("f", 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			_, err := r.send(ctx, f, "left")
			fault(t, err, core.KindCanceled, core.FaultCaller)
			time.Sleep(time.Millisecond)
			if _, err := r.send(t.Context(), f, "third"); err != nil { // there is room for it
				t.Error(err)
			}
		}()
		began := time.Now()
		if _, err := r.send(t.Context(), f, "stays"); err != nil {
			t.Error(err)
		}
		took := time.Since(began).Round(time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if took != 5*time.Second || r.w.starts != 1 || !slices.Equal(r.w.failed, []string{"f left exception"}) {
			t.Errorf("%v, %d starts, unheard: %q", took, r.w.starts, r.w.failed)
		}
	})
}
