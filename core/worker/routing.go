package worker

import (
	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// routing finds the function that a request is for. It implements core.Router, and has no state but the
// store's.
type routing struct{ store *store.Store }

// Route implements core.Router.
func (r routing) Route(method, host, path string) (core.RouteMatch, bool) {
	return r.store.Routes().Route(method, host, path)
}

// HasHost implements core.Router.
func (r routing) HasHost(host string) bool { return r.store.Routes().HasHost(host) }

// CORS implements core.Router.
func (r routing) CORS(function string) *core.CORS {
	fn, _ := r.store.Get(function)
	return fn.CORS
}
