package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// sourceVariable names the index that gems come from: an address. Without it RubyGems takes its own.
const sourceVariable = "PIPSQUEAK_GEM_SOURCE"

// gemSources are where gems come from: RubyGems' own index with its lists, or the operator's.
func gemSources() []string {
	if source := os.Getenv(sourceVariable); source != "" {
		return []string{zygote.Registry(source)}
	}
	return []string{"https://rubygems.org", "https://index.rubygems.org"}
}

// wish is what installer.rb is asked for.
type wish struct {
	Op       string        `json:"op"`
	Handler  string        `json:"handler,omitempty"`
	Debian   []string      `json:"debian,omitempty"`
	Packages []core.Locked `json:"packages,omitempty"`
	Source   string        `json:"source,omitempty"`
	Driver   string        `json:"driver"` // the program that knows Debian packages
}

// Resolve implements core.Installer.
func (r *ruby) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	i, err := r.interpreter(request.Runtime)
	if err != nil {
		return core.Resolution{}, err
	}
	if len(request.Debian) > 0 && !i.system() {
		return core.Resolution{}, core.Errorf(core.KindInstall, core.FaultHandler,
			"Debian's gems are made for Debian's Ruby, which %s is not; choose that one in pipsqueak.yaml, or take the gems into a Gemfile", request.Runtime)
	}
	var resolution struct {
		Packages []core.Locked     `json:"packages"`
		Files    map[string]string `json:"files"`
		Imports  []string          `json:"imports"`
	}
	err = r.install(ctx, i, request.Sandbox, wish{Op: "resolve", Handler: request.Handler, Debian: request.Debian}, nil, &resolution)
	return core.Resolution(resolution), err
}

// Install implements core.Installer.
func (r *ruby) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	i, err := r.interpreter(request.Runtime)
	if err != nil {
		return nil, err
	}
	var installed struct {
		Receipts []core.Receipt `json:"receipts"`
	}
	err = r.install(ctx, i, request.Sandbox, wish{Op: "install", Packages: request.Packages}, progress, &installed)
	return installed.Receipts, err
}

// install runs installer.rb in the sandbox.
func (r *ruby) install(ctx context.Context, i interpreter, sandbox core.Sandbox, w wish, progress func(core.Progress), result any) error {
	w.Source, w.Driver = os.Getenv(sourceVariable), driverPath
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	command := append(i.command(), "-I", strings.Join(append([]string{i.managerDir()}, i.Standard...), ":"), loopDir+"/installer.rb", string(text))
	return zygote.Install(ctx, sandbox, command, zygote.InstallEnv("RUBYLIB="+i.managerDir()), r.log, progress, result)
}
