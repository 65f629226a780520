package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// repeats is why a module whose generators are not as new in each fork must not live in a zygote.
const repeats = "gives the same random numbers in every fork"

// Reads reports why a zygote of a function must not have imported a module, "" when it may have. The module
// reads the variables reads when it is imported, and the function sets names. AllVariables in either list
// stands for all variables of the other one.
func Reads(reads, names []string) string {
	all, anything := slices.Contains(reads, core.AllVariables), slices.Contains(names, core.AllVariables)
	var which []string
	for _, name := range names {
		if name != core.AllVariables && (all || slices.Contains(reads, name)) {
			which = append(which, name)
		}
	}
	switch {
	case len(which) > 0:
		return fmt.Sprintf("reads %s when it is imported, which is set for this function", strings.Join(which, ", "))
	case anything:
		return "is imported as the function's own files say"
	}
	return ""
}

// drawAll marks those of the packages whose random generators repeat, and those that require them.
func (r *run) drawAll(packages []*core.Installed) error {
	modules := importable(packages)
	if err := r.ready(modules); err != nil {
		return err
	}
	same, err := r.repeating(modules)
	if err != nil || len(same) == 0 {
		return err
	}
	for _, p := range packages {
		if slices.ContainsFunc(p.Receipt.Modules, func(m string) bool { return slices.Contains(same, m) }) {
			p.Probe.Unforkable = repeats
			continue
		}
		for _, q := range r.requires(p) {
			if q.Probe != nil && q.Probe.Unforkable == repeats {
				p.Probe.Unforkable, p.Probe.Through = fmt.Sprintf("imports %s, which %s", q.Name, repeats), q.String()
				break
			}
		}
	}
	return nil
}

// draw reports why one module, which the process to work with has imported, must not live in a zygote, if it
// must not.
func (r *run) draw(module string) (why string, err error) {
	same, err := r.repeating([]string{module})
	if len(same) > 0 {
		why = repeats
	}
	return why, err
}

// repeating returns the modules that give the same in two forks of the process, and something else in a
// process that was started for itself. A module that its author has seeded gives the same everywhere.
func (r *run) repeating(modules []string) ([]string, error) {
	var one, other map[string]string
	for _, drawn := range []*map[string]string{&one, &other} {
		r.seen = nil // to fork leaves something
		child, err := r.process(r.work)
		if err == nil {
			*drawn, err = r.drawFrom(child, modules)
		}
		if err != nil {
			return nil, err
		}
		if len(*drawn) == 0 {
			return nil, nil
		}
	}
	same := slices.DeleteFunc(slices.Clone(modules), func(m string) bool { return len(both(one[m], other[m])) == 0 })
	if len(same) == 0 {
		return nil, nil
	}
	fresh, err := r.process(nil)
	if err != nil {
		return nil, err
	}
	if _, err := r.load(r.ctx, fresh, r.work.modules...); err != nil {
		r.end(fresh)
		return same, nil //nolint:nilerr // a module that starts only in a fork cannot be compared, and is taken for repeating
	}
	again, err := r.drawFrom(fresh, same)
	return slices.DeleteFunc(same, func(m string) bool {
		repeated := both(one[m], other[m])
		return len(both(strings.Join(repeated, "\n"), again[m])) == len(repeated)
	}), err
}

// both returns the lines, which are of one generator each, that two texts have in common.
func both(one, other string) []string {
	lines := strings.Split(other, "\n")
	return slices.DeleteFunc(strings.Split(one, "\n"), func(line string) bool { return line == "" || !slices.Contains(lines, line) })
}

// drawFrom has a process draw from its modules' generators, and ends it.
func (r *run) drawFrom(p *process, modules []string) (map[string]string, error) {
	defer r.end(p)
	report, err := r.Driver.Import(r.ctx, p.Door().ID, core.Load{Packages: r.dirs, Draw: modules})
	return report.Drawn, err
}
