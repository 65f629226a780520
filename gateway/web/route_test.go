package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/routes"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// router has routes, and rules of CORS for the function shop.
type router struct{ *routes.Table }

func (router) CORS(function string) *core.CORS {
	if function != "shop" {
		return nil
	}
	return &core.CORS{Origins: []string{"https://app.example.com"}, Headers: []string{"content-type"}, Expose: []string{"x-a"}, Credentials: true, MaxAge: time.Minute}
}

// routed sends a request to a worker whose functions shop and blog have routes.
func routed(t *testing.T, f function, method, url string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	table, err := routes.New([]core.Function{{Name: "shop", Routes: []string{"GET /orders/{id}", "ANY shop.example.com/{all+}"}}, {Name: "blog", Routes: []string{"ANY /{all+}", "POST blog.example.com/", "ANY worker.example.com/blog"}},
		{Name: "f.team", Routes: []string{"ANY worker.example.com/team", "ANY team.example.com/"}}})
	if err != nil {
		t.Fatal(err)
	}
	front := gateway.New(core.Service{Invoker: f, Tree: f, Router: router{table}}, slog.New(slog.DiscardHandler))
	Mount(front)
	front.Hosts("worker.example.com")
	r := httptest.NewRequest(method, url, http.NoBody)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, r)
	return w
}

func TestRoutes(t *testing.T) {
	for request, want := range map[string]string{
		"GET http://10.0.0.1:8080/orders/7%2F8?x=1":     "shop GET /orders/{id} /orders/7%2F8 id=7/8",
		"PUT http://10.0.0.1:8080/orders/7":             "blog ANY /{all+} /orders/7 all=orders/7",
		"GET http://10.0.0.1:8080/":                     "blog ANY /{all+} / all=",
		"GET http://shop.example.com/healthz":           "shop ANY /{all+} /healthz all=healthz",
		"GET http://SHOP.example.com:8080/run/x":        "shop ANY /{all+} /run/x all=run/x",
		"POST http://blog.example.com/":                 "blog POST / /",
		"GET http://10.0.0.1:8080/fn/shop/orders/7":     "shop $default /orders/7",
		"GET http://shop.localhost:8080/orders/7":       "shop $default /orders/7",
		"GET http://10.0.0.1:8080/healthz":              "200",
		"GET http://10.0.0.1:8080/metrics/x":            "404",
		"GET http://blog.example.com/":                  "404",
		"GET http://blog.example.com/v1/functions":      "404",
		"GET http://other.example.com/orders/7":         "421",
		"GET http://shop.example.com:8080/a/../healthz": "404",
		"GET http://shop.example.com.:8080/x":           "shop ANY /{all+} /x all=x",
		"GET http://team.example.com/":                  "f.team ANY / /",
		"GET http://worker.example.com/blog":            "blog ANY /blog /blog",
		"GET http://worker.example.com/team":            "404",
	} {
		var got struct {
			RouteKey, RawPath string
			PathParameters    map[string]string
			RequestContext    struct{ APIID, RouteKey string }
		}
		method, url, _ := strings.Cut(request, " ")
		w := routed(t, func(event []byte) (string, error) { return `"ok"`, json.Unmarshal(event, &got) }, method, url)
		is := strconv.Itoa(w.Code)
		if got.RouteKey != "" {
			is = got.RequestContext.APIID + " " + got.RouteKey + " " + got.RawPath
			for name, value := range got.PathParameters {
				is += " " + name + "=" + value
			}
		}
		if is != want || got.RequestContext.RouteKey != got.RouteKey {
			t.Errorf("%s: %q, want %q: %s", request, is, want, w.Body)
		}
	}
}

// What is at a name of the worker's own shares it, also by a route on that name.
func TestRouteOnSharedAddress(t *testing.T) {
	result := returns(`{"statusCode":200,"headers":{"service-worker-allowed":"/"}}`)
	for url, want := range map[string]string{"http://worker.example.com/blog": "", "http://10.0.0.1/x": "", "http://team.example.com/": "/"} {
		if w := routed(t, result, "GET", url); w.Code != 200 || w.Header().Get("Service-Worker-Allowed") != want {
			t.Errorf("%s: %d %s", url, w.Code, w.Header())
		}
	}
	if w := routed(t, result, "GET", "http://worker.example.com/blog", "Service-Worker: script"); w.Code != 403 {
		t.Errorf("a service worker for all: %d", w.Code)
	}
}

// A page of another site may ask what the rules say, and hears nothing that the function adds to them.
func TestCORS(t *testing.T) {
	const app, evil = "Origin: https://app.example.com", "Origin: https://evil.example.com"
	result := returns(`{"statusCode":200,"headers":{"access-control-allow-origin":"*","access-control-allow-methods":"*","x-a":"1"}}`)
	for _, url := range []string{"http://10.0.0.1/fn/shop/x", "http://shop.localhost/x", "http://shop.example.com/x"} {
		w := routed(t, result, "POST", url, app, "Sec-Fetch-Site: cross-site")
		if h := w.Header(); w.Code != 200 || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" || h.Get("Access-Control-Allow-Methods") != "" ||
			h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Expose-Headers") != "x-a" || h.Get("Vary") != "Origin" || h.Get("X-A") != "1" {
			t.Errorf("%s: %d %v", url, w.Code, h)
		}
		if w := routed(t, result, "POST", url, evil, "Sec-Fetch-Site: cross-site"); w.Code != 403 || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s of another page: %d %v", url, w.Code, w.Header())
		}
		if w := routed(t, result, "GET", url, evil); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s read by another page: %d %v", url, w.Code, w.Header())
		}
		ran := function(func([]byte) (string, error) { t.Errorf("%s: a preflight is an event", url); return "", nil })
		w = routed(t, ran, "OPTIONS", url, app, "Access-Control-Request-Method: PUT")
		if h := w.Header(); w.Code != 204 || h.Get("Access-Control-Allow-Methods") != "PUT" || h.Get("Access-Control-Allow-Headers") != "content-type" ||
			h.Get("Access-Control-Max-Age") != "60" || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" || h.Get("Access-Control-Expose-Headers") != "" {
			t.Errorf("%s preflight: %d %v", url, w.Code, h)
		}
		if w := routed(t, ran, "OPTIONS", url, evil, "Access-Control-Request-Method: PUT"); w.Header().Get("Access-Control-Allow-Methods")+w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s preflight of another page: %d %v", url, w.Code, w.Header())
		}
	}
	if w := routed(t, result, "OPTIONS", "http://10.0.0.1/orders/7", app, "Access-Control-Request-Method: GET"); w.Code != 204 {
		t.Errorf("a preflight for the route of GET: %d %v", w.Code, w.Header())
	}
	w := routed(t, result, "OPTIONS", "http://10.0.0.1/fn/blog", app, "Access-Control-Request-Method: GET")
	if h := w.Header(); w.Code != 200 || h.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a function without rules says them itself: %d %v", w.Code, h)
	}
}
