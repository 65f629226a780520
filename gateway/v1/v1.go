// Package v1 is the first version of the HTTP API: functions, packages and the tree under /v1, events under
// /run. docs/http.md has its promises to users.
package v1

import (
	"net/http"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// api answers the requests of this version.
type api struct {
	front   *gateway.Gateway
	service core.Service
}

// Mount adds the routes of this version to a gateway. Requests for a part that the gateway's service lacks
// are answered with an error.
func Mount(front *gateway.Gateway) {
	a := &api{front, front.Service()}
	front.Events("/run/", a.run)
	front.Route("/v1/functions", gateway.Methods{http.MethodGet: a.functions, http.MethodPost: a.deploy})
	front.Route("/v1/functions/{name}", gateway.Methods{http.MethodGet: a.function, http.MethodPut: a.deploy, http.MethodDelete: a.remove})
	front.Route("/v1/functions/{name}/logs", gateway.Methods{http.MethodGet: a.logs})
	front.Route("/v1/functions/{name}/sbom", gateway.Methods{http.MethodGet: a.bill})
	front.Route("/v1/functions/{name}/vulnerabilities", gateway.Methods{http.MethodGet: a.vulnerabilities})
	front.Route("/v1/applications/{name}", gateway.Methods{http.MethodPut: a.deployApplication, http.MethodDelete: a.removeApplication})
	front.Route("/v1/locks", gateway.Methods{http.MethodPost: a.lock})
	front.Route("/v1/tree", gateway.Methods{http.MethodGet: a.tree})
	if a.service.Packages != nil {
		p := shelf{a, a.service.Packages}
		front.Route("/v1/packages", gateway.Methods{http.MethodGet: p.inventory})
		front.Route("/v1/packages/verify", gateway.Methods{http.MethodPost: p.verify})
		front.Route("/v1/packages/quarantine", gateway.Methods{http.MethodPost: p.quarantine})
		front.Route("/v1/packages/release", gateway.Methods{http.MethodPost: p.release})
		front.Route("/v1/packages/collect", gateway.Methods{http.MethodPost: p.collect})
		front.Route("/v1/functions/{name}/packages", gateway.Methods{http.MethodGet: p.ofFunction})
	}
}
