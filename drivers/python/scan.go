package main

import (
	"context"
	_ "embed"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/lookalike"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// archives are the names of wheels and of archives of sources.
var archives = []string{"*.whl", "*.tar.gz", "*.tar.bz2", "*.zip"}

//go:embed popular.txt
var popular string

var names = lookalike.Parse(popular, "python", "python3", "py", "py3")

// Scan implements core.Scanner.
func (p *python) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	i, err := p.interpreter(request.Runtime)
	if err != nil {
		return scanned, err
	}
	asked, err := zygote.Request(map[string]any{"packages": request.Packages, "archive": request.Archive})
	if err != nil {
		return scanned, err
	}
	err = zygote.Install(ctx, request.Sandbox, append(append(i.command(), loopDir+"/scan.py"), asked...), scanEnv, p.log, nil, &scanned)
	scanned.Suspicions = append(scanned.Suspicions, names.Suspicions(scanned.Packages)...)
	return scanned, err
}

// scanEnv is the whole environment of a scan: it reads files, and asks nobody for anything.
var scanEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir}
