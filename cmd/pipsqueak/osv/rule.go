package osv

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"deps.dev/util/semver"
	"github.com/google/osv-scalibr/purl"
	"github.com/google/osv-scalibr/semantic"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// grammars read the ranges that are a language's own, such as "^1.2", "~> 1.2" or "==1.*".
var grammars = map[string]semver.System{"PyPI": semver.PyPI, "npm": semver.NPM, "RubyGems": semver.RubyGems, "crates.io": semver.Cargo}

// orders are the ecosystems of which a rule for any must suit one.
var orders = []string{"PyPI", "npm", "RubyGems", "Debian", "crates.io", "Packagist", "Maven", "NuGet", "Go"}

// Rule implements core.PackageRule.
func Rule(name, versions string) (func(core.Locked) bool, error) {
	r := rule{name: strings.TrimSpace(name)}
	if strings.HasPrefix(r.name, "pkg:") {
		where, ok := parse(r.name)
		if !ok {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%q is no package URL that can be understood, such as pkg:npm/debug", name)
		}
		url, _ := purl.FromString(r.name)
		r.ecosystem, r.name, versions = where.ecosystem, cmp.Or(binary(url), where.name), cmp.Or(versions, url.Version)
	}
	if r.name == "" {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "a package has to be named, as its registry does: requests, @babel/core, pkg:deb/debian/openssl")
	}
	if strings.ContainsAny(r.name, " \t,<>=") {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%q is no name of a package; versions are behind it, such as %s", name, "requests>=2.31,<2.32.4 or requests@2.31")
	}
	if r.ecosystem != "" && !slices.Contains(orders, r.ecosystem) {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%q is a package of %s, of which no function has any here; there are those of %s",
			name, r.ecosystem, strings.Join(orders, ", "))
	}
	r.versions = readVersions(versions)
	if !slices.ContainsFunc(orders, func(ecosystem string) bool {
		return (r.ecosystem == "" || r.ecosystem == ecosystem) && r.versions.suit(ecosystem)
	}) {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller,
			"%q are no versions of %s: name one, such as 2.3.5, or compare, such as >=1.2,<1.4.1, or take a range as the registry has it, such as ^1.2, ~> 1.2 or ==1.*", versions, r.name)
	}
	return r.covers, nil
}

// rule says which packages are meant.
type rule struct {
	ecosystem string // as OSV has it; empty for any
	name      string
	versions  versions
}

// covers goes by names without regard to capitals: who writes "Rack" means rack, and a rule that covers
// nothing says nothing.
func (r rule) covers(p core.Locked) bool {
	return slices.ContainsFunc(identities(p), func(where place) bool {
		return (r.ecosystem == "" || r.ecosystem == where.ecosystem) && strings.EqualFold(normal(where.ecosystem, r.name), normal(where.ecosystem, where.name)) &&
			r.versions.include(where.version, where.ecosystem)
	})
}

// identities returns all that a package can be meant by: what its package URL says, and of a distribution's
// package also its own name beside that of its source; and the name that it has in the store.
func identities(p core.Locked) []place {
	where, _ := locate(p)
	all := []place{{ecosystem: where.ecosystem, name: p.Name, version: p.Version}}
	if where.name == "" {
		return all
	}
	all = append(all, where)
	if url, err := purl.FromString(p.URL); err == nil && binary(url) != "" {
		all = append(all, place{ecosystem: where.ecosystem, name: binary(url), version: cmp.Or(url.Version, p.Version)})
	}
	return all
}

// binary returns the name of a distribution's package, which is not always the one that its database has.
func binary(url purl.PackageURL) string {
	if _, known := ecosystems[url.Type]; known {
		return ""
	}
	return url.Name
}

// versions are those that a rule means. Comparisons are understood in every ecosystem, and include what comes
// before a release, as those of advisories do; anything else is left to the ecosystem's own grammar.
type versions struct {
	text string
	any  [][]comparison // one of these lists has to be true; nil when the text has others than comparisons
	bare bool           // one version without an operator
}

type comparison struct{ operator, version string }

var comparisonPattern = regexp.MustCompile(`^(===?|=|!=|>=|<=|>>|<<|>|<|)\s*([0-9A-Za-z][^\s,|<>=^*]*)(?:\s*,\s*|\s+|$)`)

func readVersions(text string) versions {
	v := versions{text: strings.TrimSpace(text)}
	if v.text == "" || v.text == "*" {
		v.any = [][]comparison{{}}
		return v
	}
	for part := range strings.SplitSeq(v.text, "||") {
		var all []comparison
		for part = strings.TrimSpace(part); part != ""; {
			m := comparisonPattern.FindStringSubmatch(part)
			if m == nil || !strings.ContainsAny(m[2], "0123456789") || wild.MatchString(m[2]) {
				v.any = nil
				return v
			}
			all, part = append(all, comparison{m[1], m[2]}), part[len(m[0]):]
		}
		bare := slices.ContainsFunc(all, func(c comparison) bool { return c.operator == "" })
		if len(all) > 1 && bare && !slices.ContainsFunc(all, func(c comparison) bool { return c.operator != "" }) { // a list of versions
			for _, c := range all {
				v.any = append(v.any, []comparison{{"==", c.version}})
			}
			continue
		}
		v.any = append(v.any, all)
		v.bare = v.bare || bare
		if len(all) == 0 || bare && len(all) > 1 {
			v.any = nil
			return v
		}
	}
	return v
}

// wild is a part of a version that stands for any number.
var wild = regexp.MustCompile(`(^|\.)[xX](\.|$)`)

// native reports whether the ecosystem's own grammar decides. A version alone is a range in some.
func (v versions) native(ecosystem string) bool { return v.any == nil || v.bare && ecosystem == "npm" }

// suit reports whether versions of an ecosystem can be compared with these.
func (v versions) suit(ecosystem string) bool {
	if v.native(ecosystem) {
		grammar, ok := grammars[ecosystem]
		if !ok {
			return false
		}
		_, err := grammar.ParseConstraint(v.text)
		return err == nil
	}
	for _, all := range v.any {
		for _, c := range all {
			if _, err := semantic.Parse(c.version, ecosystem); err != nil {
				return false
			}
		}
	}
	return true
}

// include reports whether a version is one of these. One that cannot be compared counts as one, for nothing
// says that it is none.
func (v versions) include(version, ecosystem string) bool {
	if v.text == version {
		return true
	}
	if v.native(ecosystem) {
		grammar, ok := grammars[ecosystem]
		if !ok {
			return false
		}
		range_, err := grammar.ParseConstraint(v.text)
		return err == nil && range_.Match(version)
	}
	return slices.ContainsFunc(v.any, func(all []comparison) bool {
		return !slices.ContainsFunc(all, func(c comparison) bool { return !c.holds(version, ecosystem) })
	})
}

func (c comparison) holds(version, ecosystem string) bool {
	order, err := compareVersions(version, c.version, ecosystem)
	if err != nil {
		return true
	}
	switch c.operator {
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">", ">>":
		return order > 0
	case "<", "<<":
		return order < 0
	case "!=":
		return order != 0
	}
	return order == 0
}

// compareVersions orders two versions as their ecosystem does, and of one that nobody knows as SemVer does.
func compareVersions(a, b, ecosystem string) (int, error) {
	if ecosystem == "" {
		return semantic.ParseSemverVersion(a).CompareStr(b)
	}
	version, err := semantic.Parse(a, ecosystem)
	if err != nil {
		return 0, err
	}
	return version.CompareStr(b)
}
