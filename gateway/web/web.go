// Package web serves functions as HTTP: each request is an event, and each result is a response. Event and
// response are those of AWS Lambda's function URLs (payload format 2.0), so functions and adapters written
// for them work. A function NAME has the path /fn/NAME, and the host NAME.localhost. docs/http.md has the
// promises to users.
package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// prefix is of the paths of functions.
const prefix = "/fn/"

// site answers the requests of functions.
type site struct{ front *gateway.Gateway }

// Mount adds the paths and hosts of functions to a gateway.
func Mount(front *gateway.Gateway) {
	s := &site{front}
	front.Sites(prefix, s.underPath, s.underHost, s.underRoute)
}

// underPath answers /fn/NAME and what is below it. NAME is percent-encoded, and the rest is passed on as it
// was sent.
func (s *site) underPath(w http.ResponseWriter, r *http.Request, _ string) {
	first, rest, _ := strings.Cut(r.URL.EscapedPath()[1:], "/")
	if text, err := url.PathUnescape(first); err != nil || "/"+text+"/" != prefix { // the slash behind it is an encoded one
		w.Header().Set(gateway.HeaderRequestID, gateway.RequestID(r.Header))
		s.front.Fail(w, r, gateway.NotFound(w, r))
		return
	}
	encoded, path, below := strings.Cut(rest, "/")
	name, err := url.PathUnescape(encoded)
	if err != nil {
		name = encoded // which is no name of a function
	}
	mounted := prefix + encoded
	if below {
		path = "/" + path
	}
	s.serve(w, r, target{name: name, path: path, mounted: mounted, shares: true})
}

// underHost answers everything of the host NAME.localhost.
func (s *site) underHost(w http.ResponseWriter, r *http.Request, name string) {
	s.serve(w, r, target{name: name, path: r.URL.EscapedPath()})
}

// underRoute answers what a function has a route for.
func (s *site) underRoute(w http.ResponseWriter, r *http.Request, match core.RouteMatch) {
	s.serve(w, r, target{name: match.Function, path: r.URL.EscapedPath(), shares: s.front.AnswersTo(r.Host), route: match})
}

// target is the function that a request is for.
type target struct {
	name    string
	path    string // what follows where the function is mounted, encoded; empty or with a slash first
	mounted string // the path before that
	shares  bool   // its address has other functions too
	route   core.RouteMatch
}

func (s *site) serve(w http.ResponseWriter, r *http.Request, to target) {
	id := gateway.RequestID(r.Header)
	above := to.shares && (to.mounted == "" || to.path == "") // of other functions
	if above && r.Header.Get("Service-Worker") != "" {        // which browsers send
		w.Header().Set(gateway.HeaderRequestID, id)
		s.front.Fail(w, r, gateway.WithStatus(http.StatusForbidden, core.Errorf(core.KindInvalid, core.FaultCaller,
			"a service worker at %s would be one of other functions too: have its script below %s%s/, or on a host of its own", gateway.Clip(r.URL.Path), prefix, to.name)))
		return
	}
	read := func(r *http.Request, buffer *gateway.Held) ([]byte, error) { return readEvent(r, to, id, buffer) }
	parts := &stream{w: w, r: r, id: id, shares: to.shares}
	var takes core.Stream
	if r.ProtoAtLeast(1, 1) { // before, a response had no end but that of its connection, and a broken one looked whole
		takes = parts
	}
	result, err := s.front.Invoke(w, r, to.name, id, read, takes)
	if parts.begun {
		if err == nil {
			err = parts.end()
		}
		defer s.front.LogEvent(w, r, to.name, id, result, err)
		if err != nil {
			s.front.Fail(w, r, err) // which breaks it off
		}
		return
	}
	gateway.Describe(w.Header(), id, result)
	var answer response
	if err != nil {
		err = gateway.Private(err, id)
	} else {
		answer, err = parse(result.Body)
	}
	if to.shares {
		answer.share()
	}
	if err != nil {
		s.front.Fail(w, r, err)
	} else {
		answer.write(w, r)
	}
	s.front.LogEvent(w, r, to.name, id, result, err)
}
