package driver

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/driverpb"
)

// This file turns what crossed the wire into core; encode.go is its mirror.

// decodeError turns the status of a failed call into the core.Error that the driver sent. When there is none,
// the transport or a driver without manners speaks: caller is the context of the call, which tells our
// cancellation from the transport's.
func decodeError(caller context.Context, driver string, err error) *core.Error {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if pb, ok := detail.(*driverpb.Error); ok {
			return decodeErrorDetail(pb)
		}
	}
	fail := func(kind core.Kind, fault core.Fault, cause error, format string, args ...any) *core.Error {
		e := core.Errorf(kind, fault, format, args...)
		e.Err = cause
		return e
	}
	switch code := s.Code(); {
	case code == codes.DeadlineExceeded:
		return fail(core.KindTimeout, core.FaultDriver, context.DeadlineExceeded,
			"the driver %s did not answer before the deadline", driver)
	case code == codes.Canceled && caller.Err() != nil:
		return fail(core.KindCanceled, core.FaultCaller, context.Canceled, "the call to the driver %s was canceled", driver)
	case code == codes.Canceled || code == codes.Unavailable:
		return fail(core.KindUnavailable, core.FaultDriver, err, "the driver %s went away: %s", driver, s.Message()).Again()
	case code == codes.Unimplemented:
		return fail(core.KindUnsupported, core.FaultDriver, err, "the driver %s does not do that: %s", driver, s.Message())
	case code == codes.ResourceExhausted:
		return fail(core.KindTooLarge, core.FaultDriver, err, "a message to or from the driver %s is too large: %s", driver, s.Message())
	}
	return fail(core.KindInternal, core.FaultDriver, err, "the driver %s failed: %s: %s", driver, s.Code(), s.Message())
}

func decodeErrorDetail(pb *driverpb.Error) *core.Error {
	e := &core.Error{
		Kind: core.Kind(pb.GetKind()), Fault: core.Fault(pb.GetFault()), Message: pb.GetMessage(), Retryable: pb.GetRetryable(),
	}
	if e.Kind == "" {
		e.Kind = core.KindInternal
	}
	if e.Fault == "" {
		e.Fault = core.FaultDriver
	}
	// Callers keep on using errors.Is with the context's errors, whichever side noticed first.
	switch e.Kind {
	case core.KindTimeout:
		e.Err = context.DeadlineExceeded
	case core.KindCanceled:
		e.Err = context.Canceled
	}
	if x := pb.GetException(); x != nil {
		exception := decodeException(x)
		exception.Trim()
		e.Exception = &exception
	}
	return e
}

func decodeException(pb *driverpb.Exception) core.Exception {
	return core.Exception{Type: pb.GetType(), Message: pb.GetMessage(), Stack: pb.GetStack(), Notes: pb.GetNotes(),
		Causes: each(pb.GetCauses(), func(c *driverpb.Cause) core.Cause {
			return core.Cause{Relation: core.Relation(c.GetRelation()), Exception: decodeException(c.GetException())}
		})}
}

func decodeDescription(pb *driverpb.Description) core.Description {
	return core.Description{
		Language:     pb.GetLanguage(),
		Version:      pb.GetVersion(),
		Capabilities: pb.GetCapabilities(),
		Runtimes:     each(pb.GetRuntimes(), decodeRuntime),
		Problems:     pb.GetProblems(),
	}
}

func decodeRuntime(pb *driverpb.Runtime) core.Runtime {
	return core.Runtime{
		ID:      core.RuntimeID(pb.GetId()),
		Version: pb.GetVersion(),
		Path:    pb.GetPath(),
		Mounts:  each(pb.GetMounts(), decodeMount),
		Hidden:  pb.GetHidden(),
		Tools:   each(pb.GetTools(), decodeMount),
		Handlers: each(pb.GetHandlers(), func(h *driverpb.HandlerFile) core.HandlerFile {
			return core.HandlerFile{File: h.GetFile(), Handler: h.GetHandler()}
		}),
		Extensions:  pb.GetExtensions(),
		Manifests:   pb.GetManifests(),
		Registries:  pb.GetRegistries(),
		Archives:    pb.GetArchives(),
		Overlay:     pb.GetOverlay(),
		SystemCalls: pb.GetSystemCalls(),
		Toolchain:   pb.GetToolchain(),
		Programs: each(pb.GetPrograms(), func(p *driverpb.Program) core.Program {
			return core.Program{Name: p.GetName(), Version: p.GetVersion(), Tested: p.GetTested()}
		}),
	}
}

func decodeMount(pb *driverpb.Mount) core.Mount {
	return core.Mount{Source: pb.GetSource(), Target: pb.GetTarget(), Writable: pb.GetWritable()}
}

func decodeDoor(pb *driverpb.Sandbox) core.Door {
	return core.Door{ID: core.NodeID(pb.GetId()), Gate: pb.GetGate()}
}

func decodeLoad(pb *driverpb.Load) core.Load {
	return core.Load{Packages: pb.GetPackages(), Modules: pb.GetModules(), Watch: pb.GetWatch(), Draw: pb.GetDraw()}
}

