package core

import (
	"context"
	"strings"
	"time"
)

// Packages is the part of a Service that keeps packages.
type Packages interface {
	// Inventory returns all installed packages.
	Inventory(ctx context.Context) (Inventory, error)
	// PackagesOf returns the packages of a function, in the order of its set.
	PackagesOf(ctx context.Context, function string) ([]Installed, error)
	// Verify reads files of packages and of the code of functions again. Damaged ones are quarantined,
	// installed again where that is possible, and reported, repaired or not. Progress may be nil; it is
	// called from one goroutine at a time.
	Verify(ctx context.Context, request VerifyRequest, progress func(Progress)) (Verified, error)
	// Quarantine makes a rule that forbids versions of a package, whether one is installed or not; a rule
	// without a reason is removed. It returns the installed packages that the rule covers.
	Quarantine(ctx context.Context, rule Forbidden) ([]Installed, error)
	// Collect removes packages that no function uses and that no deploy has asked for during olderThan. It
	// removes more of them while all packages together exceed the worker's limit. It returns the removed
	// packages.
	Collect(ctx context.Context, olderThan time.Duration) ([]Installed, error)
}

// Inventory is the packages of a worker.
type Inventory struct {
	Packages []Stored      `json:"packages"` // sorted by name, version, digest and runtime
	Size     int64         `json:"size"`     // bytes of all of them; shared files count once
	Limit    int64         `json:"limit"`    // bytes over which unused ones are collected
	Age      time.Duration `json:"age"`      // after which unused ones are collected, nanoseconds
	Free     int64         `json:"free"`     // bytes on the disk
	// Forbidden are the rules of the quarantine, in the order in which they were made.
	Forbidden []Forbidden `json:"forbidden"`
}

// Forbidden is a rule of the quarantine: no package of that name and those versions is used.
type Forbidden struct {
	// Name is the name that people and advisories use: the one in the package's registry, a Debian package's
	// or its source's, a package URL ("pkg:npm/debug") to choose a registry, or Package.Name.
	Name string `json:"name"`
	// Versions are one version, comparisons (">=1.2,<1.4.1 || 2.0"), or a range in the syntax of the
	// package's registry ("^1.2", "~> 1.2", "==1.*"). Empty for all.
	Versions string    `json:"version,omitempty"`
	Reason   string    `json:"reason"` // shown to users who need such a package
	Added    time.Time `json:"added"`
}

// String returns the rule as the command line takes it: "requests>=2.31,<2.32.2", "debug@1.x", "left-pad".
func (f Forbidden) String() string {
	if f.Versions == "" || strings.ContainsRune("<>=!~^", rune(f.Versions[0])) {
		return f.Name + f.Versions
	}
	return f.Name + "@" + f.Versions
}

// PackageRule parses Forbidden.Name and Versions, and returns a function that reports whether the rule covers
// a package. KindInvalid, fault caller, if it cannot parse them.
type PackageRule func(name, versions string) (func(Locked) bool, error)

// Stored is an installed package with the functions that use it.
type Stored struct {
	Installed
	Functions []string `json:"functions"` // names, sorted
}

// VerifyRequest selects the files to read again.
type VerifyRequest struct {
	Packages []string `json:"packages"` // names, or names and versions as Package.String has them; all packages and all code when there is none
	Sample   float64  `json:"sample"`   // per cent of the files whose contents are read, 0 for all; names, sizes and modes are always checked
}

// Verified is the result of a verification.
type Verified struct {
	Trees   int      `json:"trees"` // packages, and codes of functions
	Files   int      `json:"files"` // that were read
	Bytes   int64    `json:"bytes"` // that were read
	Damaged []Damage `json:"damaged"`
}

// Damage is a package, or the code of functions, whose files have changed since they were stored.
type Damage struct {
	Package   string        `json:"package,omitempty"` // as Package.String has it; empty for code
	Digest    string        `json:"digest"`
	Functions []string      `json:"functions"` // that use it, sorted
	Files     []DamagedFile `json:"files"`     // sorted, at most 20
	Repaired  bool          `json:"mended"`    // whether it is whole again, or gone and not needed
	Outcome   string        `json:"outcome"`   // what was done about it, or remains to be done: one sentence
}

// DamagedFile is one file that has changed.
type DamagedFile struct {
	File   string `json:"file,omitempty"` // below the package's directory; empty if unknown
	Reason string `json:"reason"`         // a phrase: "has other contents than when it was installed"
}

func (f DamagedFile) String() string {
	if f.File == "" {
		return f.Reason
	}
	return f.File + " " + f.Reason
}
