package core

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Function is what a user deploys, complete: nothing more has to be found out to start it. A deployed Function never
// changes but for Loaded, Apart, Weights, Tried, Watched, Changes and Imports that prove wrong; a new deploy
// of the same name makes a new one with the next Version.
type Function struct {
	Name     string `json:"name"`
	Version  int    `json:"version"`            // 1 for the first deploy of the name, then counted up, also beyond a removal: no two deploys have the same name and version
	Replaced int    `json:"replaced,omitempty"` // the version that this one has replaced; 0 when there was no function of its name
	// Application is the application that it belongs to; empty when it was deployed alone. A deploy of the function alone leaves it where it is.
	Application string            `json:"application,omitempty"`
	Runtime     RuntimeID         `json:"runtime"`
	Handler     string            `json:"handler"` // "file.symbol"
	Code        string            `json:"code"`    // digest of the code directory in the store, "sha256:<hex>"
	Packages    Set               `json:"packages"`
	Imports     []string          `json:"imports"` // modules of Packages that its code imports, in the order of the code
	Env         map[string]string `json:"env,omitempty"`
	Limits      Limits            `json:"limits"`
	Deployed    time.Time         `json:"deployed"` // when it could be invoked
	// Signers are the ids of the keys that its code was signed with, of those that the worker asks for (docs/operations.md).
	Signers []string `json:"signers,omitempty"`
	// Vulnerable is the worst severity of the known vulnerabilities of its packages, as the worker knows them now; empty when it knows of none.
	Vulnerable Severity `json:"vulnerable,omitempty"`
	// Unready is why its next start would not be a fork, as the worker knows it now; empty when it would.
	Unready string `json:"unready,omitempty"`
	// Loaded are modules of Packages that its instances have imported besides Imports. A zygote imports them ahead; an instance leaves
	// them to the code, which may well do without.
	Loaded []string `json:"loaded,omitempty"`
	// Apart are modules that no zygote imports for it, with the reasons: "grpcio starts 3 threads at import".
	Apart map[string]string `json:"apart,omitempty"`
	// Weights are the bytes of memory that importing each of its modules takes, without what a module before it needs as well.
	Weights map[string]int64 `json:"weights,omitempty"`
	// Perhaps, Sets and Offers are as in Resolution. Offers has the entries of its code directory too, behind InDirectory.
	Perhaps []string `json:"perhaps,omitempty"`
	Sets    []string `json:"sets,omitempty"`
	Offers  []string `json:"offers,omitempty"`
	// Watched is whether its handler was imported once to see what that does. Changes is what its code was
	// seen to set then, as in HandlerReport.Sets; AllVariables after a deploy that has not seen it.
	Watched bool     `json:"watched,omitempty"`
	Changes []string `json:"changes,omitempty"`
	// Aside are those of Packages that no zygote that it is forked from may have loaded: it sets what they read when they are imported, or has what they look for.
	Aside Set `json:"aside,omitempty"`
	// Built is how its code was built; nil when nothing was, or when each deploy builds.
	Built *BuiltCode `json:"built,omitempty"`
	// Tried are modules that were tried for it alone: no package has them, or they are deeper in one than that package's probe looks.
	Tried map[string]Trial `json:"tried,omitempty"`
}

var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)

// ValidName returns why a function cannot have that name, nil when it can. Names are case-sensitive, and are safe as file names and in URLs.
func ValidName(name string) error {
	if validName.MatchString(name) {
		return nil
	}
	return Errorf(KindInvalid, FaultCaller, "%.200q cannot be the name of a function: a name has 1 to 63 letters a–z and A–Z, digits, '-' and '_', "+
		"and begins and ends with a letter or digit", name)
}

// BuiltCode is what a deploy of the same code, with the same of everything that a build works with, can use
// again.
type BuiltCode struct {
	From    string   `json:"from"`              // digest of all that
	Imports []string `json:"imports,omitempty"` // as in Built
}

// Use is how much a function is used: a count of its starts and events, in which older ones weigh less. Last is the time of the last one.
type Use struct {
	Weight float64   `json:"weight"`
	Last   time.Time `json:"last"`
}

// Trial is what the import of one module was seen to do.
type Trial struct {
	Why   string        `json:"why,omitempty"`   // no zygote may import it
	Reads []string      `json:"reads,omitempty"` // environment variables, as in Report
	Asks  []string      `json:"asks,omitempty"`  // as in Report
	Took  time.Duration `json:"took,omitempty"`
	// Version and By are as in Probe.
	Version int    `json:"version"`
	By      string `json:"by,omitempty"`
}

// Limits bounds what a function may use.
type Limits struct {
	Memory       int64         `json:"memory"`        // bytes for what the function does itself: neither the packages nor the files in ScratchDir count
	Timeout      time.Duration `json:"timeout"`       // for one event, nanoseconds
	MaxInstances int           `json:"max_instances"` // alive at once
	IdleTimeout  time.Duration `json:"idle_timeout"`  // after which an idle instance ends, nanoseconds
	Reuse        bool          `json:"reuse"`         // false: every event gets a fresh instance
}

// DefaultLimits is what a function gets that says nothing.
func DefaultLimits() Limits {
	return Limits{Memory: 256 << 20, Timeout: 30 * time.Second, MaxInstances: 100, IdleTimeout: 5 * time.Minute, Reuse: true}
}

// InstanceProcessors is how many processors an instance can keep busy: its share of time in each period, whatever function it serves, and how many
// threads libraries start in it (HandlerLoad.Processors).
const InstanceProcessors = 1

// Sizes that every worker and every driver agrees on.
const (
	MaxEvent  = 6 << 20 // bytes of an event, as in AWS Lambda's synchronous invocation
	MaxResult = 6 << 20 // bytes of a result
	MaxDepth  = 16      // functions that have invoked each other, one above the other
	// MaxNesting is how many lists and objects of an event or a result may be inside of each other.
	MaxNesting = 512
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

// Set is the packages, at exact versions, that a process has loaded or may load: sorted by Compare, without duplicates.
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
