package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// streaming is an Invoker whose functions answer in parts, if the caller takes them.
type streaming struct {
	function
	answer func(core.Stream) error
}

func (f streaming) Invoke(_ context.Context, i core.Invocation) (core.Result, error) {
	result := core.Result{Body: []byte(`"whole"`), Start: core.StartWarm}
	if i.Stream == nil {
		return result, nil
	}
	return result, f.answer(i.Stream)
}

// serve serves the site of a function that answers in parts.
func serve(t *testing.T, answer func(core.Stream) error) string {
	t.Helper()
	f := streaming{answer: answer}
	front := gateway.New(core.Service{Invoker: f, Tree: f}, slog.New(slog.DiscardHandler))
	Mount(front)
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	return server.URL + "/fn/f"
}

// get sends a request, and returns the response with what of its body came, and the error that ended it.
func get(t *testing.T, method, url string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func TestStream(t *testing.T) {
	next := make(chan struct{})
	url := serve(t, func(s core.Stream) error {
		if err := s.Begin([]byte(`{"statusCode":"201","headers":{"Content-Type":"text/event-stream","Content-Length":"1"},"cookies":["a=1","b=2"]}`), core.Result{Start: core.StartFork}); err != nil {
			return err
		}
		for _, part := range []string{"", "data: 1\n\n", "data: 2\n\n"} {
			if err := s.Write(t.Context(), []byte(part)); err != nil {
				return err
			}
			<-next
		}
		return nil
	})
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	h := response.Header
	if response.StatusCode != 201 || h.Get("Content-Type") != "text/event-stream" || strings.Join(h.Values("Set-Cookie"), " ") != "a=1 b=2" ||
		h.Get("Pipsqueak-Start") != "fork" || response.ContentLength != -1 {
		t.Errorf("%d %v before there is a body", response.StatusCode, h)
	}
	body := bufio.NewReader(response.Body)
	for _, want := range []string{"data: 1\n", "\n", "data: 2\n", "\n"} {
		if strings.HasPrefix(want, "data") {
			next <- struct{}{}
		}
		if line, err := body.ReadString('\n'); line != want || err != nil {
			t.Errorf("%q, want %q while the function writes: %v", line, want, err)
		}
	}
	next <- struct{}{}
	if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v at the end", rest, err)
	}
}

// TestStreamFails: what fails before the first part is a status, what fails later breaks the response off.
func TestStreamFails(t *testing.T) {
	failed := core.Errorf(core.KindException, core.FaultHandler, "the handler raised KeyError: 'secret'")
	response, body, err := get(t, "GET", serve(t, func(core.Stream) error { return failed }))
	if response.StatusCode != 500 || strings.Contains(body, "secret") || err != nil {
		t.Errorf("before the head: %d %s %v", response.StatusCode, body, err)
	}
	for head, says := range map[string]string{`{"statusCode":99}`: "statusCode is 99", `[]`: "its head is []", `{"headers":{"a b":"c"}}`: "is not a name"} {
		response, body, _ = get(t, "GET", serve(t, func(s core.Stream) error { return s.Begin([]byte(head), core.Result{}) }))
		if response.StatusCode != 502 || !strings.Contains(response.Header.Get("Content-Type"), "json") || strings.Contains(body, says) {
			t.Errorf("%s: %d %s", head, response.StatusCode, body)
		}
	}
	response, body, err = get(t, "GET", serve(t, func(s core.Stream) error {
		return errors.Join(s.Begin([]byte(`{}`), core.Result{}), s.Write(t.Context(), []byte("half")), failed)
	}))
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/octet-stream" || body != "half" || err == nil {
		t.Errorf("after a part: %d %q, and the response looks whole: %v", response.StatusCode, body, err)
	}
}

// TestStreamWithoutBody: to HEAD, with 204 and to HTTP/1.0.
func TestStreamWithoutBody(t *testing.T) {
	for method, head := range map[string]string{"HEAD": `{"statusCode":200,"headers":{"a":"b","content-length":"14"}}`, "GET": `{"statusCode":204,"headers":{"a":"b"}}`} {
		response, body, err := get(t, method, serve(t, func(s core.Stream) error {
			return errors.Join(s.Begin([]byte(head), core.Result{}), s.Write(t.Context(), []byte("dropped")), s.Write(t.Context(), []byte("dropped")))
		}))
		if body != "" || err != nil || response.Header.Get("A") != "b" || (response.ContentLength == 14) != (method == "HEAD") {
			t.Errorf("%s with %s: %q, %v, %v", method, head, body, response.Header, err)
		}
	}
	r := httptest.NewRequest("GET", "http://10.0.0.1/fn/f", http.NoBody)
	r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	f := streaming{answer: func(core.Stream) error { return errors.New("offered") }}
	front := gateway.New(core.Service{Invoker: f, Tree: f}, slog.New(slog.DiscardHandler))
	Mount(front)
	w := httptest.NewRecorder()
	if front.ServeHTTP(w, r); w.Body.String() != "whole" {
		t.Errorf("HTTP/1.0 has no chunks, and is answered by %s", w.Body)
	}
}

// TestStreamHeldBack: a caller that takes nothing holds the function back, until its time is over, or the
// caller goes.
func TestStreamHeldBack(t *testing.T) {
	ended := make(chan error, 1)
	url := serve(t, func(s core.Stream) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
		defer cancel()
		err := s.Begin([]byte(`{}`), core.Result{})
		written := 0
		for ; err == nil && written < 1<<30; written += core.MaxPart {
			err = s.Write(ctx, make([]byte, core.MaxPart))
		}
		if !core.IsKind(err, core.KindCanceled) || written > 64<<20 {
			t.Errorf("%d bytes were written, then %v", written, err)
		}
		ended <- err
		return err
	})
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	if n, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Errorf("a response of %d bytes that was held back too long looks whole", n)
	}
	response.Body.Close()
	response, err = http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	<-ended
}

// TestStreamIsShort: a response that ends before its own Content-Length is broken off.
func TestStreamIsShort(t *testing.T) {
	for body, method := range map[string]string{"1234": "GET", "12345": "GET", "123456": "GET", "": "HEAD"} {
		url := serve(t, func(s core.Stream) error {
			return errors.Join(s.Begin([]byte(`{"headers":{"content-length":"5"}}`), core.Result{}), s.Write(t.Context(), []byte(body)))
		})
		_, got, err := get(t, method, url)
		if got != body || (err != nil) != (body == "1234") {
			t.Errorf("%s of %d bytes with the length 5: %q, %v", method, len(body), got, err)
		}
	}
}
