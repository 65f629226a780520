package gateway

import (
	"maps"
	"net/http"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
)

// readyz answers whether functions can be started now, and to who may know that, why not: the reasons tell of
// the machine.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) error {
	status, now := http.StatusOK, g.readiness()
	if !now.Ready {
		status = http.StatusServiceUnavailable
	}
	if access.CallerOf(r.Context()).Limited() {
		now.Parts = nil
	}
	return WriteJSON(w, status, now)
}

// readiness is that of the service in the last second, unless the gateway is about to end.
func (g *Gateway) readiness() core.Readiness {
	g.ready.Lock()
	if now := time.Now(); g.service.Health != nil && now.Sub(g.looked) >= time.Second {
		g.parts, g.looked = g.service.Health.Readiness().Parts, now
	}
	parts := maps.Clone(g.parts)
	g.ready.Unlock()
	if parts == nil {
		parts = map[string]string{}
	}
	parts["draining"] = ""
	if g.draining() {
		parts["draining"] = core.Stopping().Message
	}
	return core.NewReadiness(parts)
}
