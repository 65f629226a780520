package sched

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func several(name string, n int) *core.Function {
	f := fn(name)
	f.Limits.Concurrency = n
	return f
}

// beside has instances handle all of their events at once.
func beside(handle func(r *request)) func(*box, *request) {
	return func(_ *box, r *request) {
		one := *r
		go handle(&one)
	}
}

func (r *rig) send(ctx context.Context, f *core.Function, id string) (core.Result, error) {
	return r.Invoke(ctx, f, core.Invocation{Function: f.Name, ID: id, Event: []byte(`"` + id + `"`)})
}

// underWay returns how many events each instance has that has some, as the tree shows it, in order.
func underWay(r *rig) (all []int) {
	for _, n := range r.tree.Snapshot() {
		if n.UnderWay > 0 {
			all = append(all, n.UnderWay)
		}
	}
	slices.Sort(all)
	return all
}

// An instance is filled before another one starts, no event waits while there is room, and instances that are
// too many end.
func TestSeveralFillAnInstance(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(r *request) { time.Sleep(time.Second); r.answer('R', string(r.event)) }))
		f := several("f", 4)
		f.Limits.IdleTimeout = time.Minute
		var group sync.WaitGroup
		var mu sync.Mutex
		nodes := map[core.NodeID]int{}
		for i := range 9 {
			group.Go(func() {
				id := fmt.Sprint(i)
				res, err := r.send(t.Context(), f, id)
				if err != nil || string(res.Body) != `"`+id+`"` || res.Start == core.StartWarm || res.Phases.Handler != time.Second {
					t.Errorf("%+v %v", res, err)
				}
				mu.Lock()
				nodes[res.Node]++
				mu.Unlock()
			})
		}
		time.Sleep(time.Second / 2)
		if got := underWay(r); !slices.Equal(got, []int{1, 4, 4}) {
			t.Errorf("events under way: %v", got)
		}
		group.Wait()
		if got := underWay(r); len(got) > 0 {
			t.Errorf("events under way after all: %v", got)
		}
		if len(nodes) != 3 || r.w.starts != 3 {
			t.Errorf("events by instance: %v, %d starts", nodes, r.w.starts)
		}
		for i := range 8 { // two at a time
			group.Go(func() {
				time.Sleep(time.Duration(i/2) * 20 * time.Second)
				if res, err := r.send(t.Context(), f, "again"); err != nil || res.Start != core.StartWarm {
					t.Errorf("%+v %v", res, err)
				}
			})
		}
		group.Wait()
		time.Sleep(5 * time.Second)
		if n := r.w.living(); n != 1 {
			t.Errorf("%d instances live where one is enough", n)
		}
	})
}

// An event that waits gets the room of the first that ends, not the instance that is free first.
func TestSeveralWait(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(r *request) { time.Sleep(time.Second); r.answer('R', "1") }))
		f := several("f", 2)
		f.Limits.MaxInstances = 1
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				res, err := r.send(t.Context(), f, "id")
				if want := time.Duration(i/2)*time.Second - time.Duration(i/2)*200*time.Millisecond; err != nil || res.Phases.Queue > want+10*time.Millisecond {
					t.Errorf("%d: %+v %v", i, res, err)
				}
			})
		}
		group.Wait()
		if r.w.highest() != 1 {
			t.Errorf("%d instances", r.w.highest())
		}
	})
}

