package supply

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
func scanner(d Driver) string {
	return d.Description().Language + " " + d.Description().Version
}

// judge begins to scan the packages of the function, when there is a policy. What it returns waits for the
// end, and gives an error when the policy refuses one of them. It has to be called.
func (d *deployment) judge(ctx context.Context) func() error {
	if d.policy == nil || len(d.fn.Packages) == 0 {
		return func() error { return nil }
	}
	if d.parts.Scanner == nil {
		d.log.Warn("scan", "fn", d.fn.Name, "rt", d.runtime.ID, "err", "its driver cannot scan packages: they are used unscanned")
		return func() error { return nil }
	}
	done := d.timed(core.Progress{Verb: "scan", Item: d.fn.Name})
	var waiting sync.WaitGroup
	var found []core.Suspicion
	var err error
	scanned := *d // the build changes the function meanwhile
	waiting.Go(func() { found, err = scanned.suspicions(ctx) })
	return func() error {
		waiting.Wait()
		if err == nil {
			err = d.decide(d.fn.Name, found)
		}
		if err == nil {
			done(core.Count(len(d.fn.Packages), "package", "packages")+", "+core.Count(len(found), "finding", "findings"), 0)
		}
		return err
	}
}

// suspicions returns what is suspicious in the packages of the function, and scans those that have not been
// scanned before.
func (d *deployment) suspicions(ctx context.Context) ([]core.Suspicion, error) {
	by := scanner(d.driver)
	var found []core.Suspicion
	var missing []core.Package
	for _, p := range d.fn.Packages {
		if known, ok := d.store.RememberedScan(p.Digest, by); ok {
			found = append(found, known...)
		} else {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	out, err := d.store.Stage()
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.store.Discard(out) }()
	scanned, err := d.scan(ctx, out, core.ScanRequest{Packages: missing})
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		own := slices.DeleteFunc(slices.Clone(scanned.Suspicions), func(s core.Suspicion) bool { return s.Package != p.String() })
		if err := d.store.RememberScan(p.Digest, by, own); err != nil {
			return nil, err
		}
		found = append(found, own...)
	}
	return found, nil
}

// scan has the driver scan, in a sandbox that can write to out.
func (d *deployment) scan(ctx context.Context, out string, request core.ScanRequest) (scanned core.Scanned, err error) {
	if d.parts.Scanner == nil {
		return scanned, core.Errorf(core.KindUnsupported, core.FaultCaller, "the driver of %s cannot scan packages", d.runtime.ID)
	}
	err = d.bench.do(ctx, d.task(scanTimeout, func(ctx context.Context, door core.Door) (err error) {
		request.Runtime, request.Door = d.runtime.ID, door
		scanned, err = d.parts.Scanner.Scan(ctx, request)
		return err
	}, outMount(out)))
	return scanned, err
}

// decide logs what the policy makes of each suspicion, and returns an error when it refuses one.
func (s *Supply) decide(function string, found []core.Suspicion) error {
	decisions := s.policy.Decide(time.Now(), found)
	slices.SortFunc(decisions, scan.Seriousness)
	refused := 0
	for _, d := range decisions {
		s.log.Info("scan", "fn", function, "pkg", d.Package, "rule", d.Rule, "place", scan.Place(d.Suspicion), "reason", d.Reason, "decision", d.Verdict, "by", d.By)
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
