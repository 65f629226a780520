package v1

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

func TestRunEvents(t *testing.T) {
	url := serve(t, &fakeService{invoke: echo}).URL + "/run/echo"
	huge := `"` + strings.Repeat("x", core.MaxEvent-2) + `"`
	for _, test := range []struct {
		name, event string
		status      int
		kind        core.Kind
		result      string
	}{
		{"object", `{"a": [1, 2]}`, 200, "", `{"a": [1, 2]}`},
		{"scalar", `7`, 200, "", `7`},
		{"empty", ``, 200, "", `{}`},
		{"largest", huge, 200, "", huge},
		{"one byte over", huge + " ", 413, core.KindTooLarge, ""},
		{"not JSON", `{"a": `, 400, core.KindInvalid, ""},
		{"two values", `{} {}`, 400, core.KindInvalid, ""},
		{"form", `a=1&b=2`, 400, core.KindInvalid, ""},
		{"blank", ` `, 400, core.KindInvalid, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := ask(t, "POST", url, test.event)
			if a.status != test.status {
				t.Fatalf("status %d, want %d: %s", a.status, test.status, gateway.Clip(a.body))
			}
			if test.kind != "" {
				if e := a.failure(t); e.Kind != test.kind || e.Fault != core.FaultCaller {
					t.Errorf("got %+v", e)
				}
				return
			}
			if a.body != test.result {
				t.Errorf("got %s", gateway.Clip(a.body))
			}
		})
	}
}