// An event that is late ends no other one: its instance takes no further event, and ends when it has none.
func TestSeveralLate(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(r *request) {
			if string(r.event) == `"hangs"` {
				return
			}
			time.Sleep(4 * time.Second)
			r.answer('R', "1")
		}))
		f := several("f", 4)
		f.Limits.Timeout = 5 * time.Second
		var group sync.WaitGroup
		var hung, next core.Result
		group.Go(func() {
			var err error
			hung, err = r.send(t.Context(), f, "hangs")
			fault(t, err, core.KindTimeout, core.FaultHandler)
		})
		time.Sleep(2 * time.Second)
		group.Go(func() {
			res, err := r.send(t.Context(), f, "beside") // until 6 s
			if err != nil || res.Start != core.StartWarm {
				t.Errorf("%+v %v", res, err)
			}
			time.Sleep(10 * time.Millisecond)
			if n := r.w.living(); n != 1 {
				t.Errorf("%d instances live after the last event of the first", n)
			}
		})
		time.Sleep(3500 * time.Millisecond)
		group.Go(func() {
			var err error
			if next, err = r.send(t.Context(), f, "next"); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		if hung.Node == next.Node || !slices.ContainsFunc(r.w.ended, func(s string) bool { return strings.HasPrefix(s, "f hangs ") }) {
			t.Errorf("%q served after %q, retired: %q", next.Node, hung.Node, r.w.ended)
		}
		// Alone, it is killed at once.
		_, err := r.send(t.Context(), f, "hangs")
		fault(t, err, core.KindTimeout, core.FaultHandler)
		synctest.Wait()
		if n := r.w.living(); n != 0 {
			t.Errorf("%d instances live", n)
		}
	})
}

// What ends an instance is the error of each of its events, and the next ones go to another instance.
func TestSeveralDie(t *testing.T) {
	tests := []struct {
		name   string
		do     func(r *request)
		first  core.Kind // of the event that does it
		others core.Kind
		whose  core.Fault
	}{
		{"told", func(r *request) { r.answer('D', `{"type":"SystemExit","message":"code 3"}`) }, core.KindExit, core.KindExit, core.FaultHandler},
		{"crash", func(r *request) { r.b.die(core.Exit{Known: true, Signal: 11}) }, core.KindExit, core.KindExit, core.FaultHandler},
		{"memory", func(r *request) { r.b.die(core.Exit{Known: true, Signal: 9, OutOfMemory: true}) }, core.KindMemory, core.KindMemory, core.FaultHandler},
		{"no token", func(r *request) { r.b.write('R', []byte("1")) }, core.KindExit, core.KindExit, core.FaultHandler},
		{"foreign token", func(r *request) { r.b.write('R', []byte(strings.Repeat("0", 32)+"1")) }, core.KindExit, core.KindExit, core.FaultHandler},
		{"surplus parts", func(r *request) {
			for range 3 {
				r.answer('S', string(prefixed(`{"call":1}`, "")))
			}
		}, core.KindInternal, core.KindInternal, core.FaultDriver},
		{"no stream", func(r *request) { r.answer('O', "3x") }, core.KindInternal, core.KindInternal, core.FaultDriver},
		{"unknown frame", func(r *request) { r.answer('Q', "") }, core.KindExit, core.KindExit, core.FaultHandler},
		{"failure of the runtime", func(r *request) { r.answer('L', `{"kind":"internal","message":"m"}`) }, core.KindInternal, core.KindInternal, core.FaultDriver},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			within(t, 9, func(t *testing.T, r *rig) {
				r.w.on(beside(func(r *request) {
					if string(r.event) == `"ends"` {
						test.do(r)
					} else {
						time.Sleep(2 * time.Second)
						r.answer('R', "1")
					}
				}))
				f := several("f", 3)
				var group sync.WaitGroup
				for range 2 {
					group.Go(func() {
						_, err := r.send(t.Context(), f, "other")
						fault(t, err, test.others, test.whose)
					})
				}
				time.Sleep(time.Second)
				_, err := r.send(t.Context(), f, "ends")
				fault(t, err, test.first, test.whose)
				group.Wait()
				if _, err := r.send(t.Context(), f, "next"); err != nil || r.w.starts != 2 {
					t.Errorf("%v, %d starts", err, r.w.starts)
				}
			})
		})
	}
}

// An instance that ends between events costs none of them.
func TestSeveralIdleDeath(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		f := several("f", 3)
		r.w.on(beside(func(r *request) { r.answer('R', "1") }))
		for range 3 {
			res, err := r.send(t.Context(), f, "id")
			if err != nil {
				t.Fatal(err)
			}
			r.w.box(res.Node).die(core.Exit{Known: true})
		}
	})
}

