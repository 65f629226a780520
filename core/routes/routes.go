// Package routes finds the function that an HTTP request is for, by the routes that functions have. Which of
// two patterns is the more specific one, and which two contradict each other, net/http's ServeMux decides.
//
//	text, err := routes.Parse("GET /orders/{id}")       // of a function's settings
//	table, err := routes.New(store.List())              // an error names two functions whose routes contradict
//	match, found := table.Route("GET", "10.0.0.1:8080", "/orders/7")
package routes

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Any is the method of a route that has every method.
const Any = "ANY"

var (
	methods  = []string{Any, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	reserved = []string{"run", "fn", "v1", "healthz", "readyz", "metrics"} // first segments of the worker's own paths
	host     = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	variable = regexp.MustCompile(`^\{[A-Za-z_]\w*\+?\}$`)
	literal  = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*,;=:@%-]+$`)
)

// Parse returns a route as METHOD HOST/PATH, where HOST may be absent. The method may be left out, and case
// of the host does not matter. The error has no fault yet: it is for the reader of the settings.
func Parse(text string) (string, error) {
	method, rest, both := strings.Cut(text, " ")
	if !both {
		method, rest = Any, text
	}
	if !slices.Contains(methods, method) {
		return "", fmt.Errorf("%q is no method of a route; it has %s", method, strings.Join(methods, ", "))
	}
	name, path, found := strings.Cut(strings.TrimSpace(rest), "/")
	name = strings.ToLower(name)
	if !found {
		return "", fmt.Errorf("%q has no path; write METHOD /path, or METHOD host/path", text)
	}
	if name != "" && (!host.MatchString(name) || strings.HasSuffix("."+name, ".localhost")) {
		return "", fmt.Errorf("%q is no host name that a route can have; such as api.example.com", name)
	}
	segments, seen := strings.Split(path, "/"), map[string]bool{}
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "" && last, literal.MatchString(s) && s != "." && s != "..":
		case !variable.MatchString(s), strings.HasSuffix(s, "+}") && !last:
			return "", fmt.Errorf("%q is no part of a path; a part is a text, {name} for any, or at the end {name+} for all that follows", s)
		case seen[strings.TrimSuffix(s, "+}")], seen[strings.TrimSuffix(s, "}")]:
			return "", fmt.Errorf("the variable %s is there twice", s)
		default:
			seen[strings.TrimSuffix(strings.TrimSuffix(s, "}"), "+")] = true
		}
	}
	if name == "" && slices.Contains(reserved, segments[0]) {
		return "", fmt.Errorf("/%s is the worker's own; take another path, or a host", segments[0])
	}
	return method + " " + name + "/" + path, nil
}

// Host returns the host of a route, empty if it has none.
func Host(route string) string {
	_, rest, _ := strings.Cut(route, " ")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// pattern returns a route as ServeMux writes it.
func pattern(route string) string {
	method, rest, _ := strings.Cut(route, " ")
	rest = strings.ReplaceAll(rest, "+}", "...}")
	if strings.HasSuffix(rest, "/") {
		rest += "{$}"
	}
	if method == Any {
		return rest
	}
	return method + " " + rest
}

// Table has the routes of all functions. It does not change, and any goroutine may use it.
type Table struct {
	mux   *http.ServeMux
	hosts map[string]bool
	of    map[string]owner // by pattern
}

type owner struct{ function, route string }

// New returns a table of the routes of functions. On a contradiction it has those of the functions before,
// and the error, KindConflict, is the caller's fault.
func New(functions []core.Function) (*Table, error) {
	t := &Table{mux: http.NewServeMux(), hosts: map[string]bool{}, of: map[string]owner{}}
	for i := range functions {
		for _, route := range functions[i].Routes {
			if err := t.add(functions[i].Name, route); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func (t *Table) add(function, route string) (err error) {
	defer func() {
		if cause := recover(); cause != nil { // which is how ServeMux refuses a pattern
			err = core.Errorf(core.KindConflict, core.FaultCaller, "the route %q of %s contradicts %s; change one of them", route, function, t.other(route))
		}
	}()
	p := pattern(route)
	t.mux.Handle(p, hit{})
	t.of[p] = owner{function, route}
	if name := Host(route); name != "" {
		t.hosts[name] = true
	}
	return nil
}

// other returns the route that one contradicts, for people.
func (t *Table) other(route string) string {
	for p, other := range t.of {
		if contradicts(p, pattern(route)) {
			return fmt.Sprintf("%q of %s", other.route, other.function)
		}
	}
	return "another one"
}

func contradicts(a, b string) (yes bool) {
	defer func() { yes = recover() != nil }()
	mux := http.NewServeMux()
	mux.Handle(a, hit{})
	mux.Handle(b, hit{})
	return false
}

// hit notes that a pattern was found: net/http answers a path that it would redirect itself.
type hit struct{}

func (hit) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.(*answer).hit = true }

type answer struct{ hit bool }

func (*answer) Header() http.Header         { return http.Header{} }
func (*answer) Write(p []byte) (int, error) { return len(p), nil }
func (*answer) WriteHeader(int)             {}

// Route returns the function that has a route for a request, with the values of its variables. The path is
// encoded, as it was sent. A path that is not clean, such as one with .. or %2e%2e, has no route.
func (t *Table) Route(method, host, path string) (core.RouteMatch, bool) {
	if len(t.of) == 0 {
		return core.RouteMatch{}, false
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return core.RouteMatch{}, false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if s, _ := url.PathUnescape(segment); s == "." || s == ".." {
			return core.RouteMatch{}, false
		}
	}
	r := &http.Request{Method: method, Host: nameOf(host), URL: &url.URL{Path: decoded, RawPath: path}}
	found := &answer{}
	t.mux.ServeHTTP(found, r)
	own, known := t.of[r.Pattern]
	if !found.hit || !known {
		return core.RouteMatch{}, false
	}
	match := core.RouteMatch{Function: own.function, Route: own.route}
	for segment := range strings.SplitSeq(own.route, "/") {
		if variable.MatchString(segment) {
			if match.Values == nil {
				match.Values = map[string]string{}
			}
			name := strings.TrimSuffix(segment[1:len(segment)-1], "+")
			match.Values[name] = r.PathValue(name)
		}
	}
	return match, true
}

// HasHost reports whether there is a route on that host, which may have a port.
func (t *Table) HasHost(host string) bool { return t.hosts[nameOf(host)] }

// nameOf returns the name in a Host header as routes have it.
func nameOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
