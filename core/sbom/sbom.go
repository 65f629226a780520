// Package sbom makes the bill of materials of a function: what it is made of, by which digests and licences,
// in CycloneDX 1.6.
package sbom

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What the parts of a bill that are no packages are referred to by; packages are by Package.String, which has
// "==".
const (
	functionRef = "function"
	runtimeRef  = "runtime"
)

// Encode returns the bill of a function in a format. The packages are those of the function, in its order; of
// one that nothing more is known of, Package alone is set. The same arguments give the same bytes.
func Encode(fn core.Function, runtime core.Runtime, packages []core.Installed, format core.BillFormat) ([]byte, error) {
	of := cdx.BOMFileFormatJSON
	switch format {
	case core.BillJSON:
	case core.BillXML:
		of = cdx.BOMFileFormatXML
	default:
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%q is no format of a bill of materials; there are %s and %s", format, core.BillJSON, core.BillXML)
	}
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, of).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bill(fn, runtime, packages), cdx.SpecVersion1_6); err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "the bill of materials of %s cannot be written: %w", fn.Name, err)
	}
	return out.Bytes(), nil
}

func bill(fn core.Function, runtime core.Runtime, packages []core.Installed) *cdx.BOM {
	b := cdx.NewBOM()
	// Derived from what it is about, so that two bills of the same thing are equal.
	about := fmt.Sprintf("pipsqueak function %s %d %s\n%s", fn.Name, fn.Version, fn.Code, fn.Packages.Key())
	b.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, []byte(about)).URN()
	b.Metadata = &cdx.Metadata{
		Timestamp: fn.Deployed.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "pipsqueak"}}},
		Component: &cdx.Component{BOMRef: functionRef, Type: cdx.ComponentTypeApplication, Name: fn.Name, Version: strconv.Itoa(fn.Version),
			Properties: &[]cdx.Property{{Name: "pipsqueak:code", Value: fn.Code}}},
	}
	components := []cdx.Component{{BOMRef: runtimeRef, Type: cdx.ComponentTypePlatform, Name: string(fn.Runtime), Version: runtime.Version}}
	for _, p := range packages {
		components = append(components, component(p))
	}
	b.Components = &components
	b.Dependencies = graph(packages)
	return b
}

func component(p core.Installed) cdx.Component {
	c := cdx.Component{BOMRef: p.String(), Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version,
		PackageURL: p.Locked.URL, Licenses: licences(p.Receipt.Licenses)}
	if hash, ok := hashOf(p.Receipt.Archive); ok {
		c.Hashes = &[]cdx.Hash{hash}
	}
	properties := []cdx.Property{{Name: "pipsqueak:installed", Value: p.Digest}}
	for _, s := range p.Receipt.Signatures {
		properties = append(properties, cdx.Property{Name: "pipsqueak:signature:" + s.Scheme, Value: verdict(s)})
	}
	c.Properties = &properties
	if len(p.Receipt.Bundles) > 0 { // an assembly, in the words of CycloneDX
		var parts []cdx.Component
		for _, part := range p.Receipt.Bundles {
			parts = append(parts, cdx.Component{BOMRef: p.String() + "/" + part.String(), Type: cdx.ComponentTypeLibrary, Name: part.Name, Version: part.Version, PackageURL: part.URL})
		}
		c.Components = &parts
	}
	return c
}

// verdict says in words whether a signature was verified.
func verdict(s core.Signature) string {
	said := "not verified"
	if s.Verified {
		said = "verified"
	}
	if s.Signer != "" {
		said += ", " + s.Signer
	}
	if s.Detail != "" {
		said += ": " + s.Detail
	}
	return said
}

// hashOf reads a digest as a lock has it.
func hashOf(digest string) (cdx.Hash, bool) {
	algorithm, value, _ := strings.Cut(digest, ":")
	switch {
	case algorithm == "sha256" && len(value) == 64:
		return cdx.Hash{Algorithm: cdx.HashAlgoSHA256, Value: value}, true
	case algorithm == "sha512" && len(value) == 128:
		return cdx.Hash{Algorithm: cdx.HashAlgoSHA512, Value: value}, true
	}
	return cdx.Hash{}, false
}

// graph returns what requires what. A lock does not tell which packages the function itself asked for: they
// are taken to be those that no other requires, and as many more as it takes to reach all.
func graph(packages []core.Installed) *[]cdx.Dependency {
	requires, required := map[string][]string{}, map[string]bool{}
	for _, p := range packages {
		requires[p.String()] = []string{}
	}
	for _, p := range packages {
		own := p.String()
		for _, other := range p.Locked.Requires {
			if _, there := requires[other]; there && other != own && !slices.Contains(requires[own], other) {
				requires[own] = append(requires[own], other)
				required[other] = true
			}
		}
		slices.Sort(requires[own])
	}
	asked, reached := []string{runtimeRef}, map[string]bool{}
	var reach func(string)
	reach = func(name string) {
		if !reached[name] {
			reached[name] = true
			for _, other := range requires[name] {
				reach(other)
			}
		}
	}
	for _, onlyRoots := range []bool{true, false} {
		for _, p := range packages {
			if name := p.String(); !reached[name] && (!onlyRoots || !required[name]) {
				asked = append(asked, name)
				reach(name)
			}
		}
	}
	all := []cdx.Dependency{{Ref: functionRef, Dependencies: &asked}, {Ref: runtimeRef}}
	for _, p := range packages {
		name := p.String()
		others := requires[name]
		all = append(all, cdx.Dependency{Ref: name, Dependencies: &others})
	}
	return &all
}
