package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Do Python's packages come from their locks, unchanged and without running code?

// installed returns what a worker's store knows of a package.
func (w *worker) installed(t testing.TB, name string) core.Installed {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.data, "index", "*", name+"-*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the store has %d entries of %s: %v", len(found), name, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var entry core.Installed
	if err := json.Unmarshal(text, &entry); err != nil {
		t.Fatal(err)
	}
	return entry
}

// TestPythonLocks deploys what users have as manifests and locks.
func TestPythonLocks(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	needs := index.addWheel(t, "py-needs", "1.0", "Requires-Dist: py-needed\nLicense-Expression: MIT\n", files{"py_needs/__init__.py": "import py_needed\n", "py_needs_cli.py": "", "tests/__init__.py": ""})
	needed := index.addWheel(t, "py-needed", "2.0", "Classifier: License :: OSI Approved :: BSD License\n", files{"py_needed/inner/deep.py": "", "py_needed/_private.py": ""})
	w := startWorker(t, t.TempDir())
	hashed := fmt.Sprintf("py-needs==1.0 \\\n  --hash=sha256:%s\npy-needed==2 --hash=sha256:%s\n", needs, needed)
	pylock := func(digest string) string {
		return fmt.Sprintf("lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"py-needed\"\nversion = \"2.0\"\n"+
			"wheels = [{ name = \"py_needed-2.0-py3-none-any.whl\", url = \"https://example.org/x.whl\", hashes = { sha256 = %q } }]\n", digest)
	}
	project := "[project]\nname = \"f\"\nversion = \"1\"\ndependencies = [\"Py.Needs>=1 ; python_version > '3'\"]\n"
	for name, c := range map[string]struct {
		manifest, text string
		packages       int
		says           string
	}{
		"requirements": {"requirements.txt", "Py_Needs~=1.0 # what\n", 2, ""},
		"hashes":       {"requirements.txt", hashed, 2, ""},
		"a marker":     {"requirements.txt", hashed + "colorama==1 ; sys_platform == 'win32' --hash=sha256:" + needs + "\n", 2, ""},
		"project":      {"pyproject.toml", project, 2, ""},
		"tools only":   {"pyproject.toml", "[tool.ruff]\n", 0, ""},
		"pylock":       {"pylock.toml", pylock(needed), 1, ""},
		"empty":        {"requirements.txt", "", 0, ""},

		"mixed":      {"requirements.txt", strings.SplitAfter(hashed, "\n")[0] + strings.SplitAfter(hashed, "\n")[1] + "py-needed==2.0\n", 0, "all must"},
		"incomplete": {"requirements.txt", "py-needs==1.0 --hash=sha256:" + needs + "\n", 0, "which py-needs requires"},
		"weak":       {"requirements.txt", "py-needed==2.0 --hash=md5:d41d8cd98f00b204e9800998ecf8427e\n", 0, "sha256 or sha512"},
		"mismatch":   {"requirements.txt", "py-needed==2.0 --hash=sha256:" + strings.Repeat("0", 64) + "\n", 0, "requirements.txt"},
		"pylock old": {"pylock.toml", pylock(strings.Repeat("0", 64)), 0, "pylock.toml"},
		"pylock bad": {"pylock.toml", "packages = 3\n", 0, "pylock.toml"},
		"no toml":    {"pyproject.toml", "[", 0, "pyproject.toml is not TOML"},
		"dynamic":    {"pyproject.toml", "[project]\nname='x'\ndynamic=['dependencies']\n", 0, "dynamic"},
		"sources":    {"pyproject.toml", project + "[tool.uv.sources]\npy-needs = { path = \"..\" }\n", 0, "tool.uv.sources"},
		"uv alone":   {"uv.lock", "version = 1\n", 0, "no pyproject.toml"},
		"index":      {"requirements.txt", "py-needed\n-f http://127.0.0.1:1/\n", 0, "line 2"},
		"other file": {"requirements.txt", "-r more.txt\n", 0, "other files"},
		"link":       {"requirements.txt", "py-needed @ " + index.URL + "/files/py_needed-2.0-py3-none-any.whl\n", 0, "line 1"},
		"variable":   {"requirements.txt", "py-needed==${UV_DEFAULT_INDEX}\n", 0, "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := handlerFile(echo).with(c.manifest, c.text)
			if c.says != "" {
				if said := w.put(t, "locks", f).expectError(t, core.KindInstall, "", http.StatusUnprocessableEntity); !strings.Contains(said.Message, c.says) {
					t.Errorf("the message does not have %q: %s", c.says, said.Message)
				}
				return
			}
			for range 2 { // the second is of the lock that was remembered
				if fn := w.deploy(t, "locks", f); len(fn.Packages) != c.packages {
					t.Errorf("%d packages, want %d: %v", len(fn.Packages), c.packages, fn.Packages)
				}
			}
		})
	}
	p := w.installed(t, "py-needs")
	if p.Receipt.Archive != "sha256:"+needs || p.Receipt.Bytes == 0 || !slices.Equal(p.Receipt.Modules, []string{"py_needs", "py_needs_cli"}) ||
		!slices.Equal(p.Receipt.Licenses, []string{"MIT"}) || !slices.Equal(p.Locked.Requires, []string{"py-needed==2.0"}) || p.Locked.URL != "pkg:pypi/py-needs@1.0" || p.Locked.Scripts {
		t.Errorf("the store knows %+v", p)
	}
	if p := w.installed(t, "py-needed"); !slices.Equal(p.Receipt.Modules, []string{"py_needed.inner.deep"}) || !slices.Equal(p.Receipt.Licenses, []string{"BSD License"}) {
		t.Errorf("the store knows %+v", p.Receipt)
	}
	before := index.requests()
	w.deploy(t, "again", handlerFile(echo).with("requirements.txt", "Py_Needs~=1.0 # what\n"))
	if asked := index.requests() - before; asked != 0 {
		t.Errorf("the second deploy asked the index %d times", asked)
	}
}

