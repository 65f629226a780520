package packages

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Package is an artificial package. Costs are its own, without those of what it requires, and the same for
// each of its versions.
type Package struct {
	Name       string        `json:"name"`
	Popularity float64       `json:"popularity"` // the share of references that are to it
	Closure    int           `json:"closure"`    // how many packages an installation takes, itself included
	Requires   []Requirement `json:"requires,omitempty"`
	Size       int64         `json:"size"` // bytes, as installed
	Files      int           `json:"files"`
	Install    float64       `json:"install_ms"` // of processor, by code that runs when it is installed; 0 unless Builds
	Import     float64       `json:"import_ms"`  // of processor
	Memory     int64         `json:"memory"`     // bytes that an import makes resident
	Modules    int           `json:"modules"`    // that an import loads, at most
	Builds     bool          `json:"builds,omitempty"`
	Versions   []Version     `json:"versions"` // oldest first
}

// Requirement is of another package by the versions of the newest major version of the package that requires
// it; older ones allow any version of it.
type Requirement struct {
	Package string `json:"package"`
	Allows  Kind   `json:"allows"`
	Version string `json:"version,omitempty"` // what the kind is about; none for any
}

// Kind is how a requirement restricts versions.
type Kind string

// The kinds of requirements, which the profile has shares of.
const (
	Any        Kind = "any"
	AtLeast    Kind = "at_least"
	Compatible Kind = "compatible"
	Exact      Kind = "exact"
)

// Version is one of a package, with what was made of it.
type Version struct {
	Number   string    `json:"number"`
	Value    string    `json:"value"` // that its code says, so that who imports it can tell what was imported
	Archives []Archive `json:"archives"`
}

// Archive is a file below the directory of the language.
type Archive struct {
	File     string `json:"file"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	SHA512   string `json:"sha512,omitempty"`   // where a registry says it
	Metadata string `json:"metadata,omitempty"` // what a registry tells of it, in the ecosystem's own form
}

// Numbers is a source of random numbers for one purpose: none depends on how many another has drawn.
func Numbers(seed uint64, purpose ...any) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed, purpose)))
}

// Draw draws packages from the profile: the same for the same profile, count and seed. They come after those
// that they require.
func Draw(p *profile.Profile, count int, seed uint64) ([]Package, error) {
	joint, err := p.Joint()
	if err != nil {
		return nil, err
	}
	all := make([]Package, count)
	wanted := make([]int, count) // closures
	ranks := rand.New(Numbers(seed, p.Language, "ranks")).Perm(count)
	total := 0.0
	for i := range count {
		total += p.Popularity.Weight(i + 1)
	}
	for i := range all {
		random := rand.New(Numbers(seed, p.Language, "package", i))
		wanted[i] = int(math.Round(p.Closure.At(random.Float64())))
		drawn := joint.Draw(random)
		all[i] = Package{Name: name(i), Popularity: p.Popularity.Weight(ranks[i]+1) / total, Import: drawn["import"],
			Size: int64(drawn["size"]), Files: max(1, int(math.Round(drawn["files"]))), Memory: int64(drawn["memory"]),
			Modules: 1 + int(drawn["import"]/p.ModuleCost.Value), Builds: random.Float64() < p.Builds.Value}
		if all[i].Builds {
			all[i].Install = drawn["install"]
		}
		all[i].Versions = versions(random, max(1, int(math.Round(p.Versions.At(random.Float64())))))
		for v := range all[i].Versions {
			all[i].Versions[v].Value = fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, seed, p.Language, all[i].Name, v)))[:16]
		}
	}
	return newGraph(p, all, wanted, seed).link(), nil
}

// name is that of a package by its number: syllables, two at least.
func name(i int) string {
	const consonants, vowels = "bdfgklmnprstvz", "aeiou"
	text := ""
	for n := i; n > 0 || len(text) < 4; n /= len(consonants) * len(vowels) {
		text += string(consonants[n%len(consonants)]) + string(vowels[n/len(consonants)%len(vowels)])
	}
	return "pb-" + text
}

// versions numbers some releases, each a new major version, a new minor one or a patch: about one in seven is
// major, as an assumption.
func versions(random *rand.Rand, count int) []Version {
	major, minor, patch := 1, 0, 0
	all := make([]Version, count)
	for i := range all {
		all[i].Number = fmt.Sprintf("%d.%d.%d", major, minor, patch)
		switch u := random.Float64(); {
		case u < 0.15:
			major, minor, patch = major+1, 0, 0
		case u < 0.6:
			minor, patch = minor+1, 0
		default:
			patch++
		}
	}
	return all
}

// major is the major version of a number.
func major(number string) (n int) {
	_, _ = fmt.Sscanf(number, "%d.", &n)
	return n
}

// Requirements are those of one version.
func (p Package) Requirements(v Version) []Requirement {
	if major(v.Number) == major(p.Versions[len(p.Versions)-1].Number) {
		return p.Requires
	}
	older := slices.Clone(p.Requires)
	for i := range older {
		older[i].Allows, older[i].Version = Any, ""
	}
	return older
}
