package sched

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// socketpair makes a stream socket in the kernel, as a real endpoint is.
func socketpair(t testing.TB) func() (net.Conn, net.Conn) {
	return func() (net.Conn, net.Conn) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		var conns [2]net.Conn
		for i, fd := range fds {
			f := os.NewFile(uintptr(fd), "endpoint")
			conns[i], err = net.FileConn(f)
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
		}
		return conns[0], conns[1]
	}
}

func TestOverASocket(t *testing.T) {
	w := newWorld()
	w.pair = socketpair(t)
	r := newRig(w, 9, plenty)
	defer r.close(t)
	event := `"` + strings.Repeat("x", 5<<20) + `"`
	for _, e := range []string{`1`, event, `2`} {
		if res, err := r.run(t.Context(), fn("f"), e); err != nil || string(res.Body) != e {
			t.Fatalf("%d bytes for %d: %v", len(res.Body), len(e), err)
		}
	}
	// The process ends with the event read: no other one gets it.
	var seen []string
	died := false
	w.on(func(b *box, r *request) {
		seen = append(seen, string(r.event))
		if !died {
			died = true
			b.die(core.Exit{Signal: 9, Known: true})
			return
		}
		b.answer('R', r.event)
	})
	_, err := r.run(t.Context(), fn("f"), `3`)
	fault(t, err, core.KindExit, core.FaultHandler)
	if len(seen) != 1 {
		t.Errorf("handled %v", seen)
	}
	if res, err := r.run(t.Context(), fn("f"), `4`); err != nil || string(res.Body) != `4` {
		t.Errorf("%+v %v", res, err)
	}
}

// TestEventHalfRead: a process ends with a part of the event unread. Another process gets the event, once.
func TestEventHalfRead(t *testing.T) {
	w := newWorld()
	w.pair = socketpair(t)
	w.deaf = true
	r := newRig(w, 9, plenty)
	defer r.close(t)
	_, err := r.run(t.Context(), fn("f"), string(make([]byte, 50<<10)))
	if e := fault(t, err, core.KindUnavailable, core.FaultWorker); !e.Retryable || w.starts != 2 {
		t.Errorf("%v, %d starts", e, w.starts)
	}
}

// void is a connection to an instance that answers every event at once. It shows the cost of the scheduler
// alone.
type void struct {
	net.Conn
	imported bool
}

func (*void) SetDeadline(time.Time) error { return nil }
func (*void) Write(b []byte) (int, error) { return len(b), nil }
func (v *void) Read(b []byte) (int, error) {
	if !v.imported {
		v.imported = true
		return copy(b, "\x00\x00\x00\x0eP{\"threads\":1}"), nil
	}
	return copy(b, "\x00\x00\x00\x02R1"), nil
}

func benchmarkInvoke(b *testing.B, pair func() (net.Conn, net.Conn), alone, parallel bool) {
	w := newWorld()
	w.handle = nil
	w.pair = pair
	if alone {
		w.protocol = 2 // the void knows no tokens
	}
	r := newRig(w, 99, plenty)
	defer r.close(b)
	f := fn("f")
	invocation := core.Invocation{Function: "f", ID: "0123456789abcdef", Event: []byte(`{"name":"world"}`)}
	one := func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx) // as that of a HTTP request
		defer cancel()
		if _, err := r.Invoke(ctx, f, invocation); err != nil {
			b.Error(err)
		}
	}
	one(b.Context())
	b.ReportAllocs()
	if parallel {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one(b.Context())
			}
		})
		return
	}
	for b.Loop() {
		one(b.Context())
	}
}

func BenchmarkWarmInvokeAlone(b *testing.B) {
	benchmarkInvoke(b, func() (net.Conn, net.Conn) {
		near, far := net.Pipe()
		return &void{Conn: near}, far
	}, true, false)
}

func BenchmarkWarmInvokeOverASocket(b *testing.B) { benchmarkInvoke(b, socketpair(b), false, false) }

func BenchmarkWarmInvoke16AtOnce(b *testing.B) { benchmarkInvoke(b, socketpair(b), false, true) }

// TestCalledAndGone: a handler calls another function and dies with the answer unread. The kernel resets the
// connection as for an unread event, but the event must not run a second time.
func TestCalledAndGone(t *testing.T) {
	w := newWorld()
	w.pair = socketpair(t)
	r := newRig(w, 9, plenty)
	defer r.close(t)
	var called atomic.Int32
	r.config.Invoke = func(context.Context, core.Invocation) (core.Result, error) {
		called.Add(1)
		return core.Result{Body: []byte("1")}, nil
	}
	w.on(func(b *box, _ *request) {
		b.ask(1, "g", "1")
		time.Sleep(100 * time.Millisecond) // the answer is there, and nobody reads it
		b.die(core.Exit{Code: 3, Known: true})
	})
	_, err := r.run(t.Context(), fn("f"), `1`)
	if e := fault(t, err, core.KindExit, core.FaultHandler); e.Retryable || called.Load() != 1 {
		t.Errorf("%+v, called %d times", e, called.Load())
	}
}

// TestStrayBytes: idle instances have sent something unasked. Each of them is ended, and the event runs on a
// fresh one.
func TestStrayBytes(t *testing.T) {
	w := newWorld()
	w.pair = socketpair(t)
	r := newRig(w, 9, plenty)
	defer r.close(t)
	w.on(slow(50 * time.Millisecond))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := r.run(t.Context(), fn("f"), `1`); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, b := range w.boxes {
		if b.counts {
			b.write('R', []byte("stray"))
		}
	}
	for i := range 5 {
		res, err := r.run(t.Context(), fn("f"), fmt.Sprint(i))
		if err != nil || string(res.Body) != fmt.Sprint(i) {
			t.Errorf("%s %v", res.Body, err)
		}
	}
	if n := w.living(); n != 1 {
		t.Errorf("%d instances live", n)
	}
}
