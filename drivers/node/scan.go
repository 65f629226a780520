package main

import (
	"context"
	_ "embed"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/lookalike"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// archives are the names of what npm pack makes.
var archives = []string{"*.tgz"}

//go:embed popular.txt
var popular string

var names = lookalike.Parse(popular, "js", "node", "nodejs", "npm")

// Scan implements core.Scanner.
func (n *node) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	b, err := n.binary(request.Runtime)
	if err != nil {
		return scanned, err
	}
	asked, err := zygote.Request(map[string]any{"packages": request.Packages, "archive": request.Archive})
	if err != nil {
		return scanned, err
	}
	err = zygote.Install(ctx, request.Sandbox, append([]string{b.inside(), runtimeDir + "/scan.mjs"}, asked...), scanEnv, n.log, nil, &scanned)
	for _, p := range scanned.Packages {
		spelled := core.Package{Name: strings.Replace(p.Name, "+", "/", 1), Version: p.Version} // as the registry has it
		for _, s := range names.Suspicions([]core.Package{spelled}) {
			s.Package = p.String()
			scanned.Suspicions = append(scanned.Suspicions, s)
		}
	}
	return scanned, err
}

// scanEnv is the whole environment of a scan: it reads files, and asks nobody for anything.
var scanEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir}
