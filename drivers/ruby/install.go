package main

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
)

// gemSource is the address of the index that gems come from, by one of the variables with which an operator
// names it: ours, and those that Bundler has for mirrors. Nothing stands for RubyGems' own.
func gemSource() string {
	return cmp.Or(os.Getenv("PIPSQUEAK_GEM_SOURCE"), os.Getenv("BUNDLE_MIRROR__ALL"),
		os.Getenv("BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/"), os.Getenv("BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG"))
}

// gemSources are where gems come from: RubyGems' own index with its lists, or the operator's.
func gemSources() []string {
	if source := gemSource(); source != "" {
		return []string{installer.Registry(source)}
	}
	return []string{"https://rubygems.org", "https://index.rubygems.org"}
}

// wish is the request to installer.rb.
type wish struct {
	Op       string           `json:"op"`
	Handler  string           `json:"handler,omitempty"`
	Locked   bool             `json:"locked,omitempty"` // the packages of the function are known already
	Names    []string         `json:"names,omitempty"`  // then: of its packages
	Debian   []string         `json:"debian,omitempty"`
	Packages []debian.Archive `json:"packages,omitempty"`
	Allow    []string         `json:"allow,omitempty"`
	Dirs     []string         `json:"dirs,omitempty"` // of packages to compile
	Source   string           `json:"source,omitempty"`
	Driver   string           `json:"driver"` // the program that knows Debian packages
}

// Resolve implements core.Installer.
func (r *ruby) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	i, err := r.found.Get(request.Runtime)
	if err != nil {
		return core.Resolution{}, err
	}
	if len(request.Debian) > 0 && !i.system() {
		return core.Resolution{}, core.Errorf(core.KindInstall, core.FaultHandler,
			"Debian's gems are made for Debian's Ruby, which %s is not; choose that one in pipsqueak.yaml, or take the gems into a Gemfile", request.Runtime)
	}
	var archives []debian.Archive // of what is remembered the Gemfile, which is code, must have no say
	var found core.Resolution
	w := wish{Op: "resolve", Handler: request.Handler, Locked: request.Lock != nil, Debian: request.Debian}
	if request.Lock != nil {
		for _, p := range request.Lock.Packages {
			w.Names = append(w.Names, p.Name)
		}
	}
	err = r.install(ctx, i, request.Door, w, nil, &archives, &found)
	found.Packages = append(found.Packages, r.archives.Learn(archives)...)
	if request.Lock != nil {
		found.Packages, found.Files = request.Lock.Packages, request.Lock.Files
	}
	return found, cmp.Or(err, installer.CheckURLs(found.Packages, packageURL))
}

// packageURL is the name of a package in lists of vulnerabilities. The platform of a gem is the lock's: its
// archive is fetched by it.
func packageURL(p core.Locked) string {
	if debian.Ours(p) {
		return debian.PackageURL(p)
	}
	known := "pkg:gem/" + url.QueryEscape(p.Name) + "@" + url.QueryEscape(p.Version)
	if _, platform, ok := strings.Cut(p.URL, "?platform="); ok {
		known += "?platform=" + url.QueryEscape(platform)
	}
	return known
}

// Install implements core.Installer.
func (r *ruby) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	i, err := r.found.Get(request.Runtime)
	if err != nil {
		return nil, err
	}
	var receipts []core.Receipt
	err = r.install(ctx, i, request.Door, wish{Op: "install", Packages: r.archives.Recall(request.Packages), Allow: request.Allow}, progress, &receipts)
	return receipts, err
}

// Compile implements core.Compiler.
func (r *ruby) Compile(ctx context.Context, request core.CompileRequest) error {
	i, err := r.found.Get(request.Runtime)
	if err != nil {
		return err
	}
	w := wish{Op: "compile"}
	for _, p := range request.Packages {
		w.Dirs = append(w.Dirs, core.PackageDir(p))
	}
	return r.install(ctx, i, request.Door, w, nil, new(struct{}))
}

// install runs installer.rb in the sandbox.
func (r *ruby) install(ctx context.Context, i cruby, door core.Door, w wish, progress func(core.Progress), results ...any) error {
	w.Source, w.Driver = gemSource(), driverPath
	program := installer.Program{Argv: i.managerCommand(installDir + "/installer.rb"), Env: installer.Env("RUBYLIB=" + i.managerDir()), Log: r.log}
	return program.Run(ctx, door, w, progress, results...)
}
