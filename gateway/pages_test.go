package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What may a page of another site do through the browser of somebody who reaches the worker?

// send asks the gateway for a path, with a Host and further headers as "Key: value".
func send(t *testing.T, g *Gateway, method, path, host string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader("{}"))
	request.Host = host
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		request.Header.Set(key, value)
	}
	answer := httptest.NewRecorder()
	g.ServeHTTP(answer, request)
	return answer
}

func TestHosts(t *testing.T) {
	g := newGateway(echo)
	g.Hosts("Worker1.example", "worker2.")
	for host, known := range map[string]bool{
		"127.0.0.1:8080": true, "127.0.0.1": true, "[::1]:8080": true, "[::1]": true, "10.1.2.3:80": true, "localhost:8080": true, "LOCALHOST": true,
		"localhost.": true, "f.localhost:1": true, "worker1.example:80": true, "WORKER1.EXAMPLE.": true, "worker2": true, "": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "notlocalhost": false, "127.0.0.1.evil.example": false,
		"worker1.example.evil.example": false, "worker": false, ":8080": false, "0x7f000001": false, "2130706433": false, "::ffff:evil": false,
	} {
		for _, path := range []string{"/run/f", "/healthz", "/metrics", "/nowhere"} {
			method := http.MethodGet
			if path == "/run/f" {
				method = http.MethodPost
			}
			if got := send(t, g, method, path, host); (got.Code != http.StatusMisdirectedRequest) != known {
				t.Errorf("%s for host %q: status %d", path, host, got.Code)
			}
		}
	}
	if got := send(t, g, "GET", "/healthz", "evil.example"); !strings.Contains(got.Body.String(), `\"evil.example\" is no name of this worker`) || !strings.Contains(got.Body.String(), "--host") {
		t.Errorf("%s", got.Body)
	}
}

func TestOtherSites(t *testing.T) {
	g := newGateway(echo)
	for _, test := range []struct {
		method, path, header string
		status               int
	}{
		{"POST", "/run/f", "Sec-Fetch-Site: cross-site", 403},
		{"POST", "/run/f", "Sec-Fetch-Site: same-site", 403}, // another port of this machine
		{"POST", "/run/f", "Origin: http://evil.example", 403},
		{"POST", "/run/f", "Origin: null", 403},
		{"PUT", "/bodies", "Sec-Fetch-Site: cross-site", 403},
		{"PUT", "/bodies", "Origin: http://evil.example", 403},
		{"POST", "/run/f", "Sec-Fetch-Site: same-origin", 403}, // a function's page under /fn
		{"POST", "/run/f", "Origin: http://127.0.0.1:8080", 403},
		{"GET", "/metrics", "Sec-Fetch-Site: same-origin", 403},
		{"GET", "/metrics", "Sec-Fetch-Site: none", 200}, // typed by the operator
		{"POST", "/run/f", "X: no browser", 200},
		{"GET", "/healthz", "Sec-Fetch-Site: cross-site", 200}, // a link; a page cannot read the answer
	} {
		got := send(t, g, test.method, test.path, "127.0.0.1:8080", test.header)
		if got.Code != test.status || got.Code == 403 && !strings.Contains(got.Body.String(), string(core.KindInvalid)) {
			t.Errorf("%s %s with %s: %d %s", test.method, test.path, test.header, got.Code, got.Body)
		}
	}
}
