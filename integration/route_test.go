package integration

import (
	"net/http"
	"strings"
	"testing"
)

// Do functions answer at addresses of their own?

func TestFunctionRoutes(t *testing.T) {
	system(t)
	w := shared(t)
	tells := "def handler(event, context):\n    return event['routeKey'] + ' ' + str(event.get('pathParameters'))\n"
	w.deploy(t, "routes-orders", handlerFile(tells).with("pipsqueak.yaml", "routes:\n  - GET /test-orders/{id}\n  - orders.example.com/{all+}\ncors: {origins: ['https://app.example.com']}\n"))
	at := func(host, method, path string, headers ...string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var body strings.Builder
		if err := response.Write(&body); err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(body.String(), "\r\n\r\n")
		return answer{response.StatusCode, response.Header, []byte(text)}
	}
	if a := at("", "GET", "/test-orders/a%2Fb"); string(a.body) != "GET /test-orders/{id} {'id': 'a/b'}" {
		t.Errorf("%v", a)
	}
	if a := at("orders.example.com", "GET", "/v1/functions"); string(a.body) != "ANY /{all+} {'all': 'v1/functions'}" {
		t.Errorf("the API on a function's host: %v", a)
	}
	if a := at("", "POST", "/fn/routes-orders", "Origin: https://app.example.com", "Sec-Fetch-Site: cross-site"); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("%v %v", a, a.header)
	}
	if a := w.put(t, "routes-other", handlerFile(tells).with("pipsqueak.yaml", "routes: ['GET /test-orders/{number}']\n")); a.status != http.StatusConflict ||
		!strings.Contains(string(a.body), "of routes-orders") {
		t.Errorf("a route that another function has: %v", a)
	}
	w.deploy(t, "routes-orders", handlerFile(tells))
	if a := at("", "GET", "/test-orders/7"); a.status != http.StatusNotFound {
		t.Errorf("a route that its function has no more: %v", a)
	}
	if a := at("orders.example.com", "GET", "/"); a.status != http.StatusMisdirectedRequest {
		t.Errorf("a host that no function has any more: %v", a)
	}
}
