package integration

import "testing"

// TestPythonOptional has a package that imports others if they are there, without requiring them, and functions with and without those: whichever is
// deployed first, each start of each function finds what it has.
func TestPythonOptional(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-main", "1.0", "", files{"py_main.py": `import importlib.metadata, importlib.util, time
time.sleep(0.06)
try:
    import py_extra
    has = True
except ImportError:
    has = False
has_distribution = True
try:
    importlib.metadata.version("Py_Extra")
except importlib.metadata.PackageNotFoundError:
    has_distribution = False
has_last = importlib.util.find_spec("a_last") is not None
`})
	index.addWheel(t, "py-extra", "1.0", "", files{"py_extra.py": "import os\nmode = os.environ.get('PY_EXTRA')\n"})
	index.addWheel(t, "a-last", "1.0", "", files{"a_last.py": ""})
	const handler = "import py_main\ndef handler(event, context): return [py_main.has, py_main.has_distribution, py_main.has_last]\n"
	functions := map[string][]string{"without": {""}, "with": {"py-extra\n"}, "other": {"a-last\n", "import a_last\n"}, "both": {"py-extra\na-last\n", "import a_last, py_extra\n"}, "sets": {"py-extra\n", "", "env: {PY_EXTRA: x}\n"}}
	want := map[string][3]bool{"without": {}, "with": {true, true, false}, "other": {false, false, true}, "both": {true, true, true}, "sets": {true, true, false}}
	for _, order := range [][]string{{"without", "with", "sets", "both", "other"}, {"both", "without", "other", "with", "sets"}} {
		t.Run(order[0], func(t *testing.T) {
			w := startWorker(t, t.TempDir())
			for _, name := range order {
				f := append(functions[name], "", "")
				w.deploy(t, name, handlerFile(f[1]+handler).with("requirements.txt", "py-main\n"+f[0]).with("pipsqueak.yaml", "reuse: false\n"+f[2]))
				if name == order[0] {
					w.probed(t, name)
					w.run(t, name, `{}`)
					w.run(t, name, `{}`)
				}
			}
			for range 4 {
				for _, name := range order {
					if got := result[[3]bool](t, w, name, `{}`); got != want[name] {
						t.Errorf("%s finds %v, want %v", name, got, want[name])
					}
				}
			}
		})
	}
}
