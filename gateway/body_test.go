package gateway

import (
	"bytes"
	"compress/gzip"
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

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An event may come out of gzip, within the bounds of one that does not; every other coding is told to be unknown, everywhere.
func TestContentEncoding(t *testing.T) {
	server := serve(t, &fakeService{invoke: echo})
	whole := zipped(t, `{"a": 1}`)
	for _, test := range []struct {
		name, body, coding string
		status             int
		has                string
	}{
		{"gzip", whole, "gzip", 200, `{"a": 1}`},
		{"its old name, in capitals", whole, "X-GZIP", 200, `{"a": 1}`},
		{"nothing in gzip", zipped(t, ""), "gzip", 200, `{}`},
		{"identity", `{"a": 1}`, "identity", 200, `{"a": 1}`},
		{"no gzip", `{"a": 1}`, "gzip", 400, "Content-Encoding"},
		{"cut gzip", whole[:len(whole)-6], "gzip", 400, "Content-Encoding"},
		{"gzip with a wrong checksum", whole[:len(whole)-5] + "xxxxx", "gzip", 400, "Content-Encoding"},
		{"a bomb", zipped(t, strings.Repeat(" ", core.MaxEvent+1)), "gzip", 413, ""},
		{"as large as may be", zipped(t, strings.Repeat(" ", core.MaxEvent-1)+"1"), "gzip", 200, ""},
		{"gzip without a word", whole, "", 400, "not in UTF-8"},
		{"deflate", "x", "deflate", 415, "Content-Encoding"},
		{"brotli", "x", "br", 415, "Content-Encoding"},
		{"twice", "x", "gzip, gzip", 415, "Content-Encoding"},
	} {
		a := ask(t, "POST", server.URL+"/run/f", test.body, "Content-Encoding: "+test.coding)
		if a.status != test.status || !strings.Contains(a.body, test.has) {
			t.Errorf("%s: %d %s", test.name, a.status, clip(a.body))
		}
		if a.status == 415 && a.header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: %v", test.name, a.header)
		}
	}
	for _, path := range []string{"/v1/functions/f", "/v1/functions", "/v1/locks"} {
		method := map[bool]string{true: "PUT", false: "POST"}[path == "/v1/functions/f"]
		if a := ask(t, method, server.URL+path, whole, "Content-Encoding: gzip"); a.status != 415 || !strings.Contains(a.failure(t).Message, "Content-Encoding") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

// A body that does not come on is ended, that of an event and that of a deploy, whenever it stops.
func TestStalledBody(t *testing.T) {
	g := newGateway(&fakeService{invoke: echo, deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
		if _, err := io.Copy(io.Discard, r.Archive); err != nil {
			return core.Function{}, err
		}
		return core.Function{Name: "f"}, nil
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := steady(w, r.Body)
		body.waited = stall - 200*time.Millisecond
		r.Body = body
		g.ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, path := range []string{"POST /run/f", "PUT /v1/functions/f"} {
		for _, sent := range []string{"", `{"a": `} {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"+sent); err != nil {
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
	g := newGateway(&fakeService{invoke: func(ctx context.Context, i core.Invocation) (core.Result, error) {
		select {
		case <-ctx.Done():
			return core.Result{}, ctx.Err()
		case <-time.After(500 * time.Millisecond):
			return echo(ctx, i)
		}
	}})
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
