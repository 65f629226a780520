package worker

import "github.com/pipsqueak-faas/pipsqueak/core"

// Route implements core.Router.
func (w *Worker) Route(method, host, path string) (core.RouteMatch, bool) {
	return w.store.Routes().Route(method, host, path)
}

// HasHost implements core.Router.
func (w *Worker) HasHost(host string) bool { return w.store.Routes().HasHost(host) }

// CORS implements core.Router.
func (w *Worker) CORS(function string) *core.CORS {
	fn, _ := w.store.Get(function)
	return fn.CORS
}
