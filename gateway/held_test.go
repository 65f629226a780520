package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Do events hold more of the worker's memory than they may?

// Bodies that are on their way and events that run have one budget, and small events do not need it.
func TestHeld(t *testing.T) {
	running, finish := make(chan bool, 9), make(chan bool)
	g := newGateway(func(_ context.Context, i core.Invocation) (core.Result, error) {
		if len(i.Event) > freeEvent {
			running <- true
			<-finish
		}
		return core.Result{Body: []byte("1"), Start: core.StartWarm}, nil
	})
	g.held = core.NewBudget(6 << 20) // of which a namespace has half
	server := httptest.NewServer(g)
	defer server.Close()
	end := sync.OnceFunc(func() { close(finish) })
	defer end() // also when the test fails, for the server waits
	large := `"` + strings.Repeat("x", 1<<20-2) + `"`
	statuses := make(chan int, 2)
	run := func(name, body string) {
		status, _ := ask(t, "POST", server.URL+"/run/"+name, body)
		statuses <- status
	}
	go run("f", large)
	<-running
	body, more := io.Pipe() // half of an event
	defer more.Close()
	go func() {
		response, err := http.Post(server.URL+"/run/f", "application/json", body)
		if err != nil {
			t.Error(err)
			statuses <- 0
			return
		}
		response.Body.Close()
		statuses <- response.StatusCode
	}()
	if _, err := io.WriteString(more, large[:1<<20-9]); err != nil {
		t.Fatal(err)
	}
	status, e := ask(t, "POST", server.URL+"/run/f", `"`+strings.Repeat("x", 3<<20)+`"`)
	if status != 503 || e.Kind != core.KindExhausted || e.Fault != core.FaultWorker || !e.Retryable {
		t.Errorf("one event too many: %d %+v", status, e)
	}
	go run("f.other", large)
	<-running
	if status, e := ask(t, "POST", server.URL+"/run/f", `"small"`); status != 200 {
		t.Errorf("a small event beside them: %d %+v", status, e)
	}
	more.Close()
	if status := <-statuses; status != 400 { // half of it is no JSON
		t.Errorf("the body that came slowly: %d", status)
	}
	end()
	for range 2 {
		if status := <-statuses; status != 200 {
			t.Errorf("an event that ran: %d", status)
		}
	}
	if !g.held.Take("default", 3<<20) || !g.held.Take("other", 3<<20) {
		t.Error("bytes are missing in the budget after all events have ended")
	}
}

// Who sends a large event that is refused gets the answer, and not a reset connection, also when he closes it
// after that.
func TestRefusalArrives(t *testing.T) {
	server := httptest.NewServer(newGateway(echo))
	defer server.Close()
	large := strings.Repeat("x", 3<<20)
	for range 40 {
		if status, e := ask(t, "POST", server.URL+"/run/none", large); status != 404 || e.Kind != core.KindNotFound {
			t.Fatalf("%d %+v", status, e)
		}
	}
}

// An event for a function that does not exist is answered before it is read.
func TestAdmitted(t *testing.T) {
	server := httptest.NewServer(newGateway(echo))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /run/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
		t.Errorf("%v %q", err, answer)
	}
}
