package core

import "context"

// Bills is the part of a Service that can tell what its functions are made of.
type Bills interface {
	// Bill returns the bill of materials of a function. That of one version of a function is the same
	// whenever it is asked for, unless the runtime changes.
	Bill(ctx context.Context, name string, format BillFormat) ([]byte, error)
}

// BillFormat is a format of bills of materials.
type BillFormat string

// The formats of bills of materials, both of CycloneDX 1.6.
const (
	BillJSON BillFormat = "cyclonedx-json"
	BillXML  BillFormat = "cyclonedx-xml"
)

// MediaType returns how HTTP calls the format.
func (f BillFormat) MediaType() string {
	if f == BillXML {
		return "application/vnd.cyclonedx+xml"
	}
	return "application/vnd.cyclonedx+json"
}
