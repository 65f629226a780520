package osv

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/semantic"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// hit is an entry that a package is affected by.
type hit struct {
	finding
	fixed string // first version after the package's without it; empty when none is known
}

// match returns the vulnerabilities of a package, each once, by whatever names the database has it. Problems
// are entries that cannot be wholly compared with the package's version: what of them can be read decides,
// and what cannot be read excludes nothing.
func (x *index) match(where place) (found []core.Vulnerability, problems []error) {
	var hits []hit
	for _, f := range x.packages[where.key()] {
		if f.release != "" && where.release != "" && f.release != where.release {
			continue
		}
		fixed, affected, err := f.affects(where)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", f.entry.id, err))
		}
		if affected {
			hits = append(hits, hit{f, fixed})
		}
	}
	for _, same := range groups(hits) {
		found = append(found, merge(where, same))
	}
	return found, problems
}

// affects reports whether the finding is true of a version, and the first version after it of which it is
// not. The algorithm is the one of the schema, https://ossf.github.io/osv-schema/#evaluation.
func (f finding) affects(where place) (fixed string, affected bool, err error) {
	affected = strings.Contains(f.versions, "\n"+where.version+"\n")
	for _, s := range f.ranges {
		inside, after, failed := s.includes(where)
		if failed != nil {
			err = failed
		}
		affected = affected || inside
		if inside && after != "" {
			fixed = after
		}
	}
	return fixed, affected, err
}

// readable is how a version begins, whatever the ecosystem: the libraries order anything, and what is none
// comes out as very old or very new.
var readable = regexp.MustCompile(`^[vV=]?\s*(\d+[!:])?\d`)

// includes reports whether a version is in the range, and which one it is fixed in. What begins at a version
// that cannot be read begins before all, and what ends at one does not end: then err says so.
func (s span) includes(where place) (inside bool, after string, err error) {
	version, err := s.parse(where.version, where.ecosystem)
	if err == nil && !readable.MatchString(where.version) {
		err = fmt.Errorf("the version %q cannot be compared", where.version)
	}
	if err != nil {
		return false, "", err
	}
	var unreadable error
	type at struct {
		event
		order int // of the event's version to the package's
	}
	var events []at
	limited, below := false, false
	for _, e := range s.events {
		order, err := s.compare(e, version)
		if err != nil {
			unreadable = err
			if e.kind == introduced {
				events = append(events, at{event{introduced, "0"}, -1})
			}
			continue
		}
		if e.kind == limit {
			limited, below = true, below || e.version == "*" || order > 0
			continue
		}
		events = append(events, at{e, order})
	}
	if limited && !below {
		return false, "", unreadable
	}
	// Of the events up to the version the last decides, so they need an order among themselves; of the later
	// ones the first fix is told.
	slices.SortStableFunc(events, func(a, b at) int { return s.order(a.event, b.event, where.ecosystem) })
	for _, e := range events {
		switch {
		case e.kind == introduced && e.order <= 0:
			inside = true
		case e.kind == fixed && e.order <= 0, e.kind == lastAffected && e.order < 0:
			inside = false
		case e.kind == fixed && after == "":
			after = e.version
		}
	}
	return inside, after, unreadable
}

// parse reads a version as the range wants it compared.
func (s span) parse(version, ecosystem string) (semantic.Version, error) {
	if s.semver {
		return semantic.ParseSemverVersion(version), nil
	}
	return semantic.Parse(version, ecosystem)
}

// compare orders an event's version and another. "0" is before all versions.
func (s span) compare(e event, version semantic.Version) (int, error) {
	if e.version == "0" || e.version == "*" {
		return -1, nil
	}
	if !readable.MatchString(e.version) {
		return 0, fmt.Errorf("its version %q cannot be read", e.version)
	}
	order, err := version.CompareStr(e.version)
	return -order, err
}

// order orders two events whose versions could be read.
func (s span) order(a, b event, ecosystem string) int {
	if a.version == b.version {
		return cmp.Compare(a.kind, b.kind)
	}
	version, err := s.parse(b.version, ecosystem)
	if err != nil || b.version == "0" {
		return 1
	}
	order, _ := s.compare(a, version) // both have been compared with the package's
	return order
}

// groups puts together what goes by the same names.
func groups(hits []hit) [][]hit {
	var all [][]hit
	at := map[string]int{} // the group of a name, in all
	for n, h := range hits {
		all = append(all, []hit{h})
		for _, name := range h.entry.names() {
			if other, ok := at[name]; ok && other != n {
				for _, member := range all[other] {
					for _, name := range member.entry.names() {
						at[name] = n
					}
				}
				all[n], all[other] = append(all[other], all[n]...), nil
			}
			at[name] = n
		}
	}
	return slices.DeleteFunc(all, func(group []hit) bool { return group == nil })
}

func (e *entry) names() []string { return append([]string{e.id}, e.aliases...) }

// merge makes one vulnerability of what several entries say of it: the worst rating, and the highest of the
// fixes.
func merge(where place, hits []hit) core.Vulnerability {
	v, worst := core.Vulnerability{}, rating{severity: core.SeverityUnknown}
	for _, h := range hits {
		v.IDs = append(v.IDs, h.entry.names()...)
		v.Summary = cmp.Or(v.Summary, h.entry.summary)
		if h.rating.worse(worst) {
			worst = h.rating
		}
		if v.Fixed == "" || h.fixed != "" && later(h.fixed, v.Fixed, where.ecosystem) {
			v.Fixed = h.fixed
		}
	}
	v.Severity, v.Score = worst.severity, worst.score
	slices.SortFunc(v.IDs, func(a, b string) int { return cmp.Or(precedence(a)-precedence(b), strings.Compare(a, b)) })
	v.IDs = slices.Compact(v.IDs)
	return v
}

func later(a, b, ecosystem string) bool {
	order, err := compareVersions(a, b, ecosystem)
	return err == nil && order > 0
}

// precedence puts the names that most people look for first.
func precedence(id string) int {
	prefix, _, _ := strings.Cut(id, "-")
	if at := slices.Index([]string{"CVE", "GHSA", "MAL"}, prefix); at >= 0 {
		return at
	}
	return 3
}
