package sbom

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// schema is the official one of CycloneDX 1.6, with the two that it refers to.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for url, file := range map[string]string{"bom-1.6.schema.json": "testdata/bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "testdata/jsf-0.82.schemax.json"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+url, document); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

var once *jsonschema.Schema

// compiled is the schema, made once: it takes a tenth of a second.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	if once == nil {
		once = schema(t)
	}
	return once
}

func validate(t *testing.T, bill []byte) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(bill))
	if err != nil {
		t.Fatal(err)
	}
	return compiled(t).Validate(document)
}

func decode(t *testing.T, bill []byte, format cdx.BOMFileFormat) *cdx.BOM {
	t.Helper()
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(bill), format).Decode(&b); err != nil {
		t.Fatal(err)
	}
	return &b
}

func installed(name, version, archive string, licences []string, requires ...string) core.Installed {
	return core.Installed{
		Package: core.Package{Name: name, Version: version, Digest: "sha256:" + strings.Repeat("d", 64)},
		Locked:  core.Locked{Name: name, Version: version, URL: "pkg:pypi/" + name + "@" + version, Requires: requires},
		Receipt: core.Receipt{Archive: archive, Licenses: licences},
	}
}

func function(packages ...core.Installed) core.Function {
	fn := core.Function{Name: "report", Version: 3, Runtime: "python3.11", Code: "sha256:" + strings.Repeat("c", 64), Deployed: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	for _, p := range packages {
		fn.Packages = append(fn.Packages, p.Package)
	}
	return fn
}

var runtime = core.Runtime{ID: "python3.11", Version: "3.11.2"}

func encode(t *testing.T, format core.BillFormat, packages ...core.Installed) []byte {
	t.Helper()
	bill, err := Encode(function(packages...), runtime, packages, format)
	if err != nil {
		t.Fatal(err)
	}
	return bill
}

func someThings() []core.Installed {
	sha256, sha512 := "sha256:"+strings.Repeat("0a", 32), "sha512:"+strings.Repeat("0b", 64)
	pandas := installed("pandas", "2.1.0", sha256, []string{"BSD-3-Clause"}, "numpy==1.26.4", "gone==1", "pandas==2.1.0", "numpy==1.26.4")
	pandas.Receipt.Signatures = []core.Signature{{Scheme: "PEP 740", Verified: true, Signer: "https://github.com/pandas-dev/pandas"}, {Scheme: "other <&>", Detail: "the registry gave none"}}
	return []core.Installed{
		installed("a", "1", "md5:00", []string{"MIT", "  ", "a licence of \x01 ours"}, "b==1"), // a circle
		installed("b", "1", "sha256:00", nil, "a==1"),
		installed("numpy", "1.26.4", sha512, []string{"(MIT OR Apache-2.0) AND GPL-2.0-or-later WITH Some-exception-1.0"}),
		pandas,
		{Package: core.Package{Name: "unknown", Version: "0", Digest: "sha256:" + strings.Repeat("e", 64)}}, // its index entry is gone
	}
}

func TestEncode(t *testing.T) {
	packages := someThings()
	bill := encode(t, core.BillJSON, packages...)
	if err := validate(t, bill); err != nil {
		t.Errorf("not valid: %v\n%s", err, bill)
	}
	if again := encode(t, core.BillJSON, packages...); !bytes.Equal(bill, again) {
		t.Error("two bills of the same differ")
	}
	b := decode(t, bill, cdx.BOMFileFormatJSON)
	if b.Metadata.Timestamp != "2026-01-02T03:04:05Z" || b.Metadata.Component.Name != "report" || b.Metadata.Component.Version != "3" {
		t.Errorf("%+v", b.Metadata)
	}
	components := *b.Components
	if len(components) != len(packages)+1 || components[0].Name != "python3.11" || components[0].Version != "3.11.2" {
		t.Fatalf("%+v", components)
	}
	pandas := components[4]
	if pandas.PackageURL != "pkg:pypi/pandas@2.1.0" || !slices.Equal(*pandas.Hashes, []cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: strings.Repeat("0a", 32)}}) {
		t.Errorf("%+v", pandas)
	}
	want := []cdx.Property{{Name: "pipsqueak:installed", Value: packages[3].Digest}, {Name: "pipsqueak:signature:PEP 740", Value: "verified, https://github.com/pandas-dev/pandas"},
		{Name: "pipsqueak:signature:other <&>", Value: "not verified: the registry gave none"}}
	if !slices.Equal(*pandas.Properties, want) {
		t.Errorf("properties %+v", *pandas.Properties)
	}
	if (*components[3].Hashes)[0].Algorithm != cdx.HashAlgoSHA512 || components[1].Hashes != nil || components[2].Hashes != nil {
		t.Error("hashes by algorithm")
	}
	requires := map[string][]string{}
	for _, d := range *b.Dependencies {
		if d.Dependencies != nil {
			requires[d.Ref] = *d.Dependencies
		}
	}
	for ref, want := range map[string][]string{
		"function": {"runtime", "pandas==2.1.0", "unknown==0", "a==1"}, "pandas==2.1.0": {"numpy==1.26.4"}, "a==1": {"b==1"}, "b==1": {"a==1"},
	} {
		if !slices.Equal(requires[ref], want) {
			t.Errorf("%s requires %q, want %q", ref, requires[ref], want)
		}
	}

	xml := decode(t, encode(t, core.BillXML, packages...), cdx.BOMFileFormatXML)
	if len(*xml.Components) != len(components) || xml.SerialNumber != b.SerialNumber || (*xml.Components)[4].PackageURL != pandas.PackageURL {
		t.Errorf("as XML it says something else: %+v", xml)
	}
	if _, err := Encode(function(), runtime, nil, "spdx"); !core.IsKind(err, core.KindInvalid) {
		t.Errorf("an unknown format: %v", err)
	}
	if err := validate(t, encode(t, core.BillJSON)); err != nil {
		t.Errorf("without packages: %v", err)
	}
}

