package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestWorthCompiling looks at which files of a package are compiled: all but its tests, and those too when
// the package imports from them.
func TestWorthCompiling(t *testing.T) {
	coretest.Requires(t, coretest.File(defaultInterpreter))
	most := []string{"p/__init__.py", "p/test/t.py", "p/tests.py"}
	all := []string{"p/__init__.py", "p/test/t.py", "p/tests.py", "p/tests/__init__.py", "p/tests/data/d.py", "p/tests/test_a.py"}
	for text, want := range map[string][]string{
		"":                                      most,
		"x = 'tests'\n":                         most,
		"from .a import test\n":                 most,
		"import contests\n":                     most,
		"# import p.tests\n":                    most,
		"import p.tests\n":                      all,
		"import os, p.tests.data\n":             all,
		"from .tests import x\n":                all,
		"def f():\n    from . import tests\n":   all,
		"from p import (\n    a,\n    tests)\n": all,
	} {
		dir := t.TempDir()
		files := map[string]string{"p/tests/data.csv": ""}
		for _, name := range all {
			files[name] = ""
		}
		files["p/__init__.py"] = text
		drivertest.Write(t, dir, files)
		const question = "import sys, json; sys.path.insert(0, 'runtime/install'); import bytecode as b; print(json.dumps(b.worth_compiling(sys.argv[1])))"
		out, err := exec.CommandContext(t.Context(), defaultInterpreter, "-I", "-S", "-B", "-c", question, dir).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i], err = filepath.Rel(dir, got[i]); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("with %q in it: %v, want %v", text, got, want)
		}
	}
}
