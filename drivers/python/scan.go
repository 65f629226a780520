package main

import (
	"context"
	_ "embed"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/lookalike"
)

// archives are the names of wheels and of archives of sources.
var archives = []string{"*.whl", "*.tar.gz", "*.tar.bz2", "*.zip"}

//go:embed popular.txt
var popular string

var names = lookalike.Parse(popular, "python", "python3", "py", "py3")

// Scan implements core.Scanner.
func (p *python) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	i, err := p.found.Get(request.Runtime)
	if err != nil {
		return scanned, err
	}
	program := installer.Program{Argv: append(i.command(), scanDir+"/scan.py"), Env: installer.Offline(), Log: p.log}
	err = program.Run(ctx, request.Door, map[string]any{"packages": request.Packages, "archive": request.Archive}, nil, &scanned)
	scanned.Suspicions = append(scanned.Suspicions, names.Suspicions(scanned.Packages)...)
	return scanned, err
}
