package main

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestAsks has packages look for others in every way, there or not, and finds for which.
func TestAsks(t *testing.T) {
	packages := []drivertest.Probed{
		{Name: "there", Source: "x = 1\n"},
		{Name: "cached", Source: "import there\n"}, // there has been imported
		{Name: "caught", Source: "try: import missing.part\nexcept ImportError: pass\ntry: from gone import x\nexcept ImportError: pass\n"},
		{Name: "dynamic", Source: "import importlib.util\nimportlib.import_module('there')\nimportlib.util.find_spec('nowhere')\n"},
		{Name: "dist", Source: "import importlib.metadata as m\ntry: m.version('Some_Dist')\nexcept m.PackageNotFoundError: pass\n"},
		{Name: "everything", Source: "import importlib.metadata as m\nlist(m.entry_points())\n"},
		{Name: "standard", Source: "import json, xml.dom\nfrom collections import abc\n"},
		{Name: "space", Source: "from ns import part\n"},
		{Name: "odd", Source: "import sys\nclass Odd:\n    def __getattr__(self, name): raise OSError(name)\nsys.modules['odd_one'] = Odd()\nimport odd_one\n"},
	}
	files := map[string]string{"ns/part.py": ""}
	for _, p := range packages {
		files[p.Name+".py"] = p.Source
	}
	found := newHouse(t, files).Probe(t, packages)
	for name, want := range map[string][]string{"there": {"there"}, "cached": {"cached", "there"}, "caught": {"caught", "gone", "missing"}, "dynamic": {"dynamic", "nowhere", "there"},
		"dist": {"dist", "some-dist"}, "everything": {"*"}, "standard": {"standard"}, "space": {"ns.part", "space"}, "odd": {"odd", "odd_one"}} {
		if got := found[name].Asks; !slices.Equal(got, want) {
			t.Errorf("%s asks for %v, want %v", name, got, want)
		}
	}
}
