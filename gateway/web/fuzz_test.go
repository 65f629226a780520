package web

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// FuzzSites: whatever is asked of a site, its function gets an event in JSON with the path below where it is
// mounted; and whatever it answers, the response is one that HTTP knows, with headers that are one line each.
func FuzzSites(f *testing.F) {
	for _, target := range []string{"/fn/hello", "/fn/hello/a%2Fb?x=1&y", "/fn/", "/fn//", "/fn/a%2f..%2fb/c", "/fn/%zz", "/fn/hello/../x", "/fn/hello/%00", "/", "//x"} {
		for _, result := range []string{`"text"`, `{"statusCode":204}`, `{"statusCode":"302","headers":{"Location":"/x","A":1},"cookies":["a=b; Path=/"],"body":"eA==","isBase64Encoded":true}`,
			`{"statusCode":999}`, `{"statusCode":200,"headers":{"A":"b\r\nC: d","":"x","Content-Length":"9","é":"x"}}`, `{"statusCode":200,"cookies":[1],"body":{}}`} {
			f.Add("localhost", target, "a: b\r\nCookie: c=d", []byte(result))
			f.Add("hello.localhost:8080", target, "X-Request-Id: \x01", []byte(result))
		}
	}
	f.Fuzz(func(t *testing.T, host, target, headers string, result []byte) {
		if value.Check(result) != nil {
			return // core refuses such a result
		}
		said := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(said)))
		if err != nil {
			return // net/http answers such a request itself
		}
		r.RemoteAddr = "192.0.2.7:1234"
		front := gateway.New(core.Service{Invoker: function(func(event []byte) (string, error) {
			var got request
			if err := value.Check(event); err != nil || json.Unmarshal(event, &got) != nil || got.Version != "2.0" || !strings.HasPrefix(got.RawPath, "/") {
				t.Errorf("%q: the event is %s, %v", said, event, err)
			}
			return string(result), nil
		})}, slog.New(slog.DiscardHandler))
		Mount(front)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented && w.Code != http.StatusBadGateway && !strings.Contains(string(result), "statusCode") {
			t.Errorf("%q, answered with %s: status %d: %s", said, result, w.Code, w.Body)
		}
		for name, values := range w.Header() {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("%q, answered with %s: the header %q: %q", said, result, name, values)
			}
		}
	})
}
