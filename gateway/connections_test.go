package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Answers that nobody takes leave room for others. One that finds none stays in its instance. Those that have
// waited longest are cut off, and only while there is no room; and another namespace does not notice.
func TestAnswersHaveABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 5 << 20
		var waiting atomic.Int64
		long := []byte(`"` + strings.Repeat("x", size-2) + `"`)
		g := newGateway(func(ctx context.Context, i core.Invocation) (core.Result, error) {
			waiting.Add(1)
			err := i.Room.Take(ctx, size)
			waiting.Add(-1)
			if err != nil {
				return core.Result{}, core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away")
			}
			return core.Result{Body: long, Start: core.StartWarm}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		listener, served := coretest.NewPipes(), make(chan error, 1)
		go func() { served <- g.Serve(ctx, listener) }()
		ask := func(name string) net.Conn {
			near := listener.Dial()
			if _, err := io.WriteString(near, "POST /run/"+name+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"); err != nil {
				t.Fatal(err)
			}
			return near
		}
		took := func(name string) time.Duration {
			began := time.Now()
			if got, err := io.ReadAll(ask(name)); err != nil || len(got) < size {
				t.Errorf("one that is taken at once has %d bytes, %v", len(got), err)
			}
			return time.Since(began)
		}
		fit := int(g.answers.budget.Share() / size)
		for range fit {
			ask("f.loud")
		}
		time.Sleep(20 * time.Second) // nobody takes one, and there is room for all
		if open := int(g.connections.open.Load()); open != fit {
			t.Errorf("%d of %d answers are left while there is room", open, fit)
		}
		if got := took("f.quiet"); got > 0 {
			t.Errorf("that of another namespace took %v", got)
		}
		if got := took("f.loud"); got > 2*patient {
			t.Errorf("it took %v", got)
		}
		if open := int(g.connections.open.Load()); open != fit-1 {
			t.Errorf("of %d answers that nobody took %d are left, and not one less", fit, open)
		}
		var crowd []net.Conn
		for range fit + 20 {
			crowd = append(crowd, ask("f.loud"))
		}
		synctest.Wait()
		if kept, others := len(g.answers.kept), int(waiting.Load()); kept != fit || others != len(crowd)-fit {
			t.Errorf("%d answers are in memory and %d wait in their instances, of %d for which there is room, and %d", kept, others, fit, len(crowd))
		}
		if got := took("f.quiet"); got > 0 {
			t.Errorf("that of another namespace took %v beside a crowd", got)
		}
		for _, conn := range crowd {
			conn.Close()
		}
		synctest.Wait()
		if n := waiting.Load(); n > 0 {
			t.Errorf("%d answers wait for nobody", n)
		}
		cancel()
		<-served
		synctest.Wait()
		if !g.answers.budget.Take("loud", g.answers.budget.Share()) || len(g.answers.kept) > 0 {
			t.Error("answers that are over have taken room")
		}
	})
}

// A caller that does not take its answer is let go, and one that takes it slowly gets all of it.
func TestStalledAnswer(t *testing.T) {
	long := `"` + strings.Repeat("x", 1<<20) + `"`
	for name, test := range map[string]struct {
		pause time.Duration // between two times that it takes 64 KiB
		whole bool
	}{"stalls": {5 * time.Minute, false}, "is slow": {20 * time.Second, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(func(context.Context, core.Invocation) (core.Result, error) {
					return core.Result{Body: []byte(long), Start: core.StartWarm}, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				listener := coretest.NewPipes()
				served := make(chan error, 1)
				go func() { served <- g.Serve(ctx, listener) }()
				near := listener.Dial()
				if _, err := io.WriteString(near, "POST /run/f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"); err != nil {
					t.Fatal(err)
				}
				var got []byte
				for buffer, err := make([]byte, 64<<10), error(nil); err == nil; time.Sleep(test.pause) {
					var n int
					n, err = io.ReadFull(near, buffer)
					got = append(got, buffer[:n]...)
					if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Error(err)
					}
				}
				if whole := strings.HasSuffix(string(got), "\r\n\r\n"+long); whole != test.whole || !whole && len(got) > 2*atOnce {
					t.Errorf("it got %d bytes, whole %v", len(got), whole)
				}
				synctest.Wait()
				if open := g.connections.open.Load(); open != 0 {
					t.Errorf("%d connections are open", open)
				}
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A worker that is short of descriptors answers at once, and does not keep the connection.
func TestCrowded(t *testing.T) {
	g := newGateway(echo)
	g.connections.most = 3
	server := httptest.NewUnstartedServer(g)
	server.Listener = counted{server.Listener, g.connections}
	server.Start()
	defer server.Close()
	var idle []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	status, e := 0, core.Error{}
	for status != 503 { // the server may count them a moment later
		status, e = ask(t, "POST", server.URL+"/run/f", "{}")
	}
	if e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !e.Retryable {
		t.Errorf("%+v", e)
	}
	if status, e := ask(t, "GET", server.URL+"/healthz", ""); status != 200 {
		t.Errorf("health: %d %+v", status, e)
	}
	for _, conn := range idle {
		conn.Close()
	}
	for range 100 {
		if status, e = ask(t, "POST", server.URL+"/run/f", "{}"); status == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("after the others have gone: %d %+v", status, e)
}

// Of connections without end, of one client or of many, those are closed that are too many, and the others go
// on.
func TestConnectionsAreBounded(t *testing.T) {
	c := newConnections(slog.New(slog.DiscardHandler))
	c.most, c.spare = 80, 11
	near, far, third := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	enter := func(client netip.Addr, times int) (entered int) {
		for range times {
			if c.enter(client) {
				entered++
			}
		}
		return entered
	}
	if n := enter(far, 100); n != 21 || c.refuse() != nil {
		t.Errorf("one client has %d connections of 80, refused: %v", n, c.refuse())
	}
	if n := enter(near, 100); n != 91-21 || c.refuse() == nil {
		t.Errorf("this machine has %d connections, refused: %v", n, c.refuse())
	}
	if enter(third, 1) != 0 {
		t.Error("there is no bound")
	}
	for range 21 {
		c.leave(far)
	}
	if n := enter(third, 100); n != 21 || len(c.byClient) != 2 {
		t.Errorf("%d connections after others have ended; %d clients", n, len(c.byClient))
	}
}

// A listener closes connections that are too many, and counts those that have ended no more.
func TestCountedListener(t *testing.T) {
	g := newGateway(echo)
	g.connections.most, g.connections.spare = 2, 1
	server := httptest.NewUnstartedServer(g)
	server.Listener = counted{server.Listener, g.connections}
	server.Start()
	defer server.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	first := dial()
	dial()
	dial()
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection too many: %v", err)
	}
	first.Close()
	for range 100 {
		conn := dial()
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if answer, _ := io.ReadAll(conn); strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a connection that has ended is still counted")
}
