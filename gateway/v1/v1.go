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
	front.Events("/run/", a.run) // needs core.ScopeInvoke for the name
	get, put, post, remove := http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	named, some, all := gateway.Named, gateway.Some, gateway.All
	front.Route("/v1/functions", gateway.Methods{get: some(core.ScopeRead, a.functions), post: some(core.ScopeDeploy, a.deploy)})
	front.Route("/v1/functions/{name}", gateway.Methods{
		get: named(core.ScopeRead, a.function), put: named(core.ScopeDeploy, a.deploy), remove: named(core.ScopeDeploy, a.remove)})
	front.Route("/v1/functions/{name}/logs", gateway.Methods{get: some(core.ScopeRead, a.logs)}) // an application's too
	front.Route("/v1/functions/{name}/sbom", gateway.Methods{get: named(core.ScopeRead, a.bill)})
	front.Route("/v1/functions/{name}/vulnerabilities", gateway.Methods{get: named(core.ScopeRead, a.vulnerabilities)})
	front.Route("/v1/applications/{name}", gateway.Methods{
		put: named(core.ScopeDeploy, a.deployApplication), remove: named(core.ScopeDeploy, a.removeApplication)})
	front.Route("/v1/locks", gateway.Methods{post: some(core.ScopeDeploy, a.lock)})
	front.Route("/v1/tree", gateway.Methods{get: some(core.ScopeRead, a.tree)})
	if a.service.Planner != nil {
		front.Route("/v1/demand", gateway.Methods{get: all(core.ScopeRead, a.demand)})
	}
	if a.service.Settings != nil {
		front.Route("/v1/functions/{name}/env", gateway.Methods{post: named(core.ScopeDeploy, a.setEnv)})
	}
	if a.service.Secrets != nil {
		v := vault{a.service.Secrets}
		front.Route("/v1/secrets", gateway.Methods{get: some(core.ScopeRead, v.list)})
		front.Route("/v1/secrets/{name}", gateway.Methods{put: some(core.ScopeDeploy, v.set), remove: some(core.ScopeDeploy, v.remove)})
	}
	if a.service.Storages != nil {
		s := stocks{a.service.Storages}
		front.Route("/v1/storages", gateway.Methods{get: some(core.ScopeRead, s.list)})
		front.Route("/v1/storages/{name}", gateway.Methods{remove: some(core.ScopeDeploy, s.remove)})
	}
	if a.service.Namespaces != nil {
		t := tenants{a.service.Namespaces}
		front.Route("/v1/namespaces", gateway.Methods{get: all(core.ScopeRead, t.list), post: all(core.ScopeAdmin, t.create)})
		front.Route("/v1/namespaces/{name}", gateway.Methods{put: all(core.ScopeAdmin, t.set), remove: all(core.ScopeAdmin, t.remove)})
	}
	if a.service.Packages != nil {
		p := shelf{a, a.service.Packages}
		front.Route("/v1/packages", gateway.Methods{get: all(core.ScopeRead, p.inventory)})
		front.Route("/v1/packages/verify", gateway.Methods{post: all(core.ScopeAdmin, p.verify)})
		front.Route("/v1/packages/quarantine", gateway.Methods{post: all(core.ScopeAdmin, p.quarantine)})
		front.Route("/v1/packages/release", gateway.Methods{post: all(core.ScopeAdmin, p.release)})
		front.Route("/v1/packages/collect", gateway.Methods{post: all(core.ScopeAdmin, p.collect)})
		front.Route("/v1/functions/{name}/packages", gateway.Methods{get: named(core.ScopeRead, p.ofFunction)})
	}
	if a.service.Tokens != nil {
		t := keys{a.service.Tokens}
		front.Route(tokensPath, gateway.Methods{get: some(core.ScopeAdmin, t.list), post: some(core.ScopeAdmin, t.create)})
		front.Route(tokensPath+"/{id}", gateway.Methods{remove: some(core.ScopeAdmin, t.revoke)})
	}
}
