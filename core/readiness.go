package core

// Health is the part of a Service that knows whether it can do its work now.
type Health interface {
	// Readiness returns what keeps the service from starting a function. It waits for no process, and may be
	// asked each second.
	Readiness() Readiness
}

// Readiness says whether a service can start a function in every language now, and why not.
type Readiness struct {
	Ready bool `json:"ready"`
	// Parts has each language, and "disk", "memory" and "draining": why it is in the way, empty when it is
	// not.
	Parts map[string]string `json:"parts,omitempty"`
}

// NewReadiness returns the readiness with those parts.
func NewReadiness(parts map[string]string) Readiness {
	r := Readiness{Ready: true, Parts: parts}
	for _, why := range parts {
		r.Ready = r.Ready && why == ""
	}
	return r
}
