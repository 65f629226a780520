package routes

import (
	"maps"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"/orders":                        "ANY /orders",
		"GET /orders/{id}":               "GET /orders/{id}",
		"ANY API.Example.com/":           "ANY api.example.com/",
		"POST api.example.com/{all+}":    "POST api.example.com/{all+}",
		"/":                              "ANY /",
		"GET /a%2Fb/x-y_z.~1/":           "GET /a%2Fb/x-y_z.~1/",
		"GET api.example.com/run/{name}": "GET api.example.com/run/{name}",
	} {
		if got, err := Parse(text); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"":                      "no path",
		"GET":                   "no path",
		"get /x":                "no method",
		"TRACE /x":              "no method",
		"/run/x":                "worker's own",
		"GET /v1":               "worker's own",
		"/metrics":              "worker's own",
		"localhost/x":           "no host name",
		"f.localhost/x":         "no host name",
		"10.0.0.1/x":            "no host name",
		"api.example.com:80/x":  "no host name",
		"*.example.com/x":       "no host name",
		"/a//b":                 "no part of a path",
		"/a/../b":               "no part of a path",
		"/{a+}/b":               "no part of a path",
		"/{a}/{a}":              "twice",
		"/{a}/{a+}":             "twice",
		"/{a.b}":                "no part of a path",
		"/a{b}":                 "no part of a path",
		"/a b":                  "no method",
		"GET /{$}":              "no part of a path",
		"GET api.example.com":   "no path",
		"GET /a?b":              "no part of a path",
		"GET /a/{b...}":         "no part of a path",
		"GET  api.example.com/": "",
	} {
		if got, err := Parse(text); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, says)
		}
	}
}

func functions(routes ...string) (all []core.Function) {
	for _, text := range routes {
		name, route, _ := strings.Cut(text, ": ")
		all = append(all, core.Function{Name: name, Routes: []string{route}})
	}
	return all
}

func TestRoute(t *testing.T) {
	table, err := New(functions("orders: GET /orders/{id}", "any: ANY /orders/{id}", "new: GET /orders/new", "files: ANY /files/{path+}", "root: GET /", "slash: ANY /dir/",
		"host: ANY api.example.com/{all+}", "host-root: GET api.example.com/", "encoded: GET /enc/{x}/end"))
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		"GET h /orders/7":                     "orders id=7",
		"HEAD h /orders/7":                    "orders id=7",
		"POST h /orders/7":                    "any id=7",
		"GET h /orders/new":                   "new",
		"GET h /orders/":                      "",
		"GET h /orders/7/8":                   "",
		"PUT h:80 /files/a/b%20c":             "files path=a/b c",
		"GET h /files/a/../b":                 "",
		"GET h //files/a":                     "",
		"GET h /files/%2e%2E/b":               "",
		"GET h /files/.%2e":                   "",
		"GET h /files/a/%2e":                  "",
		"GET h /files/..%2f..%2fb":            "files path=../../b",
		"GET api.example.com.:80 /orders/7":   "host all=orders/7",
		"GET h /":                             "root",
		"GET h /nothing":                      "",
		"GET h /dir/":                         "slash",
		"GET h /dir":                          "",
		"GET API.example.com:8080 /orders/7":  "host all=orders/7",
		"POST api.example.com /":              "host all=",
		"GET api.example.com /":               "host-root",
		"GET h /enc/a%2Fb/end":                "encoded x=a/b",
		"GET h /enc/%zz/end":                  "",
		"GET h /enc/a/b/end":                  "",
		"CONNECT h /orders/7":                 "any id=7",
		"OPTIONS other.example.com /orders/7": "any id=7",
	} {
		method, rest, _ := strings.Cut(request, " ")
		host, path, _ := strings.Cut(rest, " ")
		match, found := table.Route(method, host, path)
		got := match.Function
		for name, value := range maps.All(match.Values) {
			got += " " + name + "=" + value
		}
		if got != want || found != (want != "") {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
	for host, want := range map[string]bool{"api.example.com": true, "API.EXAMPLE.COM.:80": true, "10.0.0.1": false, "h": false, "": false} {
		if table.HasHost(host) != want {
			t.Errorf("host %q: %v", host, !want)
		}
	}
}

func TestContradictions(t *testing.T) {
	for _, both := range [][2]string{
		{"GET /a/{x}", "GET /a/{y}"}, {"ANY /a", "ANY /a"}, {"GET /{x}/b", "GET /a/{y}"}, {"ANY a.example.com/", "ANY a.example.com/"}, {"GET /a/{x+}", "GET /a/{y+}"},
	} {
		_, err := New(functions("f: "+both[0], "g: "+both[1]))
		if !core.IsKind(err, core.KindConflict) || !strings.Contains(err.Error(), `of g contradicts "`+both[0]+`" of f`) {
			t.Errorf("%q: %v", both, err)
		}
	}
	for _, both := range [][2]string{
		{"GET /a", "POST /a"}, {"ANY /a", "GET /a"}, {"GET /a/{x}", "GET /a/b"}, {"GET /a", "GET a.example.com/a"}, {"GET /a/{x+}", "GET /a/{x}"}, {"GET /a", "GET /a/"},
	} {
		if _, err := New(functions("f: "+both[0], "g: "+both[1])); err != nil {
			t.Errorf("%q: %v", both, err)
		}
	}
}
