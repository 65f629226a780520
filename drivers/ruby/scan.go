package main

import (
	"context"
	_ "embed"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/lookalike"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// archives are the names of gems, and of those of Debian's archives that have Ruby code.
var archives = []string{"*.gem", "ruby-*.deb"}

//go:embed popular.txt
var popular string

var names = lookalike.Parse(popular, "ruby", "rb", "gem")

// Scan implements core.Scanner.
func (r *ruby) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	i, err := r.interpreter(request.Runtime)
	if err != nil {
		return scanned, err
	}
	asked, err := zygote.Request(map[string]any{"packages": request.Packages, "archive": request.Archive, "driver": driverPath})
	if err != nil {
		return scanned, err
	}
	command := append(i.command(), "-I", strings.Join(append([]string{i.managerDir()}, i.Standard...), ":"), loopDir+"/scan.rb")
	err = zygote.Install(ctx, request.Sandbox, append(command, asked...), scanEnv, r.log, nil, &scanned)
	var gems []core.Package
	for _, p := range scanned.Packages {
		if !strings.HasPrefix(p.Name, debian.Marker) {
			gems = append(gems, p)
		}
	}
	scanned.Suspicions = append(scanned.Suspicions, names.Suspicions(gems)...)
	return scanned, err
}

// scanEnv is the whole environment of a scan: it reads files, and asks nobody for anything.
var scanEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir}
