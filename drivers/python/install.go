package main

import (
	"cmp"
	"context"
	"net/url"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
)

// wish is the request to installer.py.
type wish struct {
	Op       string        `json:"op"`
	Handler  string        `json:"handler,omitempty"`
	Packages []core.Locked `json:"packages,omitempty"`
	Allow    []string      `json:"allow,omitempty"`
	Locked   []string      `json:"locked"` // names of the packages that are known already; nil when they are to be found out
}

// Resolve implements core.Installer.
func (p *python) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	var resolution core.Resolution
	w := wish{Op: "resolve", Handler: request.Handler, Allow: request.Allow}
	if request.Lock != nil {
		w.Locked = []string{}
		for _, known := range request.Lock.Packages {
			w.Locked = append(w.Locked, known.Name)
		}
	}
	err := p.install(ctx, request.Runtime, request.Door, w, nil, &resolution)
	if request.Lock != nil {
		resolution.Packages = request.Lock.Packages
	}
	return resolution, cmp.Or(err, installer.CheckURLs(resolution.Packages, packageURL))
}

// packageURL is the name of a package in lists of vulnerabilities.
func packageURL(p core.Locked) string {
	return "pkg:pypi/" + url.QueryEscape(p.Name) + "@" + url.QueryEscape(p.Version)
}

// Install implements core.Installer.
func (p *python) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	var installed struct {
		Receipts []core.Receipt `json:"receipts"`
	}
	err := p.install(ctx, request.Runtime, request.Door, wish{Op: "install", Packages: request.Packages}, progress, &installed)
	return installed.Receipts, err
}

// Compile implements core.Compiler.
func (p *python) Compile(ctx context.Context, request core.CompileRequest) error {
	w := wish{Op: "compile"}
	for _, pkg := range request.Packages {
		w.Packages = append(w.Packages, core.Locked{Name: pkg.Name, Version: pkg.Version})
	}
	return p.install(ctx, request.Runtime, request.Door, w, nil, new(struct{}))
}

// install runs installer.py in the sandbox.
func (p *python) install(ctx context.Context, runtime core.RuntimeID, door core.Door, w wish, progress func(core.Progress), result any) error {
	i, err := p.found.Get(runtime)
	if err != nil {
		return err
	}
	p.mu.Lock()
	env := installer.Env(p.sources.env...)
	p.mu.Unlock()
	program := installer.Program{Argv: append(i.command(), installDir+"/installer.py"), Env: env, Log: p.log}
	return program.Run(ctx, door, w, progress, result)
}