// TestPythonTampered has the index serve something else than it says.
func TestPythonTampered(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-good", "1.0", "", files{"py_good.py": "x = 2\n"})
	index.served["py_good-1.0-py3-none-any.whl"] = index.archives["py_good-1.0-py3-none-any.whl"]
	index.addWheel(t, "py-good", "1.0", "", files{"py_good.py": "x = 1\n"})
	w := startWorker(t, t.TempDir())
	said := w.put(t, "tampered", handlerFile(echo).with("requirements.txt", "py-good\n")).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(said.Message, "Hash mismatch") || !strings.Contains(said.Message, "py-good") {
		t.Errorf("the message is %s", said.Message)
	}
	if left, _ := filepath.Glob(filepath.Join(w.data, "index", "*", "*.json")); len(left) > 0 {
		t.Errorf("the store has %v", left)
	}
	delete(index.served, "py_good-1.0-py3-none-any.whl")
	w.deploy(t, "tampered", handlerFile("import py_good\ndef handler(event, context):\n    return py_good.x\n").with("requirements.txt", "py-good\n"))
	if a := w.run(t, "tampered", "1"); string(a.body) != "1" {
		t.Errorf("answer %v", a)
	}
}

// backend builds a wheel, and looks for the password of the index meanwhile.
const backend = `
import base64, glob, hashlib, os, zipfile

def search():
    found = [name for name, value in os.environ.items() if "sekret" in value]
    for file in glob.glob("/proc/[0-9]*/environ") + glob.glob("/tmp/**", recursive=True):
        try:
            if os.path.isfile(file) and b"sekret" in open(file, "rb").read() and not file.endswith((".py", ".tar.gz")):
                found.append(file)
        except OSError:
            pass
    return found

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "pybuilt-1.0-py3-none-any.whl"
    info = "pybuilt-1.0.dist-info/"
    files = {"pybuilt.py": f"FOUND = {search()!r}\n", info + "METADATA": "Metadata-Version: 2.1\nName: pybuilt\nVersion: 1.0\nRequires-Dist: py-needed\n",
             info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    files[info + "RECORD"] = "".join(f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b'=').decode()},{len(t)}\n" for n, t in files.items()) + info + "RECORD,,\n"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for n, t in files.items():
            wheel.writestr(n, t)
    return name
`

