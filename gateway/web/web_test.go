package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// function is an Invoker whose functions all do the same; none is called none.
type function func(event []byte) (string, error)

func (f function) Admit(name, _ string) error {
	if name == "none" {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
	}
	return nil
}

func (f function) Public(string) bool { return false }

func (f function) Invoke(_ context.Context, i core.Invocation) (core.Result, error) {
	body, err := f(i.Event)
	return core.Result{Body: []byte(body), Start: core.StartWarm}, err
}

func (f function) Snapshot(context.Context) (core.Snapshot, error) { return core.Snapshot{}, nil }

// returns is a function that returns always the same.
func returns(result string) function { return func([]byte) (string, error) { return result, nil } }

// ask sends a request to the site of a function.
func ask(f function, method, url, body string, headers ...string) *httptest.ResponseRecorder {
	front := gateway.New(core.Service{Invoker: f, Tree: f}, slog.New(slog.DiscardHandler))
	Mount(front)
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.RemoteAddr = "192.0.2.7:1234"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, r)
	return w
}

// request is what a handler gets.
type request struct {
	Version, RouteKey, RawPath, RawQueryString string
	Cookies                                    []string
	Headers, QueryStringParameters             map[string]string
	RequestContext                             struct {
		APIID, DomainName, DomainPrefix, RequestID, Stage, Time string
		TimeEpoch                                               int64
		HTTP                                                    struct{ Method, Path, Protocol, SourceIP, UserAgent string }
	}
	Body            *string
	IsBase64Encoded *bool
}

// received returns the event of a request.
func received(t *testing.T, method, url, body string, headers ...string) (got request) {
	t.Helper()
	w := ask(func(event []byte) (string, error) {
		if err := value.Check(event); err != nil {
			t.Errorf("the event %v: %s", err, event)
		}
		if err := json.Unmarshal(event, &got); err != nil {
			t.Error(err)
		}
		return `null`, nil
	}, method, url, body, headers...)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return got
}

func TestEvent(t *testing.T) {
	got := received(t, "PATCH", "http://10.0.0.1:8080/fn/shop/caf%C3%A9/a%2Fb?x=1&y=%C3%A4&x=2&z", `{"a":"<ä>"}`, "Content-Type: application/json; charset=utf-8",
		"X-Twice: 1", "X-Twice: 2", "Cookie: a=1;; b=2; ", "Cookie: c=3", "Cookie: ", "User-Agent: me", "X-Request-Id: r1")
	if got.Version != "2.0" || got.RouteKey != "$default" || got.RawPath != "/caf%C3%A9/a%2Fb" || got.RawQueryString != "x=1&y=%C3%A4&x=2&z" {
		t.Errorf("%+v", got)
	}
	if !reflect.DeepEqual(got.Cookies, []string{"a=1", "b=2", "c=3"}) || got.Headers["cookie"] != "" {
		t.Errorf("cookies %q", got.Cookies)
	}
	if want := map[string]string{"x": "1,2", "y": "ä", "z": ""}; !reflect.DeepEqual(got.QueryStringParameters, want) {
		t.Errorf("parameters %q", got.QueryStringParameters)
	}
	want := map[string]string{"content-type": "application/json; charset=utf-8", "x-twice": "1,2", "user-agent": "me", "x-request-id": "r1",
		"host": "10.0.0.1:8080", "content-length": "12", "x-forwarded-prefix": "/fn/shop"}
	if !reflect.DeepEqual(got.Headers, want) {
		t.Errorf("headers %q", got.Headers)
	}
	c := got.RequestContext
	if c.APIID != "shop" || c.DomainName != "10.0.0.1" || c.RequestID != "r1" || c.Stage != "$default" || c.TimeEpoch < 1.7e12 || len(c.Time) != len("12/Mar/2020:19:03:58 +0000") {
		t.Errorf("context %+v", c)
	}
	if h := c.HTTP; h.Method != "PATCH" || h.Path != got.RawPath || h.Protocol != "HTTP/1.1" || h.SourceIP != "192.0.2.7" || h.UserAgent != "me" {
		t.Errorf("http %+v", h)
	}
	if got.Body == nil || *got.Body != `{"a":"<ä>"}` || *got.IsBase64Encoded {
		t.Errorf("body %v", got.Body)
	}
}

