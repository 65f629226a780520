package driver

import (
	"context"
	"errors"
	"io"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/driverpb"
)

// parts is every optional part of a running driver. Those that the driver does not have are never handed out.
type parts struct{ *Client }

// Resolve implements core.Installer.
func (c parts) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	pb, err := c.installer.Resolve(ctx, encodeResolveRequest(request))
	if err != nil {
		return core.Resolution{}, c.failure(ctx, err)
	}
	return decodeResolution(pb), nil
}

// Install implements core.Installer. Progress is called from the caller's goroutine.
func (c parts) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is not read to its end would stay
	var receipts []core.Receipt
	stream, err := c.installer.Install(ctx, encodeInstallRequest(request))
	for err == nil {
		var step *driverpb.Progress
		if step, err = stream.Recv(); err != nil {
			break
		}
		if r := step.GetReceipt(); r != nil {
			receipts = append(receipts, decodeReceipt(r))
		} else if progress != nil {
			progress(decodeProgress(step))
		}
	}
	if errors.Is(err, io.EOF) {
		return receipts, nil
	}
	return nil, c.failure(ctx, err)
}

// Compile implements core.Compiler.
func (c parts) Compile(ctx context.Context, request core.CompileRequest) error {
	if _, err := c.installer.Compile(ctx, encodeCompileRequest(request)); err != nil {
		return c.failure(ctx, err)
	}
	return nil
}

// Scan implements core.Scanner.
func (c parts) Scan(ctx context.Context, request core.ScanRequest) (core.Scanned, error) {
	pb, err := c.installer.Scan(ctx, encodeScanRequest(request))
	if err != nil {
		return core.Scanned{}, c.failure(ctx, err)
	}
	return decodeScanned(pb), nil
}

// Build implements core.Builder. Progress is called from the caller's goroutine.
func (c parts) Build(ctx context.Context, request core.BuildRequest, progress func(core.Progress)) (core.Built, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var built core.Built
	stream, err := c.installer.Build(ctx, encodeBuildRequest(request))
	for err == nil {
		var step *driverpb.BuildStep
		if step, err = stream.Recv(); err != nil {
			break
		}
		if p := step.GetProgress(); p != nil && progress != nil {
			progress(decodeProgress(p))
		}
		if b := step.GetBuilt(); b != nil {
			built = core.Built{Imports: b.GetImports(), Sets: b.GetSets()}
		}
	}
	if errors.Is(err, io.EOF) {
		return built, nil
	}
	return core.Built{}, c.failure(ctx, err)
}
