package main

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestSiteOfZygote has a zygote import what one package has of a Python package, and others come to it
// afterwards, in several ways.
func TestSiteOfZygote(t *testing.T) {
	dir := t.TempDir()
	drivertest.Write(t, dir, map[string]string{
		"packages/one/top/__init__.py": "", "packages/one/top/in/__init__.py": "",
		"packages/two/top/__init__.py": "", "packages/two/top/b.py": "", "packages/two/top/in/c.py": "",
		"packages/three/top/d.py": "", "packages/three/broken.pth": "import nothing_of_that_name\nimport sys; raise SystemExit\nhidden\n", "packages/three/hidden/e.py": "",
		"function/other/__init__.py": "", "packages/two/other/f.py": "", "packages/three/other/__init__.py": "",
	})
	const program = `
import types
from _pipsqueak import site
dir = sys.argv[1]
site.PACKAGES = dir + "/packages/"
sys.modules["odd"] = 5  # whatever packages put there
class Odd(types.ModuleType):
    def __getattribute__(self, name):
        raise RuntimeError(name)
sys.modules["top.odd"] = Odd("top.odd")
stdlib, out = list(sys.path), sys.stdout
def load(*names):
    packages = [dir + "/packages/" + name for name in names]
    sys.path[:] = [dir + "/function"] + packages + stdlib
    sys.path += site.arrange(packages)
sys.stderr = open("/dev/null", "w")
load("one")
import importlib
importlib.import_module("top.in")
told = {"one": [len(sys.modules["top"].__path__), site.Merged in sys.meta_path]}
load("one", "two", "three")
for name in ("top.b", "top.in.c", "top.d", "e", "other.f", "other", "top.x"):
    try:
        told[name] = importlib.import_module(name).__name__
    except ImportError as error:
        told[name] = "none"
load("one")
told["alone"] = site._shared == set()
print(json.dumps(told))
`
	var got map[string]any
	ask(t, program, nil, &got, dir)
	for name, want := range map[string]any{"top.b": "top.b", "top.in.c": "top.in.c", "top.d": "top.d", "e": "e", "other": "other", "other.f": "none", "top.x": "none", "alone": true} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if one := got["one"].([]any); one[0] != 1.0 || one[1] != false {
		t.Errorf("with one package alone: %v", one)
	}
}