// Queries are read as browsers write them and as web frameworks read them.
func TestEventParameters(t *testing.T) {
	for query, want := range map[string]map[string]string{
		"a=1;b=2&c+d=e+f": {"a": "1;b=2", "c d": "e f"},
		"x=100%&y=%zz&%":  {"x": "100%", "y": "%zz", "%": ""},
		"z=%C3%A4%2B&&=":  {"z": "ä+", "": ""},
		"q=%4&q=%41&q=%+": {"q": "%4,A,% "},
	} {
		got := map[string]string{}
		for name, values := range parameters(query) {
			got[name] = strings.Join(values, ",")
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// A body that comes in chunks has a length when the function sees it.
func TestEventLength(t *testing.T) {
	var headers map[string]string
	front := gateway.New(core.Service{Invoker: function(func(event []byte) (string, error) {
		var got request
		err := json.Unmarshal(event, &got)
		headers = got.Headers
		return "1", err
	})}, slog.New(slog.DiscardHandler))
	Mount(front)
	r := httptest.NewRequest("POST", "http://10.0.0.1/fn/f", io.MultiReader(strings.NewReader("abc"), strings.NewReader("de")))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	if front.ServeHTTP(w, r); w.Code != 200 || headers["content-length"] != "5" {
		t.Errorf("%d %s %q", w.Code, w.Body, headers)
	}
	if got := received(t, "GET", "http://10.0.0.1/fn/f", "").Headers; got["content-length"] != "" {
		t.Errorf("without a body: %q", got)
	}
}

func TestEventPaths(t *testing.T) {
	for url, want := range map[string][3]string{
		"http://10.0.0.1/fn/f":            {"f", "/", "/fn/f"},
		"http://10.0.0.1/fn/f/":           {"f", "/", "/fn/f"},
		"http://10.0.0.1/fn/f//..//x/":    {"f", "//..//x/", "/fn/f"},
		"http://10.0.0.1/fn/%66/x?":       {"f", "/x", "/fn/%66"},
		"http://f.localhost:8080/":        {"f", "/", ""},
		"http://f.localhost/v1/functions": {"f", "/v1/functions", ""},
		"http://F.localhost./run/g":       {"F", "/run/g", ""},
		"http://f.LOCALHOST/v1/functions": {"f", "/v1/functions", ""},
		"http://10.0.0.1/%66n/f/x":        {"f", "/x", "/fn/f"},
	} {
		got := received(t, "GET", url, "")
		if is := [3]string{got.RequestContext.APIID, got.RawPath, got.Headers["x-forwarded-prefix"]}; is != want {
			t.Errorf("%s: %q, want %q", url, is, want)
		}
	}
	for url, status := range map[string]int{"http://10.0.0.1/fn/none/x": 404, "http://none.localhost/": 404, "http://10.0.0.1/fn/": 400, "http://10.0.0.1/fn/a%2Fb/c": 400,
		"http://10.0.0.1/fn": 404, "http://10.0.0.1/fn%2Ff/x": 404, "http://.localhost/": 400, "http://localhost/": 404} {
		if w := ask(returns(`1`), "GET", url, ""); w.Code != status {
			t.Errorf("%s: %d, want %d: %s", url, w.Code, status, w.Body)
		}
	}
}

// What a caller says of where the function is does not count, and TLS is told of.
func TestEventForwarded(t *testing.T) {
	for url, want := range map[string][2]string{"http://f.localhost/x": {"", "http"}, "http://10.0.0.1/fn/f/x": {"/fn/f", "http"}, "https://f.localhost/x": {"", "https"}} {
		got := received(t, "GET", url, "", "X-Forwarded-Prefix: /evil", "X-Forwarded-Proto: http").Headers
		if is := [2]string{got["x-forwarded-prefix"], got["x-forwarded-proto"]}; is != want {
			t.Errorf("%s: %q, want %q", url, is, want)
		}
	}
}

func TestEventBodies(t *testing.T) {
	long := strings.Repeat("ä\"\x01", 200_000)
	for _, test := range []struct {
		media, body string
		isText      bool
	}{
		{"text/plain", "hello", true},
		{"text/html", long, true},
		{"text/plain", "\xff", false},
		{"application/vnd.api+json", "{}", true},
		{"image/svg+xml", "<svg/>", true},
		{"application/x-www-form-urlencoded", "a=1", false},
		{"multipart/form-data; boundary=x", "--x--", false},
		{"image/png", "\x89PNG" + long, false},
		{"", "?", false},
		{"text", "?", false},
	} {
		got := received(t, "POST", "http://10.0.0.1/fn/f", test.body, "Content-Type: "+test.media)
		body := *got.Body
		if *got.IsBase64Encoded {
			decoded, err := base64.StdEncoding.DecodeString(body)
			if err != nil {
				t.Fatal(err)
			}
			body = string(decoded)
		}
		if *got.IsBase64Encoded == test.isText || body != test.body {
			t.Errorf("%s %.10q: base64 %v, %d bytes of %d", test.media, test.body, *got.IsBase64Encoded, len(body), len(test.body))
		}
	}
	if got := received(t, "POST", "http://10.0.0.1/fn/f", ""); got.Body != nil || *got.IsBase64Encoded {
		t.Errorf("an empty body is %v", got.Body)
	}
	for _, media := range []string{"text/plain", "image/png"} {
		size := core.MaxEvent * 3 / 4
		if w := ask(returns(`1`), "POST", "http://10.0.0.1/fn/f", strings.Repeat("<", size), "Content-Type: "+media); w.Code != 413 {
			t.Errorf("%s of %d bytes: %d", media, size, w.Code)
		}
	}
}

func TestResponse(t *testing.T) {
	for _, test := range []struct {
		result, body, media string
		status              int
	}{
		{`{"statusCode":201,"headers":{"content-type":"text/plain","X-N":7},"body":"hi","cookies":["a=1","b=2"]}`, "hi", "text/plain", 201},
		{`{"statusCode":200,"body":"aGk=","isBase64Encoded":true,"headers":{"Content-Type":"image/png"}}`, "hi", "image/png", 200},
		{`{"statusCode":"302","headers":{"location":"/x","transfer-encoding":"chunked","connection":"close","content-length":"99"}}`, "", "application/json", 302},
		{`{"statusCode":204,"body":"dropped"}`, "", "application/json", 204},
		{`{"a":1}`, `{"a":1}`, "application/json", 200},
		{`"hi"`, `hi`, "application/json", 200},
		{`null`, `null`, "application/json", 200},
		{`[1]`, `[1]`, "application/json", 200},
		{`{"statusCode":200,"body":null,"headers":null,"cookies":null}`, ``, "application/json", 200},
	} {
		w := ask(returns(test.result), "GET", "http://10.0.0.1/fn/f", "")
		if w.Code != test.status || w.Body.String() != test.body || w.Header().Get("Content-Type") != test.media {
			t.Errorf("%s: %d %q %s", test.result, w.Code, w.Body, w.Header())
		}
		if w.Code != 204 && w.Header().Get("Content-Length") == "99" || w.Header().Get("Connection") != "" || w.Header().Get("Transfer-Encoding") != "" {
			t.Errorf("%s: a header of the connection in %s", test.result, w.Header())
		}
		if w.Header().Get(gateway.HeaderRequestID) == "" || w.Header().Get("Pipsqueak-Start") != "warm" {
			t.Errorf("%s: %s", test.result, w.Header())
		}
	}
	w := ask(returns(`{"statusCode":201,"headers":{"X-N":7},"cookies":["a=1","b=2"]}`), "HEAD", "http://10.0.0.1/fn/f", "")
	if !reflect.DeepEqual(w.Header().Values("Set-Cookie"), []string{"a=1", "b=2"}) || w.Header().Get("X-N") != "7" {
		t.Errorf("%s", w.Header())
	}
	for length, want := range map[string]string{"5": "5", "-5": "", "x": ""} { // frameworks leave the body out, and keep its length
		if w := ask(returns(`{"statusCode":200,"headers":{"content-length":"`+length+`"},"body":""}`), "HEAD", "http://10.0.0.1/fn/f", ""); w.Header().Get("Content-Length") != want {
			t.Errorf("HEAD: %s", w.Header())
		}
	}
	if w := ask(returns(`{"statusCode":200,"headers":{"content-length":"9"},"body":"four"}`), "HEAD", "http://10.0.0.1/fn/f", ""); w.Body.Len() != 0 || w.Header().Get("Content-Length") != "4" {
		t.Errorf("HEAD: %q %s", w.Body, w.Header())
	}
}

// TestSharedAddress: below /fn no function says what browsers do with the whole address, and at a host of its
// own each does.
func TestSharedAddress(t *testing.T) {
	result := `{"statusCode":200,"headers":{"service-worker-allowed":"/","Clear-Site-Data":"*","STRICT-TRANSPORT-SECURITY":"max-age=9","alt-svc":"h3","NEL":"{}","report-to":"{}","X-Own":"1"}}`
	for url, more := range map[string]int{"http://10.0.0.1/fn/f": 0, "http://f.localhost/": 6} {
		w := ask(returns(result), "GET", url, "")
		found := 0
		for _, name := range origin {
			if w.Header().Get(name) != "" {
				found++
			}
		}
		if w := ask(returns(result), "GET", url, "", "Service-Worker: script"); (w.Code == 200) != (more > 0) {
			t.Errorf("a service worker at %s: %d", url, w.Code)
		}
		if w := ask(returns(result), "GET", strings.TrimSuffix(url, "/")+"/sw.js", "", "Service-Worker: script"); w.Code != 200 {
			t.Errorf("a service worker below %s: %d", url, w.Code)
		}
		if found != more || w.Header().Get("X-Own") != "1" {
			t.Errorf("%s: %d of them in %s", url, found, w.Header())
		}
		w = httptest.NewRecorder()
		r := httptest.NewRequest("GET", url, http.NoBody)
		f := streaming{answer: func(s core.Stream) error { return s.Begin([]byte(result), core.Result{}) }}
		front := gateway.New(core.Service{Invoker: f, Tree: f}, slog.New(slog.DiscardHandler))
		Mount(front)
		if front.ServeHTTP(w, r); (w.Header().Get("Clear-Site-Data") != "") != (more > 0) || w.Header().Get("X-Own") != "1" {
			t.Errorf("in parts, %s: %s", url, w.Header())
		}
	}
}

func TestResponseRefused(t *testing.T) {
	for result, says := range map[string]string{
		`{"statusCode":99}`:                                       "statusCode is 99",
		`{"statusCode":600}`:                                      "statusCode is 600",
		`{"statusCode":"ok"}`:                                     `statusCode is \"ok\"`,
		`{"statusCode":200.5}`:                                    "statusCode is 200.5",
		`{"statusCode":200,"body":{"a":1}}`:                       "JSON.stringify",
		`{"statusCode":200,"headers":[]}`:                         "headers is []",
		`{"statusCode":200,"headers":{"a b":"c"}}`:                `\"a b\" is not a name`,
		`{"statusCode":200,"headers":{"a":"b\r\nset-cookie: x"}}`: "a character that no header may have",
		`{"statusCode":200,"headers":{"a":["b"]}}`:                `the header \"a\" is`,
		`{"statusCode":200,"cookies":"a=1"}`:                      "not a list of strings",
		`{"statusCode":200,"cookies":["a\n"]}`:                    "Set-Cookie",
		`{"statusCode":200,"body":"!","isBase64Encoded":true}`:    "not in base64",
	} {
		w := ask(returns(result), "GET", "http://10.0.0.1/fn/f", "")
		if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%s: %d %s", result, w.Code, w.Body)
		}
	}
}

// TestFailureIsPrivate asks a function that raises for its page.
func TestFailureIsPrivate(t *testing.T) {
	raises := func([]byte) (string, error) {
		return "", &core.Error{Kind: core.KindException, Fault: core.FaultHandler, Message: "the handler raised KeyError: 'db-password'",
			Exception: &core.Exception{Type: "KeyError", Message: "db-password", Stack: []string{"handler.py:3"}}}
	}
	w := ask(raises, "GET", "http://10.0.0.1/fn/f", "", "X-Request-Id: r7")
	if text := w.Body.String(); w.Code != 500 || strings.Contains(text, "password") || strings.Contains(text, "handler.py") || !strings.Contains(text, "r7") {
		t.Errorf("%d %s", w.Code, text)
	}
}

func TestPages(t *testing.T) {
	for _, test := range []struct {
		method, url, header string
		status              int
	}{
		{"GET", "http://127.0.0.1:8080/fn/f", "Sec-Fetch-Site: cross-site", 200}, // a link
		{"POST", "http://127.0.0.1:8080/fn/f", "Sec-Fetch-Site: same-origin", 200},
		{"POST", "http://f.localhost:8080/v1/functions", "Sec-Fetch-Site: same-origin", 200}, // the function's own
		{"POST", "http://127.0.0.1:8080/fn/f", "Sec-Fetch-Site: cross-site", 403},
		{"POST", "http://f.localhost:8080/", "Origin: http://g.localhost:8080", 403},
		{"GET", "http://127.0.0.1:8080/metrics", "Sec-Fetch-Site: same-origin", 403},
		{"GET", "http://127.0.0.1:8080/healthz", "Sec-Fetch-Site: none", 200}, // typed by the operator
	} {
		if w := ask(returns(`1`), test.method, test.url, "", test.header); w.Code != test.status {
			t.Errorf("%s %s with %s: %d %s", test.method, test.url, test.header, w.Code, w.Body)
		}
	}
}

func BenchmarkSite(b *testing.B) {
	front := gateway.New(core.Service{Invoker: returns(`{"statusCode":200,"body":"hi"}`), Tree: returns("")}, slog.New(slog.DiscardHandler))
	Mount(front)
	r := httptest.NewRequest("GET", "http://10.0.0.1/fn/f/path?x=1", http.NoBody)
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "Cookie": {"a=1; b=2"}}
	for b.Loop() {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(io.ReadAll(w.Body))
		}
	}
}

// What the worker says of an event is in the headers of every response, whatever the function says.
func TestWorkersHeaders(t *testing.T) {
	w := ask(returns(`{"statusCode":200,"headers":{"x-request-id":"forged","PIPSQUEAK-START":"forged","pipsqueak-more":"forged","server-timing":"db;dur=7"}}`),
		"GET", "http://10.0.0.1/fn/f", "", "X-Request-Id: mine")
	h := w.Header()
	if h.Get("X-Request-Id") != "mine" || h.Get("Pipsqueak-Start") != "warm" || h.Get("Pipsqueak-More") != "" {
		t.Errorf("%v", h)
	}
	if got := h.Values("Server-Timing"); len(got) != 2 || got[1] != "db;dur=7" {
		t.Errorf("%q", got)
	}
}