func decodeReport(pb *driverpb.Report) core.Report {
	return core.Report{
		Took:    time.Duration(pb.GetTook()),
		Modules: eachValue(pb.GetModules(), func(ns int64) time.Duration { return time.Duration(ns) }),
		Threads: int(pb.GetThreads()),
		Loaded:  pb.GetLoaded(),
		Reads:   pb.GetReads(),
		Asks:    pb.GetAsks(),
		Drawn:   eachValue(pb.GetDrawn(), func(text string) string { return text }),
	}
}

func decodePackage(pb *driverpb.Package) core.Package {
	return core.Package{Name: pb.GetName(), Version: pb.GetVersion(), Digest: pb.GetDigest()}
}

func decodeLocked(pb *driverpb.Package) core.Locked {
	return core.Locked{
		Name: pb.GetName(), Version: pb.GetVersion(), Archives: pb.GetArchives(), Requires: pb.GetRequires(), Scripts: pb.GetScripts(), URL: pb.GetUrl(),
	}
}

func decodeLock(pb *driverpb.Lock) *core.Lock {
	if pb == nil {
		return nil
	}
	return &core.Lock{
		Runtime: core.RuntimeID(pb.GetRuntime()), Inputs: pb.GetInputs(), Packages: each(pb.GetPackages(), decodeLocked), Files: pb.GetFiles(),
	}
}

func decodeResolveRequest(pb *driverpb.ResolveRequest) core.ResolveRequest {
	return core.ResolveRequest{
		Runtime: core.RuntimeID(pb.GetRuntime()), Handler: pb.GetHandler(), Debian: pb.GetDebian(), Allow: pb.GetAllow(), Lock: decodeLock(pb.GetLock()),
		Door: decodeDoor(pb.GetSandbox()),
	}
}

func decodeResolution(pb *driverpb.Resolution) core.Resolution {
	return core.Resolution{
		Packages: each(pb.GetPackages(), decodeLocked), Files: pb.GetFiles(), Imports: pb.GetImports(), Perhaps: pb.GetPerhaps(), Sets: pb.GetSets(), Offers: pb.GetOffers(),
	}
}

func decodeInstallRequest(pb *driverpb.InstallRequest) core.InstallRequest {
	return core.InstallRequest{
		Runtime: core.RuntimeID(pb.GetRuntime()), Packages: each(pb.GetPackages(), decodeLocked), Allow: pb.GetAllow(), Door: decodeDoor(pb.GetSandbox()),
	}
}

func decodeReceipt(pb *driverpb.Receipt) core.Receipt {
	return core.Receipt{
		Name: pb.GetName(), Version: pb.GetVersion(), Archive: pb.GetArchive(), Bytes: pb.GetBytes(), Modules: pb.GetModules(), Licenses: pb.GetLicenses(),
		Signatures: each(pb.GetSignatures(), func(s *driverpb.Signature) core.Signature {
			return core.Signature{Scheme: s.GetScheme(), Verified: s.GetVerified(), Signer: s.GetSigner(), Detail: s.GetDetail()}
		}),
		Bundles: each(pb.GetBundles(), decodeLocked),
		Offers:  pb.GetOffers(),
	}
}

func decodeScanRequest(pb *driverpb.ScanRequest) core.ScanRequest {
	return core.ScanRequest{Runtime: core.RuntimeID(pb.GetRuntime()), Packages: each(pb.GetPackages(), decodePackage), Archive: pb.GetArchive(),
		Door: decodeDoor(pb.GetSandbox())}
}

func decodeScanned(pb *driverpb.Scanned) core.Scanned {
	return core.Scanned{Packages: each(pb.GetPackages(), decodePackage), Suspicions: each(pb.GetSuspicions(), decodeSuspicion)}
}

func decodeSuspicion(pb *driverpb.Suspicion) core.Suspicion {
	return core.Suspicion{Package: pb.GetPackage(), Rule: pb.GetRule(), File: pb.GetFile(), Line: int(pb.GetLine()), Reason: pb.GetReason()}
}

func decodeBuildRequest(pb *driverpb.BuildRequest) core.BuildRequest {
	return core.BuildRequest{
		Runtime: core.RuntimeID(pb.GetRuntime()), Handler: pb.GetHandler(), Packages: each(pb.GetPackages(), decodePackage), Door: decodeDoor(pb.GetSandbox()),
	}
}

func decodeCompileRequest(pb *driverpb.CompileRequest) core.CompileRequest {
	return core.CompileRequest{Runtime: core.RuntimeID(pb.GetRuntime()), Packages: each(pb.GetPackages(), decodePackage), Door: decodeDoor(pb.GetSandbox())}
}

func decodeProgress(pb *driverpb.Progress) core.Progress {
	return core.Progress{
		Verb: pb.GetVerb(), Item: pb.GetItem(), Done: pb.GetDone(), Total: pb.GetTotal(), Detail: pb.GetDetail(),
		Ended: pb.GetEnded(), Took: time.Duration(pb.GetTook()), Bytes: pb.GetBytes(),
	}
}
