package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/zygote"
)

// Where the driver's files are inside a sandbox.
const (
	loopDir    = "/pipsqueak/ruby/loop"    // in every sandbox
	installDir = "/pipsqueak/ruby/install" // in an installer's alone, as the next one
	scanDir    = "/pipsqueak/ruby/scan"
	preload    = "zygote.so"
	packageDir = "/pipsqueak/rubygems" // of the package manager, where it is not in the standard library
	driverPath = "/pipsqueak/tools/pipsqueak-driver-ruby"
)

// zygoteEnv is the whole environment of a zygote. With one arena, what the process has freed is in one place.
var zygoteEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir, "MALLOC_ARENA_MAX=1",
	"LD_PRELOAD=" + loopDir + "/" + preload}

var handlers = []core.HandlerFile{
	{File: "handler.rb", Handler: "handler.handler"},
	{File: "lambda_function.rb", Handler: "lambda_function.lambda_handler"},
	{File: "app.rb", Handler: "app.App"}, // a Rack application
}

// ruby implements core.Driver through the zygote kit, and core.Installer itself.
type ruby struct {
	*zygote.Driver
	log      *slog.Logger
	archives debian.Memory
	found    interpreter.Found[cruby]
}

func newDriver(log *slog.Logger) *ruby {
	r := &ruby{log: log}
	r.Driver = zygote.New(zygote.Language{Describe: r.describe, Command: r.command, Env: zygoteEnv, Watches: true, Log: log})
	return r
}

func (r *ruby) describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "ruby", Version: version, Capabilities: []string{core.CapabilityFork, core.CapabilityInstall, core.CapabilityLock, core.CapabilityInvoke, core.CapabilityStream, core.CapabilityConcurrency, core.CapabilityCompile, core.CapabilityScan}}
	files, err := zygote.Show("ruby/loop", "ruby/install", "ruby/scan")
	if err != nil {
		return d, err
	}
	loop, programs := files[:1], files[1:]
	if _, err := os.Stat(filepath.Join(loop[0].Source, preload)); err != nil {
		d.Problems = append(d.Problems, fmt.Sprintf("%v; `make build` puts it there", err))
		return d, nil
	}
	var debianSources []string
	tools, err := installerTools()
	if err == nil {
		d.Capabilities = append(d.Capabilities, core.CapabilityDebian)
		debianSources = debian.Registries()
	} else {
		d.Problems = append(d.Problems, err.Error())
	}
	for _, tool := range []string{"cc", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			d.Problems = append(d.Problems, tool+" is missing: gems with extensions cannot be installed")
		}
	}
	found := map[core.RuntimeID]cruby{}
	for _, path := range interpreterPaths() {
		i, err := inspect(ctx, path)
		if err != nil {
			d.Problems = append(d.Problems, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		id := core.RuntimeID("ruby" + i.Short)
		if slices.ContainsFunc(d.Runtimes, func(r core.Runtime) bool { return r.ID == id }) {
			continue
		}
		if i.Headers == "" {
			d.Problems = append(d.Problems, fmt.Sprintf("%s has no headers: gems with extensions cannot be installed for it; install ruby-dev", path))
		}
		found[id] = i
		d.Runtimes = append(d.Runtimes, core.Runtime{
			ID: id, Version: i.Version, Path: path, Tools: slices.Concat(programs, tools), Hidden: i.Sites,
			Mounts:     slices.Concat(i.mounts, i.managerMounts(), loop),
			Handlers:   handlers,
			Extensions: []string{".rb"},
			Archives:   archives,
			Manifests:  []string{"Gemfile", "Gemfile.lock"},
			Registries: append(gemSources(), debianSources...),
			Overlay:    debian.Marker,
			Programs:   i.programs(),
		})
	}
	if len(d.Runtimes) == 0 {
		d.Problems = append(d.Problems, "no Ruby of version 3.1 or later was found; install ruby, or name one in "+interpretersVariable)
	}
	r.found.Set(found)
	return d, nil
}

// installerTools are the mounts that an installer needs besides to install Debian packages.
func installerTools() ([]core.Mount, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	apt, err := debian.Tools()
	if err != nil {
		return nil, err
	}
	return append(apt, core.Mount{Source: self, Target: driverPath}), nil
}

func (r *ruby) command(runtime core.RuntimeID) ([]string, error) {
	i, err := r.found.Get(runtime)
	if err != nil {
		return nil, err
	}
	return slices.Concat(i.command(), []string{loopDir + "/zygote.rb"}, i.Standard, i.Bundled, i.managerPath()), nil
}
