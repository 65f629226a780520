package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestScanVariations scans the variations in testdata/scan: a file for each kind, whose first line has the
// rule that finds all of them.
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

// TestScanFollows scans code in which each thing stands for two others, and these for two others: whoever
// follows all of them is never done.
func TestScanFollows(t *testing.T) {
	const steps = 40
	var modules []string
	for _, c := range []struct{ first, step, last string }{
		{"", "def f%d():\n    if x: return f%d()\n    return f%[2]d()\n", "y = f0()\n"},
		{"", "def f%d():\n    a = f%d()\n    b = f%[2]d()\n    return a + b\n", "exec(f0())\n"},
		{"", "def f%d(a):\n    f%d(a); f%[2]d(a)\n", "import os\nf0(os.environ)\n"},
		{"", "def f%d(g):\n    return f%d(f%[2]d(g))\n", "@f0\ndef g(): pass\nexec(g())\n"},
		{"", "t%d = [t%d[0], t%[2]d[1]]\n", "y = t0[x]\nexec(y)\n"},
		{"", "x%d = x%d.a or x%[2]d.b\n", "exec(x0)\n"},
		{"y = f", "()", "\nexec(y)\n"},
		{"x0 = 'aaaa'\n", "x%[2]d = x%[1]d + x%[1]d\n", "exec(x39)\n"},
		{"x0 = 'aaaa'\n", "x%[2]d = f'{x%[1]d}{x%[1]d}'\n", "exec(x39)\n"},
	} {
		text := c.first
		for i := range steps {
			if strings.Contains(c.step, "%") {
				text += fmt.Sprintf(c.step, i, i+1)
			} else {
				text += c.step
			}
		}
		modules = append(modules, "import os\nos.system('id')\n"+text+c.last)
	}
	var got int
	ask(t, "import scan, signal\nsignal.alarm(60)\ntold = 0\nfor text in sys.argv[1:]:\n    package = scan.Package(None)\n"+
		"    package.file('p/m.py', len(text), lambda limit: text.encode())\n    package.finish()\n    told += any(s['line'] == 2 for s in package.found)\nprint(told)\n", nil, &got, modules...)
	if got != len(modules) {
		t.Errorf("%d of %d are read", got, len(modules))
	}
}
