package driver

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/driverpb"
)

// This file turns core into what crosses the wire; decode.go is its mirror. PROTOCOL.md names the clauses.

// An error travels in the trailers of a call, which have a limit, and a handler may raise with any amount of
// text.
const (
	maxErrorText  = 64 << 10 // bytes of one message
	maxErrorStack = 256 << 10
)

// encodeError turns what a driver's method returned into a status whose one detail is the whole core.Error.
// The status code is Unknown for all of them: it would say less than the detail, and the other codes are left
// for the transport's own errors.
func encodeError(err error) error {
	if err == nil {
		return nil
	}
	e := driverError(err)
	detail := &driverpb.Error{
		Kind:      string(e.Kind),
		Fault:     string(e.Fault),
		Message:   clip(e.Message, maxErrorText),
		Retryable: e.Retryable,
	}
	if x := e.Exception; x != nil {
		whole := *x.Short()
		whole.Type, whole.Message, whole.Stack = x.Type, x.Message, x.Stack
		detail.Exception = encodeException(whole)
	}
	s, err := status.New(codes.Unknown, detail.Message).WithDetails(detail)
	if err != nil {
		return status.Errorf(codes.Internal, "the driver's error cannot be encoded: %v", err)
	}
	return s.Err()
}

func encodeException(x core.Exception) *driverpb.Exception {
	return &driverpb.Exception{
		Type:    clip(x.Type, maxErrorText),
		Message: clip(x.Message, maxErrorText),
		Stack:   clipStack(x.Stack),
		Notes:   each(x.Notes, func(note string) string { return clip(note, maxErrorText) }),
		Causes: each(x.Causes, func(c core.Cause) *driverpb.Cause {
			return &driverpb.Cause{Relation: clip(string(c.Relation), maxErrorText), Exception: encodeException(c.Exception)}
		}),
	}
}

// driverError is core.AsError for what comes out of a driver: an error that it did not classify is its own
// fault.
func driverError(err error) *core.Error {
	var e *core.Error
	known := errors.As(err, &e)
	if !known || e.Kind == core.KindUnavailable || e.Kind == core.KindInternal {
		if short := core.Shortage("the driver", err); short != nil {
			return short // neither a zygote nor the driver is to blame
		}
	}
	switch {
	case known:
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return core.Errorf(core.KindTimeout, core.FaultDriver, "%w", err)
	case errors.Is(err, context.Canceled):
		return core.Errorf(core.KindCanceled, core.FaultCaller, "%w", err)
	}
	return core.Errorf(core.KindInternal, core.FaultDriver, "%w", err)
}

// clip makes s valid UTF-8, as protobuf demands, and at most limit bytes long.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	const mark = " … (cut)"
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

