package osv

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/google/osv-scalibr/purl"
	"github.com/google/osv-scalibr/purl/ecosystem"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// place is where a database has a package.
type place struct {
	ecosystem string // as OSV has it, without a release
	release   string // of the ecosystem, "12" of "Debian:12"; empty when it is not known or there is none
	name      string
	version   string
	guessed   bool // the name may be another
}

// key is the key of the package in the index.
func (p place) key() string { return p.ecosystem + " " + p.name }

// ecosystems are OSV's names for the types of package URLs, with how a namespace and a name are joined there.
var ecosystems = map[string]struct{ name, join string }{
	purl.TypePyPi:     {"PyPI", ""},
	purl.TypeNPM:      {"npm", "/"},
	purl.TypeGem:      {"RubyGems", ""},
	purl.TypeCargo:    {"crates.io", ""},
	purl.TypeComposer: {"Packagist", "/"},
	purl.TypeCran:     {"CRAN", ""},
	purl.TypeGolang:   {"Go", "/"},
	purl.TypeHackage:  {"Hackage", ""},
	purl.TypeHex:      {"Hex", "/"},
	purl.TypeMaven:    {"Maven", ":"},
	purl.TypeNuget:    {"NuGet", ""},
	purl.TypePub:      {"Pub", ""},
}

// locate finds out where a database has a package of a lock. Not ok means that its package URL does not say.
func locate(p core.Locked) (place, bool) {
	where, ok := parse(p.URL)
	where.version = cmp.Or(where.version, p.Version)
	return where, ok
}

// parse reads a package URL.
func parse(text string) (place, bool) {
	url, err := purl.FromString(text)
	if err != nil {
		return place{}, false
	}
	if known, ok := ecosystems[url.Type]; ok {
		name := url.Name
		if url.Namespace != "" {
			name = url.Namespace + known.join + url.Name
		}
		return place{ecosystem: known.name, name: normal(known.name, name), version: url.Version}, true
	}
	// A distribution's database knows its source packages, which a binary package names as its upstream.
	known := ecosystem.FromPURL(&url)
	if known.IsEmpty() {
		return place{}, false
	}
	where := place{ecosystem: string(known.Ecosystem), release: known.Suffix, name: url.Name, version: url.Version, guessed: true}
	for _, q := range url.Qualifiers {
		if q.Key == "upstream" {
			name, version, _ := strings.Cut(q.Value, "@")
			where.name, where.version, where.guessed = name, cmp.Or(version, where.version), false
		}
	}
	return where, true
}

var separators = regexp.MustCompile(`[-_.]+`)

// normal returns a package's name such that two names of the same package are equal.
func normal(ecosystem, name string) string {
	if ecosystem == "PyPI" {
		return strings.ToLower(separators.ReplaceAllString(name, "-"))
	}
	return name
}
