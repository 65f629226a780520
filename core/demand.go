package core

import (
	"context"
	"time"
)

// Planner is the part of a Service that knows what a plan of the tree is made from.
type Planner interface {
	// Demand returns how much each deployed function is used now, and what their packages cost. The caller
	// owns it.
	Demand(ctx context.Context) (Demand, error)
}

// Demand is what a plan of the tree is made from.
type Demand struct {
	Worker    string           `json:"worker"` // the worker's id
	Time      time.Time        `json:"time"`
	Budget    int64            `json:"budget"`    // bytes, for all processes
	Functions []FunctionDemand `json:"functions"` // sorted by name
	Packages  []PackageCost    `json:"packages"`  // of these functions, each once
}

// FunctionDemand is how much one function is used, and what a zygote may have for it.
type FunctionDemand struct {
	Name      string    `json:"name"`
	Runtime   RuntimeID `json:"runtime"`
	Namespace string    `json:"namespace,omitempty"` // whose functions alone start from its zygotes; empty if all may
	Packages  Set       `json:"packages"`            // that a zygote may have imported for it
	Use       float64   `json:"use"`                 // starts and events, older ones for less
}

// PackageCost is what is known of one package.
type PackageCost struct {
	Package
	Runtime  RuntimeID     `json:"runtime"`
	Took     time.Duration `json:"took"`  // of its import when all that it requires has been imported; JSON has nanoseconds; 0 before a probe
	Bytes    int64         `json:"bytes"` // of memory
	Requires []string      `json:"requires,omitempty"`
	Asks     Set           `json:"asks,omitempty"`     // the others of these packages that it looks for, whether they are there or not
	AsksAll  bool          `json:"asks_all,omitempty"` // it may look for any
}
