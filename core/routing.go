package core

import "time"

// Router is the part of a Service that knows the addresses of functions, besides their names. No method has
// an error or blocks: what is wrong with a route is KindInvalid or KindConflict of the deploy that brings it.
type Router interface {
	// Route returns the function that has a route for a request. The host may have a port, the path is
	// encoded as it was sent.
	Route(method, host, path string) (RouteMatch, bool)
	// HasHost reports whether a function has a route on that host.
	HasHost(host string) bool
	// CORS returns what pages of other sites may ask of a function, nil for what browsers let them without
	// being told.
	CORS(function string) *CORS
}

// RouteMatch is the route that a request has taken.
type RouteMatch struct {
	Function string
	Route    string            // METHOD HOST/PATH, as in Function.Routes
	Values   map[string]string // of its variables, decoded; nil if it has none
}

// CORS is what pages of other sites may ask of a function
// (https://fetch.spec.whatwg.org/#http-cors-protocol).
type CORS struct {
	Origins     []string      `json:"origins"`               // as "https://app.example.com"; "*" for all
	Methods     []string      `json:"methods,omitempty"`     // empty for all
	Headers     []string      `json:"headers,omitempty"`     // that a page may send, in lower case
	Expose      []string      `json:"expose,omitempty"`      // that a page may read
	Credentials bool          `json:"credentials,omitempty"` // pages may send cookies
	MaxAge      time.Duration `json:"max_age,omitempty"`     // of an answer about what is allowed
}
