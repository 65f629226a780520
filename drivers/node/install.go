package main

import (
	"context"
	"encoding/json"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// wish is what installer.mjs is asked for.
type wish struct {
	Op       string `json:"op"`
	Handler  string `json:"handler,omitempty"`
	Packages any    `json:"packages,omitempty"` // []core.Locked, or []core.Package to build with
}

// Resolve implements core.Installer.
func (n *node) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	var resolution struct {
		Packages []core.Locked     `json:"packages"`
		Files    map[string]string `json:"files"`
		Imports  []string          `json:"imports"`
	}
	err := n.install(ctx, request.Runtime, request.Sandbox, wish{Op: "resolve", Handler: request.Handler}, nil, &resolution)
	return core.Resolution(resolution), err
}

// Install implements core.Installer.
func (n *node) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	var installed struct {
		Receipts []core.Receipt `json:"receipts"`
	}
	err := n.install(ctx, request.Runtime, request.Sandbox, wish{Op: "install", Packages: request.Packages}, progress, &installed)
	return installed.Receipts, err
}

// Build implements core.Builder.
func (n *node) Build(ctx context.Context, request core.BuildRequest, progress func(core.Progress)) (core.Built, error) {
	var built struct {
		Imports []string `json:"imports"`
	}
	err := n.install(ctx, request.Runtime, request.Sandbox, wish{Op: "build", Handler: request.Handler, Packages: request.Packages}, progress, &built)
	return core.Built(built), err
}

// install runs installer.mjs in the sandbox.
func (n *node) install(ctx context.Context, runtime core.RuntimeID, sandbox core.Sandbox, w wish, progress func(core.Progress), result any) error {
	b, err := n.binary(runtime)
	if err != nil {
		return err
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return zygote.Install(ctx, sandbox, []string{b.inside(), runtimeDir + "/installer.mjs", string(text)}, zygote.InstallEnv("NODE_EXTRA_CA_CERTS="+zygote.Certificates), n.log, progress, result)
}
