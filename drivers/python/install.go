package main

import (
	"context"
	"encoding/json"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// wish is what installer.py is asked for.
type wish struct {
	Op       string        `json:"op"`
	Handler  string        `json:"handler,omitempty"`
	Packages []core.Locked `json:"packages,omitempty"`
}

// Resolve implements core.Installer.
func (p *python) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	var resolution struct {
		Packages []core.Locked     `json:"packages"`
		Files    map[string]string `json:"files"`
		Imports  []string          `json:"imports"`
	}
	err := p.install(ctx, request.Runtime, request.Sandbox, wish{Op: "resolve", Handler: request.Handler}, nil, &resolution)
	return core.Resolution(resolution), err
}

// Install implements core.Installer.
func (p *python) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	var installed struct {
		Receipts []core.Receipt `json:"receipts"`
	}
	err := p.install(ctx, request.Runtime, request.Sandbox, wish{Op: "install", Packages: request.Packages}, progress, &installed)
	return installed.Receipts, err
}

// install runs installer.py in the sandbox.
func (p *python) install(ctx context.Context, runtime core.RuntimeID, sandbox core.Sandbox, w wish, progress func(core.Progress), result any) error {
	i, err := p.interpreter(runtime)
	if err != nil {
		return err
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return zygote.Install(ctx, sandbox, append(i.command(), loopDir+"/installer.py", string(text)), zygote.InstallEnv(), p.log, progress, result)
}
