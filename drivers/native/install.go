package main

import (
	"context"
	"encoding/json"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
)

// wish is the request to the installer, in its arguments.
type wish struct {
	Op        string           `json:"op"` // "resolve", "install", "build", "scan"
	Handler   string           `json:"handler,omitempty"`
	Debian    []string         `json:"debian,omitempty"`
	Packages  []debian.Archive `json:"packages,omitempty"`
	Installed []core.Package   `json:"installed,omitempty"` // to build with, or to scan
	Archive   string           `json:"archive,omitempty"`   // to scan instead
}

// Resolve implements core.Installer.
func (n *native) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	if request.Lock != nil {
		return core.Resolution{Packages: request.Lock.Packages}, installer.CheckURLs(request.Lock.Packages, debian.PackageURL) // the build finds the imports
	}
	var found []debian.Archive
	err := n.install(ctx, request.Runtime, request.Door, wish{Op: "resolve", Debian: request.Debian}, nil, &found)
	return core.Resolution{Packages: n.archives.Learn(found)}, err
}

// Install implements core.Installer.
func (n *native) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	var receipts []core.Receipt
	err := n.install(ctx, request.Runtime, request.Door, wish{Op: "install", Packages: n.archives.Recall(request.Packages)}, progress, &receipts)
	return receipts, err
}

// Build implements core.Builder.
func (n *native) Build(ctx context.Context, request core.BuildRequest, progress func(core.Progress)) (core.Built, error) {
	var built core.Built
	err := n.install(ctx, request.Runtime, request.Door, wish{Op: "build", Handler: request.Handler, Installed: request.Packages}, progress, &built.Imports)
	return built, err
}

// install runs this very program as the installer in the sandbox.
func (n *native) install(ctx context.Context, runtime core.RuntimeID, door core.Door, w wish, progress func(core.Progress), result any) error {
	if _, err := command(runtime); err != nil {
		return err
	}
	return installer.Program{Argv: []string{installerPath}, Env: installer.Env(), Log: n.log}.Run(ctx, door, w, progress, result)
}

// beInstaller is the program in the sandbox. It returns the status to exit with.
func beInstaller(argument string) int {
	return installer.Answer(func(progress func(core.Progress)) (any, error) {
		ctx := context.Background() // the sandbox ends it
		var w wish
		if err := json.Unmarshal([]byte(argument), &w); err != nil {
			return nil, core.Errorf(core.KindInternal, core.FaultDriver, "the installer cannot read its request: %w", err)
		}
		switch w.Op {
		case "resolve":
			return none(debian.Resolve(ctx, w.Debian))
		case "install":
			return none(debian.Install(ctx, w.Packages, core.OutDir, progress))
		case "build":
			return none(build(ctx, w.Handler, w.Installed, progress))
		case "scan":
			return debian.Scan(ctx, w.Installed, w.Archive)
		}
		return nil, core.Errorf(core.KindInternal, core.FaultDriver, "the installer cannot %q", w.Op)
	})
}

// none makes an absent list an empty one: JSON's null would be no result.
func none[T any](list []T, err error) ([]T, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}
