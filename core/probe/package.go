package probe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// anything is the list of a package that was never observed: it may ask for everything.
var anything = []string{core.AnyPackage, core.InDirectory}

// probe imports one package. Whether a failure is the package's or the machine's, the next fork shows.
func (r *run) probe(p *core.Installed) (core.Probe, error) {
	result := core.Probe{Time: time.Now().UTC(), Version: version, By: r.By}
	if p.Probe != nil {
		result.Asks = p.Probe.Asks   // which may have seen other packages
		if len(p.Probe.Errors) > 0 { // what it had not seen of the package is seen now, if it can be
			result.Asks = without(result.Asks, anything)
		}
	}
	required := r.requires(p)
	ctx, cancel := context.WithTimeout(r.ctx, packageTime)
	defer cancel()
	for modules := p.Receipt.Modules; len(modules) > 0; {
		if err := r.ready(importable(required)); err != nil {
			return result, err
		}
		before, err := r.observe()
		if err != nil {
			return result, err
		}
		began := time.Now()
		module, seen, err := r.importEach(ctx, modules)
		took := time.Since(began)
		var after sandbox.Observation
		if err == nil {
			if after, err = r.settled(before); err != nil {
				module, err = modules[len(modules)-1], fmt.Errorf("the process ended after its import: %w", err)
			}
		}
		if err != nil {
			if err = explain(r.work, err); core.IsKind(err, core.KindExhausted) {
				return result, err
			}
			r.end(r.work)
			if err := r.ready(nil); err != nil {
				return result, err
			}
			modules = without(modules, []string{module})
			if result.Errors == nil {
				result.Errors = map[string]string{}
			}
			result.Errors[module] = err.Error()
			if ctx.Err() != nil {
				result.Errors[module] = fmt.Sprintf("importing %s takes longer than %v", module, packageTime)
			}
			if ctx.Err() != nil || len(result.Errors) == maxErrors {
				result.Asks = anything // nobody has seen its other modules
				break
			}
			continue
		}
		result.Reads, result.Asks = seen.Reads, sorted(slices.Concat(result.Asks, seen.Asks))
		return result, r.judge(&result, before, after, took, required)
	}
	return result, nil // who imports a module that fails alone runs its code, and asks for what it asks for
}

// importEach imports modules one by one, and returns the one that failed, and what they read, sorted, and ask
// for.
func (r *run) importEach(ctx context.Context, modules []string) (failed string, seen core.Report, err error) {
	for _, m := range modules {
		report, err := r.load(ctx, r.work, m)
		if err != nil {
			return m, seen, err
		}
		seen.Reads, seen.Asks = append(seen.Reads, report.Reads...), append(seen.Asks, report.Asks...)
	}
	seen.Reads = sorted(seen.Reads)
	return "", seen, nil
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// settled looks at the process, and again after a moment while there is something that was not there before:
// threads and processes that were ended by who began them may take that long to be gone, and the language's
// own loop may just be reading a directory.
func (r *run) settled(before sandbox.Observation) (after sandbox.Observation, err error) {
	for pause := shortPause; ; pause *= 2 {
		after, err = r.observe()
		if err != nil || pause > longPause || compare(&core.Probe{}, before, after) == "" {
			return after, err
		}
		time.Sleep(pause)
		r.seen = nil
	}
}

// judge fills in what was seen, and drops the process when it must not be forked, or is in no zygote.
func (r *run) judge(result *core.Probe, before, after sandbox.Observation, took time.Duration, required []*core.Installed) error {
	private := max(after.Memory.Private-before.Memory.Private, 0)
	why := compare(result, before, after)
	if why == "" && r.forkEach {
		why = r.tryFork()
	}
	result.Unforkable = why
	if why != "" {
		for _, q := range required {
			if q.Probe != nil && q.Probe.Unforkable != "" {
				result.Unforkable, result.Through = fmt.Sprintf("imports %s, which %s", q.Name, q.Probe.Unforkable), q.String()
				took, private = max(took-q.Probe.Own, 0), max(private-q.Probe.Private, 0) // it was not there before
				break
			}
		}
	}
	if why == "" && !slices.Contains(result.Asks, core.Random) {
		r.good = r.work.modules
	} else { // it may have imported what comes next, which would not be seen to draw
		r.end(r.work)
		if err := r.ready(nil); err != nil {
			return err
		}
	}
	result.Own, result.Private, result.Took, result.Memory = took, private, took, private
	for _, q := range required {
		if q.Probe != nil {
			result.Took += q.Probe.Own
			result.Memory += q.Probe.Private
		}
	}
	return nil
}