// clipStack keeps the innermost frames, which tell where the exception was raised.
func clipStack(stack []string) []string {
	kept := make([]string, 0, len(stack))
	size := 0
	for i := len(stack) - 1; i >= 0; i-- {
		frame := clip(stack[i], maxErrorText)
		if size += len(frame); size > maxErrorStack {
			break
		}
		kept = append(kept, frame)
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	return kept
}

func encodeDescription(d core.Description) *driverpb.Description {
	return &driverpb.Description{
		Language:     d.Language,
		Version:      d.Version,
		Capabilities: d.Capabilities,
		Runtimes:     each(d.Runtimes, encodeRuntime),
		Problems:     d.Problems,
	}
}

func encodeRuntime(r core.Runtime) *driverpb.Runtime {
	return &driverpb.Runtime{
		Id:      string(r.ID),
		Version: r.Version,
		Path:    r.Path,
		Mounts:  each(r.Mounts, encodeMount),
		Hidden:  r.Hidden,
		Tools:   each(r.Tools, encodeMount),
		Handlers: each(r.Handlers, func(h core.HandlerFile) *driverpb.HandlerFile {
			return &driverpb.HandlerFile{File: h.File, Handler: h.Handler}
		}),
		Extensions:  r.Extensions,
		Manifests:   r.Manifests,
		Registries:  r.Registries,
		Archives:    r.Archives,
		Overlay:     r.Overlay,
		SystemCalls: r.SystemCalls,
		Toolchain:   r.Toolchain,
		Programs: each(r.Programs, func(p core.Program) *driverpb.Program {
			return &driverpb.Program{Name: p.Name, Version: p.Version, Tested: p.Tested}
		}),
	}
}

func encodeMount(m core.Mount) *driverpb.Mount {
	return &driverpb.Mount{Source: m.Source, Target: m.Target, Writable: m.Writable}
}

func encodeDoor(s core.Door) *driverpb.Sandbox {
	return &driverpb.Sandbox{Id: string(s.ID), Gate: s.Gate}
}

func encodeLoad(l core.Load) *driverpb.Load {
	return &driverpb.Load{Packages: l.Packages, Modules: l.Modules, Watch: l.Watch, Draw: l.Draw}
}

func encodeReport(r core.Report) *driverpb.Report {
	return &driverpb.Report{
		Took:    int64(r.Took),
		Modules: eachValue(r.Modules, func(d time.Duration) int64 { return int64(d) }),
		Threads: int64(r.Threads),
		Loaded:  r.Loaded,
		Reads:   r.Reads,
		Asks:    r.Asks,
		Drawn:   r.Drawn,
	}
}

func encodePackage(p core.Package) *driverpb.Package {
	return &driverpb.Package{Name: p.Name, Version: p.Version, Digest: p.Digest}
}

func encodeLocked(l core.Locked) *driverpb.Package {
	return &driverpb.Package{Name: l.Name, Version: l.Version, Archives: l.Archives, Requires: l.Requires, Scripts: l.Scripts, Url: l.URL}
}

func encodeLock(l *core.Lock) *driverpb.Lock {
	if l == nil {
		return nil
	}
	return &driverpb.Lock{Runtime: string(l.Runtime), Inputs: l.Inputs, Packages: each(l.Packages, encodeLocked), Files: l.Files}
}

func encodeResolveRequest(r core.ResolveRequest) *driverpb.ResolveRequest {
	return &driverpb.ResolveRequest{
		Runtime: string(r.Runtime), Handler: r.Handler, Debian: r.Debian, Allow: r.Allow, Lock: encodeLock(r.Lock), Sandbox: encodeDoor(r.Door),
	}
}

func encodeResolution(r core.Resolution) *driverpb.Resolution {
	return &driverpb.Resolution{Packages: each(r.Packages, encodeLocked), Files: r.Files, Imports: r.Imports, Perhaps: r.Perhaps, Sets: r.Sets, Offers: r.Offers}
}

func encodeInstallRequest(r core.InstallRequest) *driverpb.InstallRequest {
	return &driverpb.InstallRequest{
		Runtime: string(r.Runtime), Packages: each(r.Packages, encodeLocked), Allow: r.Allow, Sandbox: encodeDoor(r.Door),
	}
}

func encodeReceipt(r core.Receipt) *driverpb.Receipt {
	return &driverpb.Receipt{
		Name: r.Name, Version: r.Version, Archive: r.Archive, Bytes: r.Bytes, Modules: r.Modules, Licenses: r.Licenses,
		Signatures: each(r.Signatures, func(s core.Signature) *driverpb.Signature {
			return &driverpb.Signature{Scheme: s.Scheme, Verified: s.Verified, Signer: s.Signer, Detail: s.Detail}
		}),
		Bundles: each(r.Bundles, encodeLocked),
		Offers:  r.Offers,
	}
}

func encodeScanRequest(r core.ScanRequest) *driverpb.ScanRequest {
	return &driverpb.ScanRequest{Runtime: string(r.Runtime), Packages: each(r.Packages, encodePackage), Archive: r.Archive, Sandbox: encodeDoor(r.Door)}
}

func encodeScanned(s core.Scanned) *driverpb.Scanned {
	return &driverpb.Scanned{Packages: each(s.Packages, encodePackage), Suspicions: each(s.Suspicions, encodeSuspicion)}
}

func encodeSuspicion(s core.Suspicion) *driverpb.Suspicion {
	return &driverpb.Suspicion{Package: s.Package, Rule: s.Rule, File: s.File, Line: int64(s.Line), Reason: s.Reason}
}

func encodeBuildRequest(r core.BuildRequest) *driverpb.BuildRequest {
	return &driverpb.BuildRequest{
		Runtime: string(r.Runtime), Handler: r.Handler, Packages: each(r.Packages, encodePackage), Sandbox: encodeDoor(r.Door),
	}
}

func encodeCompileRequest(r core.CompileRequest) *driverpb.CompileRequest {
	return &driverpb.CompileRequest{Runtime: string(r.Runtime), Packages: each(r.Packages, encodePackage), Sandbox: encodeDoor(r.Door)}
}

func encodeProgress(p core.Progress) *driverpb.Progress {
	return &driverpb.Progress{Verb: p.Verb, Item: p.Item, Done: p.Done, Total: p.Total, Detail: p.Detail, Ended: p.Ended, Took: int64(p.Took), Bytes: p.Bytes}
}

// each converts a list; an empty one becomes nil, because the wire does not tell them apart.
func each[A, B any](list []A, convert func(A) B) []B {
	if len(list) == 0 {
		return nil
	}
	converted := make([]B, len(list))
	for i, a := range list {
		converted[i] = convert(a)
	}
	return converted
}

// eachValue is each for maps.
func eachValue[A, B any](m map[string]A, convert func(A) B) map[string]B {
	if len(m) == 0 {
		return nil
	}
	converted := make(map[string]B, len(m))
	for k, a := range m {
		converted[k] = convert(a)
	}
	return converted
}
