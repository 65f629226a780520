package main

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Scan implements core.Scanner.
func (n *native) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	var scanned core.Scanned
	err := n.install(ctx, request.Runtime, request.Door, wish{Op: "scan", Installed: request.Packages, Archive: request.Archive}, nil, &scanned)
	return scanned, err
}
