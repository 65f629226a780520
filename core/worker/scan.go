package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
)

// scanTimeout bounds the scan of one archive, or of the packages of one deploy.
const scanTimeout = 5 * time.Minute

// scanner names what scans with a driver, so that its results can be told from those of another version.
func scanner(d core.Driver) string {
	described, ok := d.(interface{ Description() core.Description })
	if !ok {
		return ""
	}
	return described.Description().Language + " " + described.Description().Version
}

// judge begins to scan the packages of a function, when there is a policy. What it returns waits for the end, and gives an error when
// the policy refuses one of them. It has to be called.
func (w *Worker) judge(ctx context.Context, d core.Driver, fn core.Function, runtime core.Runtime, progress func(core.Progress)) func() error {
	if w.policy == nil || len(fn.Packages) == 0 {
		return func() error { return nil }
	}
	if !can(d, core.CapabilityScan) {
		w.log.Warn("scan", "fn", fn.Name, "rt", runtime.ID, "err", "its driver cannot scan packages: they are used unscanned")
		return func() error { return nil }
	}
	done := timed(core.Progress{Verb: "scan", Item: fn.Name}, progress)
	var waiting sync.WaitGroup
	var found []core.Suspicion
	var err error
	waiting.Go(func() { found, err = w.suspicions(ctx, d, &fn, runtime) })
	return func() error {
		waiting.Wait()
		if err == nil {
			err = w.decide(fn.Name, found)
		}
		if err == nil {
			done(core.Count(len(fn.Packages), "package", "packages")+", "+core.Count(len(found), "finding", "findings"), 0)
		}
		return err
	}
}

// suspicions returns what is suspicious in the packages of a function, and scans those that have not been scanned before.
func (w *Worker) suspicions(ctx context.Context, d core.Driver, fn *core.Function, runtime core.Runtime) ([]core.Suspicion, error) {
	by := scanner(d)
	var found []core.Suspicion
	var missing []core.Package
	for _, p := range fn.Packages {
		if known, ok := w.store.Scan(p.Digest, by); ok {
			found = append(found, known...)
		} else {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	out, err := w.store.Stage()
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.store.Discard(out) }()
	var scanned core.Scanned
	err = w.inSandbox(ctx, fn, runtime, []core.Mount{{Source: out, Target: core.OutDir, Writable: true}}, false, scanTimeout,
		func(ctx context.Context, sandbox core.Sandbox) (err error) {
			scanned, err = d.(core.Scanner).Scan(ctx, core.ScanRequest{Runtime: runtime.ID, Packages: missing, Sandbox: sandbox})
			return err
		})
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		own := slices.DeleteFunc(slices.Clone(scanned.Suspicions), func(s core.Suspicion) bool { return s.Package != p.String() })
		if err := w.store.RememberScan(p.Digest, by, own); err != nil {
			return nil, err
		}
		found = append(found, own...)
	}
	return found, nil
}

// decide logs what the policy makes of each suspicion, and returns an error when it refuses one.
func (w *Worker) decide(function string, found []core.Suspicion) error {
	decisions := w.policy.Decide(time.Now(), found)
	slices.SortFunc(decisions, scan.Seriousness)
	refused := 0
	for _, d := range decisions {
		w.log.Info("scan", "fn", function, "pkg", d.Package, "rule", d.Rule, "place", scan.Place(d.Suspicion), "reason", d.Reason, "decision", d.Verdict, "by", d.By)
		if d.Verdict == scan.Refuse {
			refused++
		}
	}
	if refused == 0 {
		return nil
	}
	first := decisions[0]
	more := ""
	if refused > 1 {
		more = ", and so on: the worker's log has all that was refused"
	}
	return core.Errorf(core.KindInstall, core.FaultCaller, "the worker's policy (%s) refuses %s: %s %s (%s)%s; take another version of it, or ask the operator for an exception",
		first.By, first.Package, scan.Place(first.Suspicion), first.Reason, first.Rule, more)
}
