package core

import (
	"regexp"
	"strings"
)

// DefaultNamespace is the namespace of the functions and applications whose names have no dot.
const DefaultNamespace = "default"

// Namespace returns the namespace of a function or an application by its full name: NAME in the default
// namespace, NAME.NAMESPACE in every other.
func Namespace(full string) string {
	if _, namespace, found := strings.Cut(full, "."); found {
		return namespace
	}
	return DefaultNamespace
}

// FullName returns the full name of what is called name inside a namespace. A name with a dot is full
// already.
func FullName(name, namespace string) string {
	if namespace == DefaultNamespace || strings.Contains(name, ".") {
		return name
	}
	return name + "." + namespace
}

var (
	validName      = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)
	validNamespace = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// ValidName returns the reason why a function cannot have a full name, nil if it can. Names are
// case-sensitive, and are safe as file names and in URLs.
func ValidName(full string) error {
	name, namespace, found := strings.Cut(full, ".")
	switch {
	case !validName.MatchString(name):
		return Errorf(KindInvalid, FaultCaller, "%.150q cannot be the name of a function: a name has 1 to 63 letters a–z and A–Z, digits, '-' and '_', "+
			"and begins and ends with a letter or digit; a namespace other than the default one follows after a dot", full)
	case !found:
		return nil
	case namespace == DefaultNamespace:
		return Errorf(KindInvalid, FaultCaller, "%.150q cannot be the name of a function: in the default namespace it is %q alone", full, name)
	}
	return ValidNamespace(namespace)
}

// ValidNamespace returns the reason why a namespace cannot have a name, nil if it can.
func ValidNamespace(name string) error {
	if validNamespace.MatchString(name) {
		return nil
	}
	return Errorf(KindInvalid, FaultCaller, "%.150q cannot be the name of a namespace: it has 1 to 63 letters a–z, digits and '-', "+
		"and begins and ends with a letter or digit", name)
}

// NamespaceSpec is what an operator decides about a namespace.
type NamespaceSpec struct {
	Name string `json:"name"`
	// Isolated says that its functions share no zygote that has loaded packages with functions of other
	// namespaces. It is decided while the namespace has no function.
	Isolated bool   `json:"isolated,omitempty"`
	Quotas   Quotas `json:"quotas"`
}

// Quotas bound what the functions of a namespace have together. 0 is no bound.
type Quotas struct {
	Functions int   `json:"functions,omitempty"`         // that are deployed
	Instances int   `json:"instances,omitempty"`         // alive at once
	Memory    int64 `json:"memory,omitempty"`            // bytes: the limits of these instances, added up
	Events    int   `json:"events_per_second,omitempty"` // that begin, those from functions included
	Disk      int64 `json:"disk,omitempty"`              // bytes of code, packages and storages; what several functions have counts once
}

// NamespaceInfo is a namespace as it is now.
type NamespaceInfo struct {
	NamespaceSpec
	Used    Quotas            `json:"used"`    // without events
	Refused map[string]uint64 `json:"refused"` // by the quota of which that was too much, since the worker started
}

// MaxNamespaces is how many namespaces a worker has at the most.
const MaxNamespaces = 1000

// The names of quotas, as Quotas has them in JSON.
const (
	QuotaFunctions = "functions"
	QuotaInstances = "instances"
	QuotaMemory    = "memory"
	QuotaEvents    = "events_per_second"
	QuotaDisk      = "disk"
)

// ByName returns the quotas by their names.
func (q Quotas) ByName() map[string]int64 {
	return map[string]int64{QuotaFunctions: int64(q.Functions), QuotaInstances: int64(q.Instances), QuotaMemory: q.Memory, QuotaEvents: int64(q.Events), QuotaDisk: q.Disk}
}

// Exceeded is the cause of an error: a quota of a namespace.
type Exceeded struct{ Namespace, Quota string }

func (e Exceeded) Error() string { return "the quota " + e.Quota + " of the namespace " + e.Namespace }

// QuotaError is the error of what would exceed a quota. The bound is a text, such as "10 instances".
func QuotaError(namespace, quota, bound string) *Error {
	e := Errorf(KindExhausted, FaultCaller, "the namespace %s has its quota of %s: remove something of it, or ask the operator for more", namespace, bound)
	e.Err = Exceeded{namespace, quota}
	return e
}

// ValidNamespaceSpec returns the reason why a namespace cannot be as it is specified, nil if it can.
func ValidNamespaceSpec(spec NamespaceSpec) error {
	if err := ValidNamespace(spec.Name); err != nil {
		return err
	}
	q := spec.Quotas
	if q.Functions < 0 || q.Instances < 0 || q.Memory < 0 || q.Events < 0 || q.Disk < 0 {
		return Errorf(KindInvalid, FaultCaller, "a quota of the namespace %s is negative; leave it out, or write 0, for no bound", spec.Name)
	}
	return nil
}
