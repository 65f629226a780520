package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// cross is what a page of another site may ask, as far as the request is such a page's.
type cross struct {
	rules   *core.CORS // of the function; nil for none
	origin  string     // of the page; empty for a request that no page has sent
	allowed bool
}

// crossing returns what the function's rules say of a request.
func (g *Gateway) crossing(r *http.Request, function string) cross {
	if g.service.Router == nil || function == "" {
		return cross{}
	}
	c := cross{rules: g.service.Router.CORS(function), origin: r.Header.Get("Origin")}
	c.allowed = c.rules != nil && c.origin != "" && (slices.Contains(c.rules.Origins, c.origin) || slices.Contains(c.rules.Origins, "*"))
	return c
}

// preflight reports whether a browser asks what it may send, of a function that has rules.
func (c cross) preflight(r *http.Request) bool {
	return c.rules != nil && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// answer answers a preflight. Without the headers the browser sends nothing more.
func (c cross) answer(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set(HeaderRequestID, RequestID(r.Header))
	c.decide(header)
	if c.allowed {
		header.Del("Access-Control-Expose-Headers")
		header.Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
		if len(c.rules.Methods) > 0 {
			header.Set("Access-Control-Allow-Methods", strings.Join(c.rules.Methods, ", "))
		}
		if len(c.rules.Headers) > 0 {
			header.Set("Access-Control-Allow-Headers", strings.Join(c.rules.Headers, ", "))
		}
		if c.rules.MaxAge > 0 {
			header.Set("Access-Control-Max-Age", strconv.Itoa(int(c.rules.MaxAge.Seconds())))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// decide replaces what a function says of this itself: where there are rules, they count alone.
func (c cross) decide(header http.Header) {
	if c.rules == nil {
		return
	}
	for name := range header {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(header, name)
		}
	}
	header.Add("Vary", "Origin")
	if !c.allowed {
		return
	}
	header.Set("Access-Control-Allow-Origin", c.origin)
	if c.rules.Credentials {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.rules.Expose) > 0 {
		header.Set("Access-Control-Expose-Headers", strings.Join(c.rules.Expose, ", "))
	}
}

// place is where a request leads to.
type place struct {
	function string // whose address it is; empty for the worker's own
	match    core.RouteMatch
	routed   bool // by a route
	foreign  bool // its host has routes of functions, and is no name of the worker
}

// placeOf returns where a request leads to. The worker's own paths come before routes, where a host has both.
func (g *Gateway) placeOf(r *http.Request) (p place) {
	name, isSite := siteOf(r.Host)
	if g.sites == nil || isSite {
		p.function = name
		return p
	}
	router := g.service.Router
	p.foreign = router != nil && !g.AnswersTo(r.Host) && router.HasHost(r.Host)
	if e, is := g.event(r.URL.Path); is && !p.foreign {
		if e.pages {
			p.function, _, _ = strings.Cut(r.URL.Path[len(e.prefix):], "/")
		}
		return p
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if router == nil || !p.foreign && slices.Contains(g.own, first) {
		return p
	}
	if asked := r.Header.Get("Access-Control-Request-Method"); asked != "" && r.Method == http.MethodOptions {
		if p.take(router.Route(asked, r.Host, r.URL.EscapedPath())); p.routed && router.CORS(p.function) != nil {
			return p
		}
	}
	p.take(router.Route(r.Method, r.Host, r.URL.EscapedPath()))
	return p
}

// take takes a route. On a foreign host those without a host do not count: they are for the worker's own
// names. On those, no routes of another namespace than the default one count, whatever host they say: its
// functions would be of one site with all others.
func (p *place) take(match core.RouteMatch, found bool) {
	if found && (p.foreign && strings.Contains(match.Route, " /") || !p.foreign && core.Namespace(match.Function) != core.DefaultNamespace) {
		match, found = core.RouteMatch{}, false
	}
	p.match, p.routed, p.function = match, found, match.Function
}
