package main

import (
	"context"
	_ "embed"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/lookalike"
)

// archives are the names of gems, and of those of Debian's archives that have Ruby code.
var archives = []string{"*.gem", "ruby-*.deb"}

//go:embed popular.txt
var popular string

var names = lookalike.Parse(popular, "ruby", "rb", "gem")

// Scan implements core.Scanner.
func (r *ruby) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	i, err := r.found.Get(request.Runtime)
	if err != nil {
		return scanned, err
	}
	program := installer.Program{Argv: i.managerCommand(scanDir + "/scan.rb"), Env: installer.Offline(), Log: r.log}
	err = program.Run(ctx, request.Door, map[string]any{"packages": request.Packages, "archive": request.Archive, "driver": driverPath}, nil, &scanned)
	var gems []core.Package
	for _, p := range scanned.Packages {
		if !strings.HasPrefix(p.Name, debian.Marker) {
			gems = append(gems, p)
		}
	}
	scanned.Suspicions = append(scanned.Suspicions, names.Suspicions(gems)...)
	return scanned, err
}
