package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The questions of this file: does a package find at its import, in every kind of start, what a plain
// interpreter in a virtual environment would find?

// started runs events of a function until one has come from a zygote that had imported all that it may, and
// some more, each with an instance of its own. It returns the results.
func started[T any](t *testing.T, w *worker, name string, forked func(T) bool) (all []T) {
	t.Helper()
	w.probed(t, name)
	eventually(t, patience, "all that may comes from a zygote", func() bool {
		all = append(all, result[T](t, w, name, `{}`))
		return len(all) > 4 && forked(all[len(all)-1])
	})
	return all
}

// TestPythonVariables has packages that read a variable when they are imported, and functions that set it, in
// pipsqueak.yaml and in a file, and one that does not.
func TestPythonVariables(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-mode", "1.0", "", files{"py_mode.py": "import os, time\ntime.sleep(0.06)\nmode, pid = os.environ.get('PY_MODE', 'none'), int(os.readlink('/proc/self'))\n"})
	index.addWheel(t, "py-above", "1.0", "Requires-Dist: py-mode\n", files{"py_above/__init__.py": "from py_mode import mode\n", "py_above/deep.py": "import os\ndeep = os.environ.get('PY_DEEP', 'none')\n"})
	index.addWheel(t, "py-plain", "1.0", "", files{"py_plain.py": "import os, time\ntime.sleep(0.06)\npid = int(os.readlink('/proc/self'))\n"})
	w := startWorker(t, t.TempDir())
	const handler = `import py_above, py_above.deep, py_mode, py_plain, os
def handler(event, context):
    return {"mode": py_mode.mode, "above": py_above.mode, "deep": py_above.deep.deep, "moded": py_mode.pid == os.getpid(), "plain": py_plain.pid == os.getpid()}
`
	type found struct {
		Mode, Above, Deep string
		Moded, Plain      bool // whether the instance itself has imported it
	}
	for _, c := range []struct {
		name, before, env string
		want              found
		apart             []string
	}{
		{"plain", "", "", found{"none", "none", "none", false, false}, nil},
		{"env", "", "env: {PY_MODE: fast}\n", found{"fast", "fast", "none", true, false}, []string{"py_above: py-above imports py-mode, which reads PY_MODE when it is imported, which is set for this function",
			"py_mode: py-mode reads PY_MODE when it is imported, which is set for this function"}},
		{"deep", "", "env: {PY_DEEP: below}\n", found{"none", "none", "below", false, false}, []string{"py_above.deep: py-above reads PY_DEEP when it is imported, which is set for this function"}},
		{"file", "import os\nos.environ['PY_MODE'] = 'own'\n", "", found{"own", "own", "none", true, false}, []string{"py_mode: py-mode reads PY_MODE when it is imported, which is set for this function"}},
		{"patches", "import sys\nsys.path.insert(0, '/nowhere')\n", "", found{"none", "none", "none", true, true}, []string{"py_plain: py_plain is imported after the function's own code may have changed what it finds"}},
	} {
		w.deploy(t, c.name, handlerFile(c.before+handler).with("requirements.txt", "py-above\npy-plain\n").with("pipsqueak.yaml", "reuse: false\n"+c.env))
		for i, got := range started(t, w, c.name, func(f found) bool { return f.Moded == c.want.Moded && f.Plain == c.want.Plain }) {
			if got.Mode != c.want.Mode || got.Above != c.want.Above || got.Deep != c.want.Deep {
				t.Errorf("%s: start %d finds %+v, want %+v", c.name, i, got, c.want)
			}
		}
		out, errs, err := w.command(t, "", "describe", c.name)
		for _, reason := range c.apart {
			if err != nil || !strings.Contains(out, reason) {
				t.Errorf("describe %s does not say %q: %s%s", c.name, reason, out, errs)
			}
		}
		if len(c.apart) == 0 && len(w.function(t, c.name).Apart) > 0 {
			t.Errorf("%s has apart %v", c.name, w.function(t, c.name).Apart)
		}
	}
}