// TestPythonSources builds a package that has no wheel, which it may do only when it is allowed, and finds no
// secrets meanwhile.
func TestPythonSources(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "sekret")
	index.addWheel(t, "py-needed", "2.0", "", files{"py_needed.py": ""})
	index.addSource(t, "pybuilt", "1.0", files{"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n", "backend.py": backend,
		"PKG-INFO": "Metadata-Version: 2.1\nName: pybuilt\nVersion: 1.0\n"})
	w := startWorker(t, t.TempDir())
	f := handlerFile("import pybuilt, py_needed\ndef handler(event, context):\n    return pybuilt.FOUND\n").with("requirements.txt", "pybuilt\n")
	if said := w.put(t, "built", f).expectError(t, core.KindInstall, "", http.StatusUnprocessableEntity); !strings.Contains(said.Message, "allow_scripts: [pybuilt]") || strings.Contains(said.Message, "sekret") {
		t.Errorf("the message is %s", said.Message)
	}
	w.deploy(t, "built", f.with("pipsqueak.yaml", "allow_scripts: [pybuilt]\n"))
	if a := w.run(t, "built", "1"); string(a.body) != "[]" {
		t.Errorf("the build found %v", a)
	}
	if p := w.installed(t, "pybuilt"); !p.Locked.Scripts || p.Receipt.Archive != "sha256:"+digestOf(index.archives["pybuilt-1.0.tar.gz"]) {
		t.Errorf("the store knows %+v", p)
	}
}

// compiling is a build backend that other packages' builds need: it compiles the C of a package and makes a
// wheel of it.
const compiling = `
import os, subprocess, sysconfig, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    tag = "cp%s" % sysconfig.get_config_var("py_version_nodot")
    name, info = f"pyextended-1.0-{tag}-{tag}-linux_{os.uname().machine}.whl", "pyextended-1.0.dist-info/"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "pyextended.so", "pyextended.c"], check=True)
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.write("pyextended.so")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: pyextended\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}-{tag}-linux_{os.uname().machine}\n")
        wheel.writestr(info + "RECORD", f"pyextended.so,,\n{info}METADATA,,\n{info}WHEEL,,\n{info}RECORD,,\n")
    return name
`

// extension is a module in C, which declares what it needs of Python.h.
const extension = `
struct definition { long references; void *type, *init; long index; void *copy; const char *name, *doc; long size; void *methods, *slots, *traverse, *clear, *free; };
void *PyModule_Create2(struct definition *, int);
int PyModule_AddIntConstant(void *, const char *, long);
static struct definition d = {.references = 1, .name = "pyextended", .size = -1};
void *PyInit_pyextended(void) { void *m = PyModule_Create2(&d, 1013); PyModule_AddIntConstant(m, "ANSWER", 42); return m; }
`

