package main

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

// patience is how long a registry may say nothing, and how long until it is asked again, in milliseconds:
// npm's own are minutes, of which a deploy hears nothing.
var patience = []string{"fetch-timeout=20000", "fetch-retry-mintimeout=1000", "fetch-retry-maxtimeout=2000"}

// installEnv is the environment of an installer besides: npm's configuration, unless it builds, because a
// build has no network. It may hold secrets.
func (n *node) installEnv(b nodejs, op string) []string {
	if op == "build" {
		return installer.Env()
	}
	n.mu.Lock()
	config := n.config
	n.mu.Unlock()
	env := installer.Env(append([]string{"NODE_EXTRA_CA_CERTS=" + installer.Certificates}, config.env...)...)
	for _, setting := range patience {
		if name, _, _ := strings.Cut(setting, "="); !config.has(name) {
			env = append(env, "npm_config_"+setting)
		}
	}
	if interpreter.Exists(filepath.Join(b.prefix(), "include/node/node_api.h")) && !config.has("nodedir") {
		env = append(env, "npm_config_nodedir="+filepath.Dir(filepath.Dir(b.inside()))) // scripts that compile an addon find the headers there
	}
	return env
}

// wish is the request to installer.mjs.
type wish struct {
	Op       string        `json:"op"`
	Handler  string        `json:"handler,omitempty"`
	Packages any           `json:"packages,omitempty"` // []core.Locked, or []core.Package to build with
	Allow    []string      `json:"allow,omitempty"`
	Lock     []core.Locked `json:"lock,omitzero"` // nil when there is none: it is to be made
}

// Resolve implements core.Installer.
func (n *node) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	var resolution core.Resolution
	w := wish{Op: "resolve", Handler: request.Handler, Allow: request.Allow}
	if request.Lock != nil && request.Lock.Inputs == "" {
		return resolution, nil // there is no manifest, so nothing that a node_modules would have to lead to
	}
	if request.Lock != nil {
		w.Lock = append([]core.Locked{}, request.Lock.Packages...)
	}
	err := n.install(ctx, request.Runtime, request.Door, w, nil, &resolution)
	return resolution, err
}

// Install implements core.Installer.
func (n *node) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	var installed struct {
		Receipts []core.Receipt `json:"receipts"`
	}
	err := n.install(ctx, request.Runtime, request.Door, wish{Op: "install", Packages: request.Packages, Allow: request.Allow}, progress, &installed)
	return installed.Receipts, err
}

// Build implements core.Builder.
func (n *node) Build(ctx context.Context, request core.BuildRequest, progress func(core.Progress)) (core.Built, error) {
	var built struct {
		Imports []string `json:"imports"`
		Sets    []string `json:"sets"`
	}
	err := n.install(ctx, request.Runtime, request.Door, wish{Op: "build", Handler: request.Handler, Packages: request.Packages}, progress, &built)
	return core.Built(built), err
}

// install runs installer.mjs in the sandbox.
func (n *node) install(ctx context.Context, runtime core.RuntimeID, door core.Door, w wish, progress func(core.Progress), result any) error {
	b, err := n.found.Get(runtime)
	if err != nil {
		return err
	}
	program := installer.Program{Argv: []string{b.inside(), installDir + "/installer.mjs"}, Env: n.installEnv(b, w.Op), Log: n.log}
	return program.Run(ctx, door, w, progress, result)
}
