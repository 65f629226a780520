package driver

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/driverpb"
)

// driverServer and installerServer carry calls from the wire to an implementation: thin, without a thought of
// their own.
type driverServer struct {
	driverpb.UnimplementedDriverServer
	impl core.Driver
}

func (s *driverServer) Describe(ctx context.Context, _ *driverpb.DescribeRequest) (*driverpb.Description, error) {
	d, err := s.impl.Describe(ctx)
	return encodeDescription(d), encodeError(err)
}

func (s *driverServer) Preload(ctx context.Context, r *driverpb.PreloadRequest) (*driverpb.Parked, error) {
	err := s.impl.Preload(ctx, core.NodeID(r.GetId()), core.RuntimeID(r.GetRuntime()), decodeDoor(r.GetSandbox()))
	return &driverpb.Parked{}, encodeError(err)
}

func (s *driverServer) Fork(ctx context.Context, r *driverpb.ForkRequest) (*driverpb.Parked, error) {
	err := s.impl.Fork(ctx, core.NodeID(r.GetId()), core.NodeID(r.GetParent()), decodeDoor(r.GetSandbox()))
	return &driverpb.Parked{}, encodeError(err)
}

func (s *driverServer) Import(ctx context.Context, r *driverpb.ImportRequest) (*driverpb.Report, error) {
	report, err := s.impl.Import(ctx, core.NodeID(r.GetId()), decodeLoad(r.GetLoad()))
	return encodeReport(report), encodeError(err)
}

type installerServer struct {
	driverpb.UnimplementedInstallerServer
	parts core.Parts // with an Installer; a call of another part that is nil is refused with UNIMPLEMENTED
}

func (s *installerServer) Resolve(ctx context.Context, r *driverpb.ResolveRequest) (*driverpb.Resolution, error) {
	resolution, err := s.parts.Installer.Resolve(ctx, decodeResolveRequest(r))
	return encodeResolution(resolution), encodeError(err)
}

func (s *installerServer) Install(r *driverpb.InstallRequest, stream grpc.ServerStreamingServer[driverpb.Progress]) error {
	var sending sync.Mutex // a stream takes one message at a time, an installer may work on many packages at once
	progress := func(p core.Progress) {
		sending.Lock()
		defer sending.Unlock()
		// A failed send means that the host is gone or has given up, and both end the context.
		_ = stream.Send(encodeProgress(p))
	}
	receipts, err := s.parts.Installer.Install(stream.Context(), decodeInstallRequest(r), progress)
	if err != nil {
		return encodeError(err)
	}
	for _, receipt := range receipts {
		if err := stream.Send(&driverpb.Progress{Receipt: encodeReceipt(receipt)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *installerServer) Compile(ctx context.Context, r *driverpb.CompileRequest) (*driverpb.Compiled, error) {
	if s.parts.Compiler == nil {
		return s.UnimplementedInstallerServer.Compile(ctx, r)
	}
	return &driverpb.Compiled{}, encodeError(s.parts.Compiler.Compile(ctx, decodeCompileRequest(r)))
}

func (s *installerServer) Scan(ctx context.Context, r *driverpb.ScanRequest) (*driverpb.Scanned, error) {
	if s.parts.Scanner == nil {
		return s.UnimplementedInstallerServer.Scan(ctx, r)
	}
	scanned, err := s.parts.Scanner.Scan(ctx, decodeScanRequest(r))
	return encodeScanned(scanned), encodeError(err)
}

func (s *installerServer) Build(r *driverpb.BuildRequest, stream grpc.ServerStreamingServer[driverpb.BuildStep]) error {
	if s.parts.Builder == nil {
		return s.UnimplementedInstallerServer.Build(r, stream)
	}
	var sending sync.Mutex
	built, err := s.parts.Builder.Build(stream.Context(), decodeBuildRequest(r), func(p core.Progress) {
		sending.Lock()
		defer sending.Unlock()
		_ = stream.Send(&driverpb.BuildStep{Progress: encodeProgress(p)})
	})
	if err != nil {
		return encodeError(err)
	}
	return stream.Send(&driverpb.BuildStep{Built: &driverpb.Built{Imports: built.Imports, Sets: built.Sets}})
}
