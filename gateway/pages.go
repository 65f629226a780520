package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Hosts adds names that the gateway answers to. It always answers to IP addresses and to localhost. Names
// have no port; case does not matter. Call it before the first request.
func (g *Gateway) Hosts(names ...string) {
	for _, name := range names {
		g.hosts = append(g.hosts, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
}

// admit refuses a request that a page has sent, through the browser of somebody who reaches the worker, and
// that is not the page's to send. Such a page chooses the address, but not the headers Host, Origin and
// Sec-Fetch-Site. The owner of the page's name can point it at the worker after the page was loaded (DNS
// rebinding); then the page and the worker are one site to the browser, and Host has that name. An address in
// Host is nobody's to point elsewhere.
//
// A page of a function may use the sites of functions that are of one site with it. It may not use the API,
// though /fn/NAME is of one site with that: it would be a visitor's browser that deploys. A function's rules
// (CORS) may allow pages of other sites. A foreign host is one that only routes of functions have: nobody
// reaches the API by it.
func (g *Gateway) admit(r *http.Request, isSite, foreign, allowed bool) error {
	if !g.AnswersTo(r.Host) && !foreign {
		return &statusError{http.StatusMisdirectedRequest, core.Errorf(core.KindInvalid, core.FaultCaller,
			"%q is no name of this worker; use its IP address, or let its operator add the name: pipsqueak serve --host NAME", Clip(r.Host))}
	}
	if err := g.origins.Check(r); err != nil && !allowed {
		return &statusError{http.StatusForbidden, core.Errorf(core.KindInvalid, core.FaultCaller,
			"%s %s was sent by a page of another site, which may neither run nor change functions: %w", r.Method, Clip(r.URL.Path), err)}
	}
	if e, _ := g.event(r.URL.Path); !isSite && !e.pages && ofPage(r) {
		return &statusError{http.StatusForbidden, core.Errorf(core.KindInvalid, core.FaultCaller,
			"%s %s was sent by a page of this address, which may only use what is below %s", r.Method, Clip(r.URL.Path), "/fn/")}
	}
	return nil
}

// ofPage reports whether a page of the worker's own site has sent a request.
func ofPage(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "same-origin" || r.Header.Get("Origin") != ""
}

// siteOf returns the function whose site a Host header names: the labels before .localhost, if there are any.
func siteOf(host string) (name string, is bool) {
	if !strings.Contains(host, ".") {
		return "", false
	}
	const end = ".localhost"
	name = hostname(host)
	at := len(name) - len(end)
	if at < 0 || !strings.EqualFold(name[at:], end) {
		return "", false
	}
	return name[:at], true
}

// hostname returns the name in a Host header as it was sent, without port and final dot.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(host, ".")
}

// AnswersTo reports whether a Host header names this gateway. Only HTTP/1.0 has none, and no browser speaks
// it.
func (g *Gateway) AnswersTo(host string) bool {
	if host == "" {
		return true
	}
	if _, err := netip.ParseAddrPort(host); err == nil {
		return true
	}
	name := strings.ToLower(hostname(host))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(g.hosts, name)
}
