package gateway

import "github.com/gorilla/mux"

// Paths returns the path of every route, and the prefixes of events.
func (g *Gateway) Paths() (paths []string) {
	_ = g.router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		paths = append(paths, path)
		return err
	})
	for _, e := range g.events {
		paths = append(paths, e.prefix+"{name}")
	}
	return paths
}
