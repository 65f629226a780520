package check

import (
	"context"
	"embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
)

//go:embed templates
var programs embed.FS

// What is measured: imports of at least so many milliseconds and bytes, of packages that are small enough to
// be installed soon.
const (
	leastTime   = 5
	leastMemory = 1e6
	mostFiles   = 200
	// enough is how many imports have a middle that says something.
	enough = 5
	// imports are how often a package is imported, each time in a new process: its cost is the middle one, so
	// that one that was disturbed by whatever else the machine does counts for nothing.
	imports = 3
	// allowed is how far the middle may be from what packages say.
	allowed = 0.15
)

// costs are programs that print the milliseconds of processor and the bytes of an import, and the value of
// what was imported.
var costs = map[string]struct{ file, command string }{
	"python": {"cost.py", `venv/bin/python cost.py "$@"`},
	// The optimising compiler takes some 4 MB once in a process, as soon as a few dozen files are loaded, of
	// any package.
	"node":   {"cost.js", `node --no-opt cost.js "$@"`},
	"ruby":   {"cost.rb", `ruby -rbundler/setup cost.rb "$@"`},
	"native": {"cost.c", `[ -x cost ] || cc -O1 cost.c -o cost -ldl; LD_LIBRARY_PATH=$(echo root/usr/lib/*-linux-gnu) ./cost "$@"`},
}

// Costs installs up to most packages of a catalog below dir together, imports each in a new process after
// what it requires, and compares what that has cost with what the packages say. Progress is called with the
// name of each.
func Costs(ctx context.Context, c *packages.Catalog, dir string, most int, progress func(name string)) (all []Finding, err error) {
	chosen, f := choose(c, most)
	if len(chosen) == 0 {
		return nil, nil
	}
	target, err := run.NewCommand(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := target.Close(); err == nil {
			err = closed
		}
	}()
	work, err := os.MkdirTemp("", "pipbench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	program, err := programs.ReadFile("templates/" + costs[c.Language].file)
	if err != nil {
		return nil, err
	}
	code := filepath.Join(work, "code")
	if err := f.Write(code); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(code, costs[c.Language].file), program, 0o644); err != nil {
		return nil, err
	}
	if _, err := target.Deploy(ctx, f, code, false); err != nil {
		return nil, err
	}
	var times, memory []float64
	for _, p := range chosen {
		progress(p.Name)
		// A runtime needs something of its own for the first import in a process.
		other := slices.IndexFunc(chosen, func(o packages.Package) bool { return len(o.Requires) == 0 && o.Name != p.Name })
		first := ""
		if other >= 0 {
			first = chosen[other].Name
		}
		ms, bytes, err := usual(func() (float64, float64, error) { return cost(ctx, target, f, p, first) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		if p.Import >= leastTime {
			times = append(times, ms/p.Import)
		}
		if p.Memory >= leastMemory {
			memory = append(memory, bytes/float64(p.Memory))
		}
	}
	return []Finding{middle("measured import", times), middle("measured memory", memory)}, nil
}

// usual measures some times, and returns the time and the memory in the middle.
func usual(measure func() (ms, bytes float64, err error)) (ms, bytes float64, err error) {
	var times, memory []float64
	for range imports {
		if ms, bytes, err = measure(); err != nil {
			return 0, 0, err
		}
		times, memory = append(times, ms), append(memory, bytes)
	}
	slices.Sort(times)
	slices.Sort(memory)
	return times[imports/2], memory[imports/2], nil
}

// choose returns packages that cost enough to be measured, and a function that requires them.
func choose(c *packages.Catalog, most int) (chosen []packages.Package, f functions.Function) {
	f = functions.Function{Name: "pb-check", Language: c.Language}
	choice := c.Choose()
	for place, p := range c.Packages {
		if len(chosen) < most && p.Import >= leastTime && p.Memory >= leastMemory && p.Files < mostFiles && choice.Add(place, true) {
			chosen = append(chosen, p)
			f.Packages = append(f.Packages, functions.Pinned{Name: p.Name, Version: p.Latest().Number})
		}
	}
	return chosen, f
}

// cost imports a package, after what it requires or after another one, and returns the milliseconds and the
// bytes.
func cost(ctx context.Context, target *run.Command, f functions.Function, p packages.Package, other string) (ms, bytes float64, err error) {
	name := func(name string) string {
		if f.Language == "python" || f.Language == "ruby" {
			return packages.Module(name)
		}
		return name
	}
	words := []string{"sh", "-ec", costs[f.Language].command, "sh", name(p.Name)}
	for _, r := range p.Requires {
		words = append(words, name(r.Package))
	}
	if len(p.Requires) == 0 && other != "" {
		words = append(words, name(other))
	}
	var complaints strings.Builder
	command := target.Start(ctx, f, words...)
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, complaints.String())
	}
	said := strings.Fields(string(out))
	if len(said) != 3 || said[2] != p.Latest().Value {
		return 0, 0, fmt.Errorf("its import says %q, and not the value %s", out, p.Latest().Value)
	}
	if ms, err = strconv.ParseFloat(said[0], 64); err != nil {
		return 0, 0, err
	}
	bytes, err = strconv.ParseFloat(said[1], 64)
	return ms, bytes, err
}

// middle judges costs relative to what packages say.
func middle(what string, ratios []float64) Finding {
	f := Finding{What: what, N: len(ratios), P: math.NaN(), Want: fmt.Sprintf("1 within %g", allowed)}
	if len(ratios) < enough {
		f.Is = "too few"
		return f
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	f.Is = fmt.Sprintf("%.2f (%.2f to %.2f)", median, ratios[0], ratios[len(ratios)-1])
	f.Bad = math.Abs(median-1) > allowed
	return f
}