// TestPythonSourceNeeds builds a C extension with a backend that the build requires of the index.
func TestPythonSourceNeeds(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-compiling", "1.0", "", files{"py_compiling.py": compiling})
	index.addSource(t, "pyextended", "1.0", files{"pyextended.c": extension, "PKG-INFO": "Metadata-Version: 2.1\nName: pyextended\nVersion: 1.0\n",
		"pyproject.toml": "[build-system]\nrequires = [\"py-compiling>=1,<2 ; python_version > '3'\"]\nbuild-backend = \"py_compiling\"\n"})
	w := startWorker(t, t.TempDir())
	w.deploy(t, "extended", handlerFile("import pyextended\ndef handler(event, context):\n    return pyextended.ANSWER\n").
		with("requirements.txt", "pyextended\n").with("pipsqueak.yaml", "allow_scripts: [pyextended]\n"))
	if got := result[int](t, w, "extended", "1"); got != 42 {
		t.Errorf("the extension has %d", got)
	}
	// A package that a build cannot have is reported with the package that wanted it.
	index.addSource(t, "pylacks", "1.0", files{"PKG-INFO": "Metadata-Version: 2.1\nName: pylacks\nVersion: 1.0\n",
		"pyproject.toml": "[build-system]\nrequires = [\"py-nowhere\"]\nbuild-backend = \"py_nowhere\"\n"})
	f := handlerFile(echo).with("requirements.txt", "pylacks\n").with("pipsqueak.yaml", "allow_scripts: [pylacks]\n")
	if said := w.put(t, "lacks", f).expectError(t, core.KindInstall, core.FaultHandler, http.StatusUnprocessableEntity); !strings.Contains(said.Message, "building pylacks==1.0: what its build needs") || !strings.Contains(said.Message, "py-nowhere") {
		t.Errorf("the message is %s", said.Message)
	}
}

// TestPythonAttestations has attestations checked that hold, and refuses those that do not.
func TestPythonAttestations(t *testing.T) {
	system(t)
	const wheel = "circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl"
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata", "attestations", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	index := newPythonIndex(t, "")
	index.archives[wheel], index.provenance[wheel] = read(wheel), read(wheel+".provenance")
	index.addWheel(t, "py-other", "1.0", "", files{"py_other.py": ""})
	index.addWheel(t, "py-plain", "1.0", "", files{"py_plain.py": ""})
	index.provenance["py_other-1.0-py3-none-any.whl"] = index.provenance[wheel]
	w := startWorker(t, t.TempDir())
	w.deploy(t, "attested", handlerFile(echo).with("requirements.txt", "circleci-sign-publish-example==0.0.1.dev137\npy-plain\n"))
	if s := w.installed(t, "circleci-sign-publish-example").Receipt.Signatures; len(s) != 1 || !s[0].Verified || s[0].Scheme != "PEP 740" || !strings.Contains(s[0].Signer, "CircleCI") {
		t.Errorf("signatures %+v", s)
	}
	if s := w.installed(t, "py-plain").Receipt.Signatures; len(s) != 1 || s[0].Verified || s[0].Detail == "" {
		t.Errorf("signatures %+v", s)
	}
	said := w.put(t, "wrong", handlerFile(echo).with("requirements.txt", "py-other\n")).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(said.Message, "attestation") || !strings.Contains(said.Message, "py-other") {
		t.Errorf("the message is %s", said.Message)
	}
}

// compiled waits until all packages of a language have compiled copies, and returns these by the packages'
// names.
func (w *worker) compiled(t testing.TB, language string) (digests map[string]string) {
	t.Helper()
	eventually(t, time.Minute, "the packages are compiled", func() bool {
		digests = map[string]string{}
		for _, p := range w.inventory(t).Packages {
			if !strings.HasPrefix(string(p.Runtime), language) {
				continue
			}
			if p.Compiled == "" {
				return false
			}
			digests[p.Name] = p.Compiled
		}
		return true
	})
	return digests
}

