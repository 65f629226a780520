package main

import (
	"context"
	_ "embed"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/lookalike"
)

// archives are the names of what npm pack makes.
var archives = []string{"*.tgz"}

//go:embed popular.txt
var popular string

var names = lookalike.Parse(popular, "js", "node", "nodejs", "npm")

// Scan implements core.Scanner.
func (n *node) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	b, err := n.found.Get(request.Runtime)
	if err != nil {
		return scanned, err
	}
	program := installer.Program{Argv: []string{b.inside(), scanDir + "/scan.mjs"}, Env: installer.Offline(), Log: n.log}
	err = program.Run(ctx, request.Door, map[string]any{"packages": request.Packages, "archive": request.Archive}, nil, &scanned)
	for _, p := range scanned.Packages {
		spelled := core.Package{Name: strings.Replace(p.Name, "+", "/", 1), Version: p.Version} // as the registry has it
		for _, s := range names.Suspicions([]core.Package{spelled}) {
			s.Package = p.String()
			scanned.Suspicions = append(scanned.Suspicions, s)
		}
	}
	return scanned, err
}
