package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
)

// Do packages that share a directory look as in a virtual environment?

// merging is a function that says what it sees of packages that share directories. It runs without a worker
// too.
const merging = `
import importlib, importlib.metadata, importlib.resources, pkgutil, sys
import py_top

def handler(event, context):
    seen = {}
    for name in ["py_top", "py_top.one", "py_top.one.deep", "py_top.one.inner.more", "py_top.two", "py_top.two.last", "py_top.three", "py_space.a", "py_space.b", "py_hidden", "py_datum", "py_absent", "py_top.absent"]:
        try:
            seen[name] = getattr(importlib.import_module(name), "IS", "")
        except ImportError as error:
            seen[name] = type(error).__name__
    seen["listed"] = sorted(m.name for m in pkgutil.walk_packages(py_top.__path__, "py_top."))
    seen["data"] = [importlib.resources.files(package).joinpath("data.txt").read_text() for package in ("py_top.one", "py_top.two")]
    seen["versions"] = sorted(d.name + " " + d.version for d in importlib.metadata.distributions() if d.name.startswith("py-"))
    seen["entries"] = sorted(e.name + "=" + e.load().__name__ for e in importlib.metadata.entry_points(group="py.top"))
    seen["pth"] = getattr(sys, "py_pth", None)
    return seen
`

// mergingPackages are packages that share directories, with an __init__.py and without, at the top and
// further down.
func mergingPackages(t *testing.T, index *pythonIndex) string {
	for _, p := range []struct {
		name string
		f    files
	}{
		{"py-one", files{"py_top/__init__.py": "IS = 'top'\n", "py_top/one/__init__.py": "IS = 'one'\n", "py_top/one/data.txt": "1", "py_top/one/inner/__init__.py": "",
			"py_space/a.py": "IS = 'a'\n", "py_one-1.0.dist-info/entry_points.txt": "[py.top]\none = py_top.one\n"}},
		{"py-two", files{"py_top/__init__.py": "IS = 'top'\n", "py_top/two/__init__.py": "IS = 'two'\n", "py_top/two/data.txt": "2", "py_space/b.py": "IS = 'b'\n",
			"py_two-1.0.dist-info/entry_points.txt": "[py.top]\ntwo = py_top.two\n"}},
		{"py-three", files{"py_top/three.py": "IS = 'three'\n", "py_top/one/deep.py": "IS = 'deep'\n", "py_top/one/inner/more.py": "IS = 'more'\n", "py_top/two/last.py": "IS = 'last'\n"}},
		{"py-pth", files{"py_pth.pth": "# a comment\npy_pth_sources\nnowhere\nimport sys; sys.py_pth = 'ran'\n", "py_pth_sources/py_hidden.py": "IS = 'hidden'\n"}},
		// Of both data directories one file has the same name, and uv installs these itself.
		{"py-data", files{"py_datum.py": "IS = 'datum'\n", "py_top/__init__.py": "IS = 'top'\n", "py_data-1.0.data/data/share/py/x.txt": "x"}},
		{"py-date", files{"py_date.py": "IS = 'date'\n", "py_top/__init__.py": "IS = 'top'\n", "py_date-1.0.data/data/share/py/x.txt": "x"}},
	} {
		index.addWheel(t, p.name, "1.0", "", p.f)
	}
	return "py-one\npy-two\npy-three\npy-pth\npy-data\npy-date\n"
}

// TestPythonMerged has packages share directories: each start of a function sees what a directory with all of
// them would have.
func TestPythonMerged(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	requirements := mergingPackages(t, index)
	f := handlerFile(merging).with("requirements.txt", requirements).with("pipsqueak.yaml", "reuse: false\n")
	want := plainly(t, f, requirements)
	w := startWorker(t, t.TempDir())
	// A zygote that has imported py_top when only one package was there is where the others come to.
	w.deploy(t, "part", handlerFile("import py_top\n"+echo).with("requirements.txt", "py-one\n").with("pipsqueak.yaml", "reuse: false\n"))
	forkStart(t, w, "part", `{}`)
	w.deploy(t, "whole", f)
	if got := result[any](t, w, "whole", `{}`); !reflect.DeepEqual(got, want) {
		t.Errorf("the first start sees\n%v, want\n%v", got, want)
	}
	forkStart(t, w, "whole", `{}`)
	if got := result[any](t, w, "whole", `{}`); !reflect.DeepEqual(got, want) {
		t.Errorf("a fork sees\n%v, want\n%v", got, want)
	}
}

// plainly runs the handler in a plain interpreter, with what uv installs into one directory.
func plainly(t *testing.T, f files, requirements string) (seen any) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"handler.py": f["handler.py"], "requirements.txt": requirements} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runUV(t, dir, "pip", "install", "--quiet", "--target", "site", "--python", "/usr/bin/python3", "-r", "requirements.txt")
	const program = "import json, site, sys; site.addsitedir(sys.argv[1]); sys.path.insert(0, '.'); import handler; print(json.dumps(handler.handler({}, None)))"
	run := exec.CommandContext(t.Context(), "/usr/bin/python3", "-I", "-S", "-c", program, filepath.Join(dir, "site"))
	run.Dir, run.Stderr = dir, os.Stderr
	out, err := run.Output()
	if err == nil {
		err = json.Unmarshal(out, &seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// runUV runs uv as a user does, and returns what it prints.
func runUV(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	return runThis(t, filepath.Join(programs(t), "libexec/uv"), dir, arguments...)
}

// runThis is runUV with another uv.
func runThis(t *testing.T, uv, dir string, arguments ...string) string {
	t.Helper()
	run := exec.CommandContext(t.Context(), uv, arguments...)
	run.Dir, run.Stderr = dir, os.Stderr
	run.Env = append(os.Environ(), "UV_CACHE_DIR="+filepath.Join(dir, "cache"), "UV_PYTHON_DOWNLOADS=never", "UV_INDEX_URL="+os.Getenv("UV_DEFAULT_INDEX")) // older ones know UV_INDEX_URL alone
	out, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
