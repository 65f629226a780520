package driver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// examineTimeout is how long one driver may take to start before it counts as one that does not.
const examineTimeout = 5 * time.Second

// Examine starts each driver of a directory and reports what it says of this machine, or why it does not
// start. It calls try with each runtime that can be used, while its driver runs; what that finds comes last
// for the driver. All drivers are closed when it returns.
func Examine(ctx context.Context, dir string, options Options, try func(context.Context, Running, core.Runtime) core.Finding) []core.Finding {
	paths, err := programs(dir)
	if err != nil {
		return []core.Finding{{Name: "drivers", Status: core.StatusFail, Detail: err.Error(), Fix: "name the directory of the drivers with --drivers"}}
	}
	if len(paths) == 0 {
		return []core.Finding{{Name: "drivers", Status: core.StatusFail, Detail: fmt.Sprintf("no program called %s… in %s", Prefix, dir),
			Fix: "make build, or name another directory with --drivers"}}
	}
	var found []core.Finding
	if who, fix := checkHome(dir); who != "" {
		found = append(found, core.Finding{Name: "drivers", Status: core.StatusWarn, Detail: who + ": another program could be put in a driver's place", Fix: fix})
	}
	owners := map[core.RuntimeID]string{}
	for _, path := range paths {
		found = append(found, examineOne(ctx, path, options, owners, try)...)
	}
	return found
}

// examineOne examines one driver, and enters the runtimes that it is the first to have into owners.
func examineOne(ctx context.Context, path string, options Options, owners map[core.RuntimeID]string, try func(context.Context, Running, core.Runtime) core.Finding) []core.Finding {
	name := strings.TrimPrefix(filepath.Base(path), "pipsqueak-")
	began := time.Now()
	opening, cancel := context.WithTimeout(ctx, examineTimeout)
	defer cancel()
	client, err := Open(opening, path, options)
	if err == nil {
		defer client.Close()
		err = checkName(path, client.Description().Language)
	}
	if err != nil {
		return []core.Finding{{Name: name, Status: core.StatusFail, Detail: err.Error(), Fix: fixDriver(path, err)}}
	}
	d := client.Description()
	found := []core.Finding{{Name: name, Status: core.StatusOK, Detail: fmt.Sprintf("%s, started in %s", d.Version, time.Since(began).Round(time.Millisecond))}}
	for _, problem := range d.Problems {
		found = append(found, problemFinding(name, problem))
	}
	if len(d.Runtimes) == 0 {
		found = append(found, core.Finding{Name: name, Status: core.StatusWarn, Detail: "it has no runtime here",
			Fix: "install one, or remove the driver's program"})
	}
	found = append(found, examineInstaller(name, d))
	for _, r := range d.Runtimes {
		if owner, taken := owners[r.ID]; taken {
			found = append(found, core.Finding{Name: string(r.ID), Status: core.StatusWarn,
				Detail: fmt.Sprintf("not used from %s, for %s has it too", name, owner), Fix: "remove one of the two drivers"})
			continue
		}
		owners[r.ID] = name
		found = append(found, try(ctx, client, r))
		if len(r.Programs) > 0 {
			found = append(found, examinePrograms(r))
		}
	}
	return found
}

// fixDriver says what to do about a driver that does not start. What the machine lacks, the error has said.
func fixDriver(path string, err error) string {
	if core.AsError(err).Fault == core.FaultDriver {
		return fmt.Sprintf("see what `%s --describe` does by hand; then fix or replace the driver, or remove its program", path)
	}
	return "do so, or remove the driver's program"
}

// problemFinding splits a driver's sentence where it goes on with what to do.
func problemFinding(name, problem string) core.Finding {
	f := core.Finding{Name: name, Status: core.StatusWarn, Detail: problem, Fix: "see to it, and run doctor again"}
	if i := strings.LastIndex(problem, "; "); i >= 0 {
		f.Detail, f.Fix = problem[:i], problem[i+2:]
	}
	return f
}

// examinePrograms reports which versions of the programs that a runtime is made of are here, and which the
// driver was tested with.
func examinePrograms(r core.Runtime) core.Finding {
	f := core.Finding{Name: string(r.ID) + " versions", Status: core.StatusOK}
	var all, untested []string
	for _, p := range r.Programs {
		said := strings.TrimSpace(p.Name + " " + cmp.Or(p.Version, "of no known version"))
		if !slices.Contains(p.Tested, p.Version) {
			untested = append(untested, p.Name)
			said += fmt.Sprintf(" (tested: %s)", strings.Join(p.Tested, ", "))
		}
		all = append(all, said)
	}
	if f.Detail = strings.Join(all, ", "); len(untested) == 0 {
		f.Detail += ": all tested"
		return f
	}
	f.Status, f.Detail = core.StatusWarn, f.Detail+": not tested with "+strings.Join(untested, ", ")
	f.Fix = "use a version that was tested, or run `make test` with these before you trust them with packages"
	return f
}

// examineInstaller reports whether the driver can install packages, and whether the tools for that are there.
func examineInstaller(name string, d core.Description) core.Finding {
	name = strings.TrimPrefix(name, "driver-") + " packages"
	if !d.Can(core.CapabilityInstall) {
		return core.Finding{Name: name, Status: core.StatusWarn, Detail: "the driver does not install any",
			Fix: "deploy functions with all they need in their code"}
	}
	var tools []string
	for _, r := range d.Runtimes {
		for _, tool := range r.Tools {
			if _, err := os.Stat(tool.Source); err != nil {
				return core.Finding{Name: name, Status: core.StatusWarn, Detail: fmt.Sprintf("cannot be installed: %v", err), Fix: "make build"}
			}
			if !slices.Contains(tools, tool.Source) {
				tools = append(tools, tool.Source)
			}
		}
	}
	if len(tools) == 0 {
		return core.Finding{Name: name, Status: core.StatusOK, Detail: "are installed by the driver itself"}
	}
	return core.Finding{Name: name, Status: core.StatusOK, Detail: "are installed with " + strings.Join(tools, " ")}
}
