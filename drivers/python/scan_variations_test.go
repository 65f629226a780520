package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestScanVariations scans the variations in testdata/scan: a file for each kind, whose first line has the rule that finds all of them.
func TestScanVariations(t *testing.T) {
	names, err := filepath.Glob("testdata/scan/*.txt")
	if err != nil || len(names) < 4 {
		t.Fatalf("%v: %v", names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, rest, _ := strings.Cut(string(text), "\n")
		rule, cases := strings.TrimPrefix(first, "# "), strings.Split(rest, "\n---\n")
		if len(cases) < 30 {
			t.Errorf("%s has %d cases only", name, len(cases))
		}
		for i, found := range scanFiles(t, alone(cases)...) {
			if !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, rule+" p/m.py:") }) {
				t.Errorf("%s: %v is found in\n%s", name, found, cases[i])
			}
		}
	}
}
