package osv

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// record is an entry as it is written, as far as it matters here.
type record struct {
	ID        string     `json:"id"`
	Withdrawn string     `json:"withdrawn"`
	Aliases   []string   `json:"aliases"`
	Summary   string     `json:"summary"`
	Details   string     `json:"details"`
	Severity  []rated    `json:"severity"`
	Affected  []affected `json:"affected"`
	// Own has the additions of the database itself.
	Own json.RawMessage `json:"database_specific"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
		URL       string `json:"purl"`
	} `json:"package"`
	Ranges []struct {
		Type   string `json:"type"`
		Events []struct {
			Introduced   string `json:"introduced"`
			Fixed        string `json:"fixed"`
			LastAffected string `json:"last_affected"`
			Limit        string `json:"limit"`
		} `json:"events"`
	} `json:"ranges"`
	Versions []string `json:"versions"`
	Severity []rated  `json:"severity"`
}

// index has what matching needs, by package.
type index struct {
	packages map[string][]finding // by place.key
	entries  int
}

// finding is the statement of one entry about one package.
type finding struct {
	entry    *entry
	release  string // of the ecosystem; empty for all
	versions string // each affected one between line ends; one string takes half the memory of many
	ranges   []span
	rating   rating
}

type entry struct {
	id      string
	aliases []string
	summary string
}

// span is one range of versions.
type span struct {
	semver bool // compared as SemVer says, whatever the ecosystem
	events []event
}

// event is a version at which something changes.
type event struct {
	kind    kind
	version string
}

type kind byte

const (
	introduced kind = iota
	fixed
	lastAffected
	limit
)

// maxSummary is how much is kept of a summary, in bytes.
const maxSummary = 160

// findings returns the statements of a record about packages, by place.key.
func (r record) findings() (map[string][]finding, error) {
	if r.ID == "" {
		return nil, errors.New("an entry has no id")
	}
	if r.Withdrawn != "" {
		return nil, nil
	}
	summary, _, _ := strings.Cut(strings.TrimSpace(r.Summary), "\n")
	if summary == "" {
		summary, _, _ = strings.Cut(strings.TrimSpace(r.Details), "\n")
	}
	if len(summary) > maxSummary {
		summary = strings.ToValidUTF8(summary[:maxSummary], "") + "…"
	}
	// Copies, because these may be parts of longer strings that would be kept with them.
	e := &entry{id: r.ID, aliases: slices.Clip(r.Aliases), summary: strings.Clone(summary)}
	all := map[string][]finding{}
	for _, a := range r.Affected {
		where, ok := a.place()
		if !ok {
			continue // of a repository's commits only
		}
		f := finding{entry: e, release: where.release, ranges: a.spans(), rating: rate(append(a.Severity, r.Severity...), r.Own)}
		if strings.HasPrefix(r.ID, "MAL-") { // a package that was made to do harm: nobody rates those
			f.rating.severity = core.SeverityCritical
		}
		if len(a.Versions) > 0 {
			f.versions = "\n" + strings.Join(a.Versions, "\n") + "\n"
		}
		all[where.key()] = append(all[where.key()], f)
	}
	return all, nil
}

// place returns which package is affected.
func (a affected) place() (place, bool) {
	if a.Package.Ecosystem == "" || a.Package.Name == "" {
		return parse(a.Package.URL)
	}
	ecosystem, release, _ := strings.Cut(a.Package.Ecosystem, ":")
	return place{ecosystem: ecosystem, release: release, name: normal(ecosystem, a.Package.Name)}, true
}

// spans returns the ranges of versions; those of commits are left out.
func (a affected) spans() []span {
	var all []span
	for _, r := range a.Ranges {
		if r.Type != "SEMVER" && r.Type != "ECOSYSTEM" {
			continue
		}
		s := span{semver: r.Type == "SEMVER"}
		for _, e := range r.Events {
			for kind, version := range map[kind]string{introduced: e.Introduced, fixed: e.Fixed, lastAffected: e.LastAffected, limit: e.Limit} {
				if version != "" {
					s.events = append(s.events, event{kind, version})
				}
			}
		}
		all = append(all, s)
	}
	return all
}