// TestSerial: bills of different things have different serial numbers.
func TestSerial(t *testing.T) {
	serials := map[string]string{}
	base := function(installed("a", "1", "", nil))
	for name, change := range map[string]func(*core.Function){
		"itself":        func(*core.Function) {},
		"a version":     func(fn *core.Function) { fn.Version++ },
		"other code":    func(fn *core.Function) { fn.Code = "sha256:" + strings.Repeat("f", 64) },
		"another name":  func(fn *core.Function) { fn.Name = "other" },
		"other package": func(fn *core.Function) { fn.Packages = core.Set{{Name: "a", Version: "2"}} },
	} {
		fn := base
		change(&fn)
		serial := bill(fn, runtime, nil).SerialNumber
		if other, ok := serials[serial]; ok {
			t.Errorf("%s and %s have the same serial number", name, other)
		}
		serials[serial] = name
	}
}

func TestLicences(t *testing.T) {
	if len(spdxIDs()) < 400 {
		t.Fatalf("only %d ids in the schema", len(spdxIDs()))
	}
	for _, test := range []struct {
		stated []string
		want   string // "id …", "expression …", "name …"
	}{
		{nil, ""},
		{[]string{" "}, ""},
		{[]string{"MIT"}, "id MIT"},
		{[]string{"mit"}, "id MIT"},
		{[]string{"MIT", "ISC"}, "id MIT, id ISC"},
		{[]string{"MIT OR Apache-2.0"}, "expression MIT OR Apache-2.0"},
		{[]string{"MIT OR Apache-2.0", "ISC"}, "name MIT OR Apache-2.0, id ISC"},
		{[]string{"GPL-2.0+"}, "id GPL-2.0+"}, // an old one that is an id itself
		{[]string{"MPL-2.0+"}, "expression MPL-2.0+"},
		{[]string{"LicenseRef-ours"}, "expression LicenseRef-ours"},
		{[]string{"Apache-2.0 WITH LLVM-exception"}, "expression Apache-2.0 WITH LLVM-exception"},
		{[]string{"MIT ISC"}, "name MIT ISC"},
		{[]string{"MIT OR"}, "name MIT OR"},
		{[]string{"(MIT OR ISC"}, "name (MIT OR ISC"},
		{[]string{"MIT OR ISC)"}, "name MIT OR ISC)"},
		{[]string{"()"}, "name ()"},
		{[]string{"MIT (ISC)"}, "name MIT (ISC)"},
		{[]string{"BSD License"}, "name BSD License"},
	} {
		var got []string
		if all := licences(test.stated); all != nil {
			for _, l := range *all {
				switch {
				case l.Expression != "":
					got = append(got, "expression "+l.Expression)
				case l.License.ID != "":
					got = append(got, "id "+l.License.ID)
				default:
					got = append(got, "name "+l.License.Name)
				}
			}
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%q: %q, want %q", test.stated, got, test.want)
		}
		if err := validate(t, encode(t, core.BillJSON, installed("a", "1", "", test.stated))); err != nil {
			t.Errorf("%q: %v", test.stated, err)
		}
	}
}

// TestLicenceNames has what packages state as their licences, and which SPDX id that obviously is.
func TestLicenceNames(t *testing.T) {
	for text, want := range map[string]string{
		"MIT": "MIT", "mit": "MIT", "MIT License": "MIT", "The MIT License (MIT)": "MIT", "MIT Licence": "MIT", "Expat": "MIT",
		"BSD 3-Clause": "BSD-3-Clause", "BSD 3-Clause License": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause", "BSD-3-Clause": "BSD-3-Clause", "New BSD License": "BSD-3-Clause",
		`BSD 3-Clause "New" or "Revised" License`: "BSD-3-Clause", "2-clause BSD": "BSD-2-Clause",
		"Apache 2.0": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0", "Apache License v2.0": "Apache-2.0", "apache-2.0": "Apache-2.0", "Apache 2": "Apache-2.0", "Apache License Version 2.0": "Apache-2.0",
		"ISC License (ISCL)": "ISC", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "MPL v2": "MPL-2.0", "Python Software Foundation License": "PSF-2.0",
		"GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later", "GPLv3": "GPL-3.0-only", "GPLv3+": "GPL-3.0-or-later", "LGPL-2.1+": "LGPL-2.1+",
		"GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only", "The Unlicense (Unlicense)": "Unlicense", "zlib/libpng License": "Zlib", "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
		"Ruby": "Ruby", "BSD Zero Clause License": "0BSD",
		// These may mean several.
		"BSD License": "", "BSD": "", "Apache Software License": "", "Apache": "", "GPL": "", "LGPL": "", "Artistic License": "", "Public Domain": "", "Other/Proprietary License": "",
		"Dual License": "", "see LICENSE": "", "License": "", "": "", "GNU General Public License (GPL)": "", "MIT or worse": "",
	} {
		if got := idOf(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	for line := range strings.Lines(names) {
		if id, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") && !spdxIDs()[id] {
			t.Errorf("%q is no SPDX id", id)
		}
	}
	if got := licences([]string{"MIT License", "MIT", "BSD License"}); len(*got) != 2 || (*got)[0].License.ID != "MIT" || (*got)[1].License.Name != "BSD License" {
		t.Errorf("got %+v", *got)
	}
}