func TestRunTooLargeWithoutLength(t *testing.T) {
	url := serve(t, &fakeService{invoke: echo}).URL + "/run/echo"
	body := io.MultiReader(strings.NewReader(`"`), io.LimitReader(endless{}, core.MaxEvent))
	response, err := http.Post(url, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestRunHeaders(t *testing.T) {
	server := serve(t, &fakeService{invoke: func(context.Context, core.Invocation) (core.Result, error) {
		return core.Result{Body: []byte("1"), Start: core.StartFork, Phases: core.Phases{
			Queue: 400 * time.Nanosecond, Fork: 1234 * time.Microsecond, Enter: 59 * time.Microsecond,
			Handler: 2 * time.Second, Total: 2*time.Second + 1294*time.Microsecond,
		}}, nil
	}})
	a := ask(t, "POST", server.URL+"/run/f", "")
	if got, want := a.header.Get("Server-Timing"), "queue;dur=0.000, fork;dur=1.234, enter;dur=0.059, handler;dur=2000.000, total;dur=2001.294"; got != want {
		t.Errorf("Server-Timing %q\n          want %q", got, want)
	}
	if got := a.header.Get("Pipsqueak-Start"); got != "fork" {
		t.Errorf("Pipsqueak-Start %q", got)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestRunRequestID(t *testing.T) {
	var got string
	server := serve(t, &fakeService{invoke: func(_ context.Context, i core.Invocation) (core.Result, error) {
		got = i.ID
		return core.Result{Body: []byte("1")}, nil
	}})
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for _, test := range []struct {
		given string
		kept  bool
	}{
		{"abc-123/~", true}, {strings.Repeat("x", 128), true}, {strings.Repeat("x", 129), false},
		{"has space", false}, {"bell\x7f", false}, {"ümlaut", false}, {"", false},
	} {
		request, _ := http.NewRequest("POST", server.URL+"/run/f", nil)
		request.Header["X-Request-Id"] = []string{test.given}
		w := &nowhere{http.Header{}}
		server.Config.Handler.ServeHTTP(w, request)
		id := w.header["X-Request-Id"]
		if len(id) != 1 || id[0] != got {
			t.Errorf("%q: header %q, invocation %q", test.given, id, got)
		}
		if test.kept && got != test.given || !test.kept && !made.MatchString(got) || seen[got] {
			t.Errorf("%q became %q", test.given, got)
		}
		seen[got] = true
	}
}

func TestRunErrors(t *testing.T) {
	var fails error
	server := serve(t, &fakeService{invoke: func(context.Context, core.Invocation) (core.Result, error) {
		return core.Result{Start: core.StartWarm, Phases: core.Phases{Handler: time.Millisecond, Total: 2 * time.Millisecond}}, fails
	}})
	for _, test := range []struct {
		kind   core.Kind
		fault  core.Fault
		status int
		later  string
	}{
		{core.KindInvalid, core.FaultCaller, 400, ""},
		{core.KindInvalid, core.FaultHandler, 502, ""},
		{core.KindNotFound, core.FaultCaller, 404, ""},
		{core.KindConflict, core.FaultCaller, 409, ""},
		{core.KindTooLarge, core.FaultCaller, 413, ""},
		{core.KindTooLarge, core.FaultHandler, 502, ""},
		{core.KindUnsupported, core.FaultWorker, 501, ""},
		{core.KindExhausted, core.FaultCaller, 429, "8"},
		{core.KindExhausted, core.FaultWorker, 503, "1"}, // memory
		{core.KindExhausted, core.FaultWorker, 507, ""},  // the disk
		{core.KindTimeout, core.FaultHandler, 504, ""},
		{core.KindCanceled, core.FaultCaller, 499, ""},
		{core.KindCanceled, core.FaultWorker, 503, "1"},
		{core.KindException, core.FaultHandler, 500, ""},
		{core.KindExit, core.FaultHandler, 502, ""},
		{core.KindMemory, core.FaultHandler, 502, ""},
		{core.KindUnavailable, core.FaultDriver, 503, "1"},
		{core.KindUnavailable, core.FaultWorker, 503, ""}, // a package in quarantine
		{core.KindInternal, core.FaultWorker, 500, ""},
		{"unheard_of", core.FaultWorker, 500, ""},
	} {
		fails = &core.Error{Kind: test.kind, Fault: test.fault, Message: "<it> broke", Retryable: test.later != ""}
		if test.later == "8" {
			fails = core.AsError(fails).After(7*time.Second + time.Millisecond)
		}
		a := ask(t, "POST", server.URL+"/run/f", "{}")
		e := a.failure(t)
		if a.status != test.status || e.Kind != test.kind || e.Fault != test.fault || e.Message != "<it> broke" || e.Retryable != (test.later != "") {
			t.Errorf("%s/%s: status %d, want %d, %s", test.kind, test.fault, a.status, test.status, a.body)
		}
		if got := a.header.Get("Retry-After"); got != test.later {
			t.Errorf("%s: Retry-After %q", test.kind, got)
		}
		if a.header.Get("X-Request-Id") == "" || a.header.Get("Pipsqueak-Start") != "warm" ||
			a.header.Get("Server-Timing") != "handler;dur=1.000, total;dur=2.000" {
			t.Errorf("%s: headers %v", test.kind, a.header)
		}
	}
}

func TestRunException(t *testing.T) {
	server := serve(t, &fakeService{invoke: func(context.Context, core.Invocation) (core.Result, error) {
		e := core.Errorf(core.KindException, core.FaultHandler, "the handler raised")
		e.Exception = &core.Exception{Type: "ValueError", Message: "a < b & c"}
		return core.Result{}, e
	}})
	a := ask(t, "POST", server.URL+"/run/f", "{}")
	const want = `{"error":{"kind":"exception","message":"the handler raised","fault":"handler","exception":{"type":"ValueError","message":"a < b & c","stack":[]}}}`
	if strings.TrimSpace(a.body) != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	if a.header.Get("Pipsqueak-Start") != "none" || !strings.HasPrefix(a.header.Get("Server-Timing"), "total;dur=") {
		t.Errorf("headers %v", a.header)
	}
}

func TestRunNames(t *testing.T) {
	var got string
	server := serve(t, &fakeService{invoke: func(_ context.Context, i core.Invocation) (core.Result, error) {
		got = i.Function
		return core.Result{Body: []byte("1")}, nil
	}})
	for path, want := range map[string]string{
		"echo": "echo", "a%2Db": "a-b", "h%C3%A9": "hé", "...": "...",
		"..": "", "%2e%2e": "", "..%2F..%2Fetc": "", "a/b": "", "a%2Fb": "", "a%5Cb": "", "a%00b": "", "%ff": "", "a%0Ab": "",
		strings.Repeat("n", 300): "",
	} {
		got = ""
		a := ask(t, "POST", server.URL+"/run/"+path, "{}")
		if got != want || (want == "") != (a.status == 400) {
			t.Errorf("%s: status %d, function %q, want %q", gateway.Clip(path), a.status, got, want)
		}
		if want == "" && a.failure(t).Kind != core.KindInvalid {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestRunMethods(t *testing.T) {
	server := serve(t, &fakeService{invoke: echo})
	for method, want := range map[string]int{"GET": 405, "HEAD": 405, "PUT": 405, "DELETE": 405, "BREW": 405, "OPTIONS": 204} {
		a := ask(t, method, server.URL+"/run/f", "")
		if a.status != want || a.header.Get("Allow") != "OPTIONS, POST" || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d %v", method, a.status, a.header)
		}
		if want == 405 && method != "HEAD" {
			a.failure(t)
		}
	}
}

func TestRunPanic(t *testing.T) {
	server := serve(t, &fakeService{invoke: func(_ context.Context, i core.Invocation) (core.Result, error) {
		if i.Function == "bad" {
			panic("secret")
		}
		return echo(t.Context(), i)
	}})
	a := ask(t, "POST", server.URL+"/run/bad", "{}")
	if e := a.failure(t); a.status != 500 || e.Kind != core.KindInternal || strings.Contains(a.body, "secret") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(t, "POST", server.URL+"/run/good", "{}"); a.status != 200 {
		t.Errorf("after a panic: %d", a.status)
	}
}

// Each request gets its own event back: buffers are pooled, and a mix-up would show here.
func TestRunConcurrent(t *testing.T) {
	server := serve(t, &fakeService{invoke: echo})
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 50 {
				event := fmt.Sprintf(`{"worker":%d,"i":%d,"pad":%q}`, worker, i, strings.Repeat("p", worker*i*20))
				if a := ask(t, "POST", server.URL+"/run/echo", event); a.body != event {
					t.Errorf("sent %s got %s", gateway.Clip(event), gateway.Clip(a.body))
				}
			}
		})
	}
	all.Wait()
}

func TestRunCallerGoesAway(t *testing.T) {
	started, ended := make(chan bool), make(chan error, 1)
	server := serve(t, &fakeService{invoke: func(ctx context.Context, _ core.Invocation) (core.Result, error) {
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return core.Result{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	request, _ := http.NewRequestWithContext(ctx, "POST", server.URL+"/run/f", strings.NewReader("{}"))
	if _, err := http.DefaultClient.Do(request); err == nil {
		t.Error("a canceled request was answered")
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the invocation was not told")
	}
	waitFor(t, func() bool {
		return strings.Contains(ask(t, "GET", server.URL+"/metrics", "").body, `kind="canceled",language="none",start="none"} 1`)
	})
}

// patience is how long another goroutine may take for what it is about to do. Nothing takes that long when it
// works.
const patience = 30 * time.Second

// waitFor polls for what another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

// A caller that breaks off in the middle of its event has run nothing.
func TestRunHalfAnEvent(t *testing.T) {
	server := serve(t, &fakeService{invoke: func(context.Context, core.Invocation) (core.Result, error) {
		t.Error("half an event was run")
		return core.Result{}, nil
	}})
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(connection, "POST /run/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{}")
	_ = connection.(*net.TCPConn).CloseWrite()
	content, _ := io.ReadAll(connection)
	connection.Close()
	if len(content) > 0 && !strings.HasPrefix(string(content), "HTTP/1.1 499") {
		t.Errorf("got %q", content)
	}
}
