package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A body that does not come on is ended, that of an event and any other, whenever it stops.
func TestStalledBody(t *testing.T) {
	g := newGateway(echo)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := steady(w, r.Body)
		body.waited = stall - 200*time.Millisecond
		r.Body = body
		g.ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, path := range []string{"POST /run/f", "PUT /bodies"} {
		for _, sent := range []string{"", `{"a": `} {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"+sent); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn) // until the server closes
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "stalled after") {
				t.Errorf("%s after %q: %v, %q", path, sent, err, answer)
			}
			conn.Close()
		}
		// Nor does one get more time because it comes one byte after the other.
		from, to := io.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for err := error(nil); err == nil; time.Sleep(20 * time.Millisecond) {
				_, err = to.Write([]byte(" "))
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		method, path, _ := strings.Cut(path, " ")
		request, err := http.NewRequestWithContext(ctx, method, server.URL+path, from)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil || response.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s byte by byte: %v, %v", path, response, err)
		} else {
			response.Body.Close()
		}
		cancel()
		from.Close()
		<-ended
	}
}

// One that comes slowly but steadily is not ended, and a handler that runs long after it is not either.
func TestSlowBody(t *testing.T) {
	g := newGateway(func(ctx context.Context, i core.Invocation) (core.Result, error) {
		select {
		case <-ctx.Done():
			return core.Result{}, ctx.Err()
		case <-time.After(500 * time.Millisecond):
			return echo(ctx, i)
		}
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := steady(w, r.Body)
		body.waited = stall - 300*time.Millisecond
		r.Body = body
		g.ServeHTTP(w, r)
	}))
	defer server.Close()
	from, to := io.Pipe()
	go func() {
		for range 5 {
			_, _ = to.Write([]byte(strings.Repeat(" ", slowest)))
			time.Sleep(100 * time.Millisecond)
		}
		_, _ = to.Write([]byte("1"))
		to.Close()
	}()
	response, err := http.Post(server.URL+"/run/f", "application/json", from)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != 200 || strings.TrimSpace(string(body)) != "1" {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}
