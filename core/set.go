package core

import (
	"cmp"
	"slices"
	"strings"
)

// Package is an installable thing at an exact version with a digest of its installed files.
type Package struct {
	Name    string `json:"name"`    // as its language normalises it
	Version string `json:"version"` // exact
	Digest  string `json:"digest"`  // of the installed directory in the store, "sha256:<hex>"; empty until it is installed
}

func (p Package) String() string { return p.Name + "==" + p.Version }

// Base returns the name of its directory, in PackagesDir and in OutDir.
func (p Package) Base() string { return p.Name + "-" + p.Version }

// Compare orders packages by name, version and digest.
func (p Package) Compare(q Package) int {
	return cmp.Or(strings.Compare(p.Name, q.Name), strings.Compare(p.Version, q.Version), strings.Compare(p.Digest, q.Digest))
}

// Set is the packages, at exact versions, that a process has loaded or may load: sorted by Compare, without
// duplicates.
type Set []Package

// NewSet returns the packages as a Set. The argument is not kept.
func NewSet(packages ...Package) Set {
	s := slices.Clone(packages)
	slices.SortFunc(s, Package.Compare)
	return slices.Compact(s)
}

// SubsetOf reports whether every package of s is in t at that very version and digest.
func (s Set) SubsetOf(t Set) bool {
	i := 0
	for _, p := range s {
		for i < len(t) && t[i].Compare(p) < 0 {
			i++
		}
		if i == len(t) || t[i] != p {
			return false
		}
	}
	return true
}

// Intersect returns the packages that are in both.
func (s Set) Intersect(t Set) Set {
	var both Set
	for _, p := range s {
		if _, found := slices.BinarySearchFunc(t, p, Package.Compare); found {
			both = append(both, p)
		}
	}
	return both
}

// Key returns the set as a string that is equal exactly when the sets are.
func (s Set) Key() string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.Name + "==" + p.Version + "@" + p.Digest + "\n")
	}
	return b.String()
}