// A caller that goes away ends no event: the instance answers it, and then has room again.
func TestSeveralCanceled(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(r *request) { time.Sleep(time.Second); r.answer('X', `{"type":"E","message":"no"}`) }))
		f := several("f", 2)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := r.send(ctx, f, "left")
		fault(t, err, core.KindCanceled, core.FaultCaller)
		if _, err := r.send(t.Context(), f, "other"); !core.IsKind(err, core.KindException) {
			t.Error(err)
		}
		if r.w.starts != 1 || !slices.Equal(r.w.failed, []string{"f left exception"}) {
			t.Errorf("%d starts, unheard: %q", r.w.starts, r.w.failed)
		}
	})
}

// Each line is of the event that printed it, however the lines of several come.
func TestSeveralPrint(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(r *request) {
			r.answer('O', "1a")
			r.answer('O', "2error of "+string(r.event)+"\n")
			time.Sleep(time.Second)
			r.answer('O', "1b\nc\nd")
			r.answer('R', "1")
		}))
		var group sync.WaitGroup
		for _, id := range []string{"x", "y"} {
			group.Go(func() { _, _ = r.send(t.Context(), several("f", 2), id) })
		}
		group.Wait()
		for _, id := range []string{"x", "y"} {
			var lines []string
			for _, voice := range r.w.voices {
				if strings.HasPrefix(voice, id+" ") {
					lines = append(lines, voice[2:])
				}
			}
			if want := []string{fmt.Sprintf("stderr %q", `error of "`+id+`"`+"\n"), `stdout "ab\nc\n"`, `stdout "d"`}; !slices.Equal(lines, want) {
				t.Errorf("%s has %q, not %q", id, lines, want)
			}
		}
	})
}

// A version that is replaced ends when its events are over.
func TestSeveralDrain(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(r *request) { time.Sleep(time.Second); r.answer('R', "1") }))
		f := several("f", 4)
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				if _, err := r.send(t.Context(), f, "id"); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(700 * time.Millisecond)
		r.w.removed.Store(1)
		r.Drain("f")
		group.Wait()
		synctest.Wait()
		if n := r.w.living(); n != 0 {
			t.Errorf("%d instances live", n)
		}
	})
}

// TestSeveralRace: no event gets another's answer, over real sockets and with instances that end now and
// then.
func TestSeveralRace(t *testing.T) {
	w := newWorld()
	w.pair = socketpair(t)
	w.on(beside(func(r *request) {
		switch rand.IntN(100) {
		case 0:
			r.b.die(core.Exit{Known: true, Signal: 11})
			return
		case 1, 2, 3, 4, 5:
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		}
		r.answer('O', "1"+r.ID+"\n")
		r.answer('R', string(r.event))
	}))
	r := newRig(w, 9, plenty)
	defer r.close(t)
	f := several("f", 8)
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			for j := range 200 {
				id := fmt.Sprint(i, "-", j)
				res, err := r.send(t.Context(), f, id)
				if err != nil && !core.IsKind(err, core.KindExit) || err == nil && string(res.Body) != `"`+id+`"` {
					t.Errorf("%s got %s, %v", id, res.Body, err)
				}
			}
		})
	}
	group.Wait()
	for _, voice := range w.voices {
		var id, line string
		if n, _ := fmt.Sscanf(voice, "%s stdout %q", &id, &line); n == 2 && line != id+"\n" {
			t.Errorf("%s", voice)
		}
	}
}

// A result of an instance with several events keeps its place there until there is room for it.
func TestSeveralWaitForRoom(t *testing.T) {
	within(t, 9, func(t *testing.T, r *rig) {
		r.w.on(beside(func(q *request) { q.answer('R', string(q.event)) }))
		f := several("f", 2)
		began, slow := time.Now(), &room{after: time.Minute}
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				if _, err := r.Invoke(t.Context(), f, core.Invocation{Function: "f", ID: "a", Event: []byte("1"), Room: &room{after: time.Minute}}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if res, err := r.send(t.Context(), f, "b"); err != nil || r.w.starts != 2 || time.Since(began) > time.Second {
			t.Errorf("%+v %v after %v, %d starts: the first instance had room", res, err, time.Since(began), r.w.starts)
		}
		group.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Invoke(ctx, f, core.Invocation{Function: "f", ID: "c", Event: []byte("1"), Room: slow})
		fault(t, err, core.KindCanceled, core.FaultCaller)
	})
}
