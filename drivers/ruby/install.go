package main

import (
	"context"
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// sourceVariable names the index that gems come from: an address. Without it RubyGems takes its own.
const sourceVariable = "PIPSQUEAK_GEM_SOURCE"

// certificates is where Debian and its kin keep those that the host trusts; what fetches packages trusts the same.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// installEnv is the environment of an installer, in which third-party code may run: nothing of the host but the way out.
func (i interpreter) installEnv() []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir, "RUBYLIB=" + i.managerDir()}
	if _, err := os.Stat(certificates); err == nil {
		env = append(env, "SSL_CERT_FILE="+certificates)
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// wish is what installer.rb is asked for.
type wish struct {
	Op       string           `json:"op"`
	Handler  string           `json:"handler,omitempty"`
	Locked   bool             `json:"locked,omitempty"` // what the function needs is known already
	Debian   []string         `json:"debian,omitempty"`
	Packages []debian.Archive `json:"packages,omitempty"`
	Allow    []string         `json:"allow,omitempty"`
	Source   string           `json:"source,omitempty"`
	Driver   string           `json:"driver"` // the program that knows Debian packages
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
	var found struct {
		Packages []debian.Archive  `json:"packages"`
		Files    map[string]string `json:"files"`
		Imports  []string          `json:"imports"`
	}
	err = r.install(ctx, i, request.Sandbox, wish{Op: "resolve", Handler: request.Handler, Locked: request.Lock != nil, Debian: request.Debian}, nil, &found)
	resolution := core.Resolution{Packages: r.archives.Learn(found.Packages), Files: found.Files, Imports: found.Imports}
	if request.Lock != nil {
		resolution.Packages, resolution.Files = request.Lock.Packages, request.Lock.Files
	}
	return resolution, err
}

// Install implements core.Installer.
func (r *ruby) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	i, err := r.interpreter(request.Runtime)
	if err != nil {
		return nil, err
	}
	var receipts []core.Receipt
	err = r.install(ctx, i, request.Sandbox, wish{Op: "install", Packages: r.archives.Recall(request.Packages), Allow: request.Allow}, progress, &receipts)
	return receipts, err
}

// install runs installer.rb in the sandbox.
func (r *ruby) install(ctx context.Context, i interpreter, sandbox core.Sandbox, w wish, progress func(core.Progress), result any) error {
	w.Source, w.Driver = os.Getenv(sourceVariable), driverPath
	asked, err := zygote.Request(w)
	if err != nil {
		return err
	}
	command := append(i.command(), "-I", strings.Join(append([]string{i.managerDir()}, i.Standard...), ":"), loopDir+"/installer.rb")
	return zygote.Install(ctx, sandbox, append(command, asked...), i.installEnv(), r.log, progress, result)
}