// TestPythonSameFiles installs a lock twice, the second time on one processor, and wants the same bytes.
func TestPythonSameFiles(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	all := files{"py_many/__init__.py": ""}
	for n := range 60 {
		all[fmt.Sprintf("py_many/m%d.py", n)] = fmt.Sprintf("import os, sys\nNAMES = {'self', 'name%d', 'os', 'b'}\ndef f(self, name%d, key='name%d'):\n    return self in {'x%d', 'name', 'key', 'z'} or %d\n", n, n, n-1, n, n%7)
	}
	index.addWheel(t, "py-many", "1.0", "", all)
	f := handlerFile(echo).with("requirements.txt", "py-many\n")
	several, err := start(programs(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, several)
	data := t.TempDir()
	alone, err := launch(exec.Command("taskset", "-c", "0", filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, alone)
	a, b := several.deploy(t, "many", f), alone.deploy(t, "many", f)
	if a.Packages[0].Digest != b.Packages[0].Digest || a.Code != b.Code {
		t.Errorf("%s, %s and %s, %s", a.Packages[0].Digest, a.Code, b.Packages[0].Digest, b.Code)
	}
	if one, other := several.compiled(t, "python")["py-many"], alone.compiled(t, "python")["py-many"]; one != other {
		t.Errorf("compiled they are %s and %s", one, other)
	}
	if compiled, _ := filepath.Glob(filepath.Join(data, "packages", "*.*", "py_many", "__pycache__", "*.pyc")); len(compiled) != 61 {
		t.Errorf("%d files are compiled, want 61", len(compiled))
	}
}

// Whatever code a function or a package has, resolving runs none of it unless it is allowed by name. Each of
// these would ask the index for a page if it ran: nothing else can be reached.
func TestPythonResolveRunsNothing(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	tell := fmt.Sprintf("import urllib.request\nurllib.request.build_opener(urllib.request.ProxyHandler({'http': 'http://%s'})).open('%s/simple/somebody-ran')\n", core.RelayAddress, index.URL)
	const build = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"
	project := func(more string) string { return "[project]\nname = \"f\"\nrequires-python = \">=3.9\"\n" + more }
	const locked = "version = 1\nrevision = 3\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"f\"\nversion = \"1\"\nsource = { editable = \".\" }\n"
	index.addSource(t, "pyasks", "1.0", files{"pyproject.toml": build, "backend.py": tell, "setup.py": tell, "PKG-INFO": "Metadata-Version: 1.0\nName: pyasks\nVersion: 1.0\n"})
	index.addWheel(t, "py-asks-for", "1.0", "Requires-Dist: pyasks\n", files{"py_asks_for.py": ""})
	w := startWorker(t, t.TempDir())
	function := handlerFile(echo).with("backend.py", tell).with("setup.py", tell).with("sitecustomize.py", tell).with("tomllib.py", tell).with("x.pth", "import backend\n")
	virtual := "#!/bin/sh\n/usr/bin/python3 /function/backend.py\nexec /usr/bin/python3 \"$@\"\n"
	for name, f := range map[string]files{
		"build for its version":        function.with("pyproject.toml", build+project("dynamic = [\"version\"]\n")).with("uv.lock", locked),
		"build for its dependencies":   function.with("pyproject.toml", build+project("version = \"1\"\ndynamic = [\"dependencies\"]\n")),
		"build for both":               function.with("pyproject.toml", build).with("uv.lock", locked),
		"member of a workspace":        function.with("pyproject.toml", project("version = \"1\"\n[tool.uv.workspace]\nmembers = [\"m\"]\n")).with("uv.lock", locked).with("m/backend.py", tell).with("m/pyproject.toml", build+strings.Replace(project("dynamic = [\"version\"]\n"), `"f"`, `"m"`, 1)),
		"interpreter":                  function.with("pyproject.toml", project("version = \"1\"\n")).with("uv.lock", strings.Replace(locked, "editable", "virtual", 1)).with(".venv/pyvenv.cfg", "home = /usr/bin\nversion_info = 3.11.2\n").with(".venv/bin/python*", virtual).with(".venv/bin/python3*", virtual),
		"interpreter by name":          function.with("pyproject.toml", project("version = \"1\"\n")).with("uv.lock", strings.Replace(locked, "editable", "virtual", 1)).with(".python-version", "/function/python\n").with("python*", virtual),
		"itself":                       function.with("requirements.txt", "-e .\n"),
		"a path":                       function.with("requirements.txt", ".\n"),
		"source of a package":          function.with("requirements.txt", "pyasks\n"),
		"source that is required":      function.with("requirements.txt", "py-asks-for\n"),
		"source of a project":          function.with("pyproject.toml", build+project("version = \"1\"\ndependencies = [\"pyasks\"]\n")),
		"source that another may run":  function.with("requirements.txt", "pyasks\n").with("pipsqueak.yaml", "allow_scripts: [py-asks-for]\n"),
		"configuration of uv for that": function.with("pyproject.toml", build+project("dynamic = [\"version\"]\n")+"[tool.uv]\nno-build = false\nno-build-isolation = true\n").with("uv.lock", locked).with("uv.toml", "no-build = false\noffline = false\n"),
	} {
		said := w.put(t, "runs-nothing", f)
		if index.heard("/simple/somebody-ran") {
			t.Fatalf("%s: code of it ran: %s", name, said.body)
		}
		if strings.Contains(string(said.body), string(core.KindInternal)) || strings.Contains(string(said.body), "without an answer") {
			t.Errorf("%s: %s", name, said.body)
		}
	}
	w.put(t, "runs", function.with("requirements.txt", "pyasks\n").with("pipsqueak.yaml", "allow_scripts: [pyasks]\n"))
	if !index.heard("/simple/somebody-ran") {
		t.Error("what would run does not tell, so nothing was seen here")
	}
}

// What a build does to the processes around it is its own fault, and told as that.
func TestPythonBuildsThatKill(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	w := startWorker(t, t.TempDir())
	for name, c := range map[string]struct{ code, says string }{
		"pyleaves":     {"os._exit(0)", "building pyleaves==1.0"},
		"pykillsall":   {"os.kill(-1, 9)", "uv was ended by signal 9"},
		"pyinterrupts": {"[os.kill(1, s) for s in (2, 10, 11, 15)]; sys.exit('a reason')", "exit status: 1"},
	} {
		index.addSource(t, name, "1.0", files{"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
			"PKG-INFO": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n", "backend.py": "import os, sys\ndef build_wheel(*a, **k):\n    " + c.code + "\n"})
		f := handlerFile(echo).with("requirements.txt", name+"\n").with("pipsqueak.yaml", "allow_scripts: ["+name+"]\n")
		if said := w.put(t, "kills", f).expectError(t, core.KindInstall, core.FaultHandler, http.StatusUnprocessableEntity); !strings.Contains(said.Message, c.says) {
			t.Errorf("%s: %s", name, said.Message)
		}
	}
}

// Two packages that must be built to know what they require, of which each makes the other change: the
// resolution ends.
func TestPythonSourcesDisagree(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	source := func(name, version, requires string) {
		wheel := fmt.Sprintf("%s-%s-py3-none-any.whl", name, version)
		info := fmt.Sprintf("%s-%s.dist-info/", name, version)
		index.addSource(t, name, version, files{"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
			"PKG-INFO": fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version),
			"backend.py": fmt.Sprintf(`
import os, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(os.path.join(directory, %q), "w") as wheel:
        wheel.writestr(%[2]q + "METADATA", "Metadata-Version: 2.1\nName: %[3]s\nVersion: %[4]s\n" + %[5]q)
        wheel.writestr(%[2]q + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(%[3]q + ".py", "version = %[4]s\n")
        wheel.writestr(%[2]q + "RECORD", "%[3]s.py,,\n" + %[2]q + "METADATA,,\n" + %[2]q + "WHEEL,,\n" + %[2]q + "RECORD,,\n")
    return %[1]q
`, wheel, info, name, version, requires)})
	}
	source("pyfirst", "1.0", "")
	source("pyfirst", "2.0", "Requires-Dist: pysecond==1.0; python_version > \"3\" and platform_system == 'Linux'\n")
	source("pysecond", "1.0", "Requires-Dist: pyfirst<2\n")
	w := startWorker(t, t.TempDir())
	fn := w.deploy(t, "disagree", handlerFile(echo).with("requirements.txt", "pyfirst\n").with("pipsqueak.yaml", "allow_scripts: [pyfirst, pysecond]\n"))
	if len(fn.Packages) != 1 || fn.Packages[0].String() != "pyfirst==1.0" {
		t.Errorf("%v", fn.Packages)
	}
}