// TestPythonLearns has a function that imports a module from a package by a from statement, and modules of
// the language that take long: they come from a zygote, also after the next deploy.
func TestPythonLearns(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-outer", "1.0", "", files{"py_outer/__init__.py": "", "py_outer/inner.py": "import os, time\ntime.sleep(0.06)\npid = int(os.readlink('/proc/self'))\n", "py_outer/other.py": "import os\npid = int(os.readlink('/proc/self'))\n"})
	w := startWorker(t, t.TempDir())
	const handler = `import os, unittest
from py_outer import inner
other = __import__("py_outer.ot" + "her").other
def handler(event, context): return [inner.pid == os.getpid(), other.pid == os.getpid()]
`
	f := handlerFile(handler).with("requirements.txt", "py-outer\n").with("pipsqueak.yaml", "reuse: false\n")
	w.deploy(t, "learns", f)
	started(t, w, "learns", func(own []bool) bool { return !own[0] && !own[1] })
	loaded := w.function(t, "learns").Loaded
	for _, module := range []string{"py_outer.inner", "py_outer.other", "unittest"} {
		if !slices.Contains(loaded, module) {
			t.Errorf("loaded %v, without %s", loaded, module)
		}
	}
	w.deploy(t, "learns", f.with("more.py", "# another version\n"))
	if again := w.function(t, "learns").Loaded; !slices.Equal(again, loaded) {
		t.Errorf("after a deploy %v, before %v", again, loaded)
	}
}

// TestPythonLearnsOnce deploys a function again and again while what its first start has shown is being
// tried: no deploy waits for that, it is tried once, the version that is there then has it, and so has the
// next one from its first start.
func TestPythonLearnsOnce(t *testing.T) {
	system(t)
	const modules = 30
	index, wheel, names := newPythonIndex(t, ""), files{"py_many/__init__.py": "import importlib\n"}, []string{}
	for i := range modules {
		name := fmt.Sprintf("part%02d", i)
		names = append(names, "py_many."+name)
		wheel["py_many/"+name+".py"] = "import os\npid = int(os.readlink('/proc/self'))\n"
	}
	index.addWheel(t, "py-many", "1.0", "", wheel)
	w := startWorker(t, t.TempDir())
	f := handlerFile(fmt.Sprintf(`import importlib, os, py_many
parts = [importlib.import_module(f"py_many.part{i:02}") for i in range(%d)]
def handler(event, context): return sum(part.pid == os.getpid() for part in parts)
`, modules)).with("requirements.txt", "py-many\n").with("pipsqueak.yaml", "reuse: false\n")
	if first := w.ready(t, "many", f); len(first.Loaded) > 0 {
		t.Fatalf("the first version has loaded %v", first.Loaded)
	}
	for _, more := range []string{"2", "3"} {
		w.ready(t, "many", f.with("more", more))
		if strings.Contains(w.logs.String(), "msg=import fn=many") {
			t.Errorf("version %s has waited for what the first one learns", more)
		}
	}
	eventually(t, patience, "the third version has what the first one learned", func() bool { return len(w.function(t, "many").Loaded) == modules })
	fn := w.ready(t, "many", f.with("more", "4"))
	if !slices.Equal(slices.Sorted(slices.Values(fn.Loaded)), names) || fn.Unready != "" {
		t.Errorf("the fourth version has loaded %v, %s", fn.Loaded, fn.Unready)
	}
	if own := result[int](t, w, "many", `{}`); own != 0 {
		t.Errorf("the first start of the fourth version imports %d modules itself", own)
	}
	if times := strings.Count(w.logs.String(), "msg=import fn=many"); times != 1 {
		t.Errorf("it was learned %d times: %s", times, w.logs)
	}
}

// TestPythonNames has a function with a file that is called like a module of the standard library, and a
// package that brings one: each finds what a plain interpreter finds.
func TestPythonNames(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "typing", "3.7", "", files{"typing.py": "raise RuntimeError('the typing of a package')\n"})
	index.addWheel(t, "py-user", "1.0", "", files{"py_user.py": "import calendar, os, time, typing\ntime.sleep(0.06)\nown, pid = getattr(calendar, 'own', False), int(os.readlink('/proc/self'))\n"})
	w := startWorker(t, t.TempDir())
	const handler = `import calendar, os, py_user, sys
sys.path.append(os.path.join(os.path.dirname(__file__), "vendor"))
import brought
def handler(event, context): return [getattr(calendar, "own", False), py_user.own, brought.where, py_user.pid == os.getpid()]
`
	f := handlerFile(handler).with("requirements.txt", "py-user\ntyping\n").with("pipsqueak.yaml", "reuse: false\n").with("vendor/brought.py", "where = 'vendor'\n")
	w.deploy(t, "plain", f)
	w.deploy(t, "shadows", f.with("calendar.py", "own = True\n"))
	for name, want := range map[string][]any{"plain": {false, false, "vendor", false}, "shadows": {true, true, "vendor", true}} {
		for i, got := range started(t, w, name, func(got []any) bool { return got[3] == want[3] }) {
			if !slices.Equal(got[:3], want[:3]) {
				t.Errorf("%s: start %d finds %v, want %v", name, i, got, want)
			}
		}
	}
}
