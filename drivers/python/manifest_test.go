package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// refusal is what a program of ask prints: what Refused says, or what came instead.
type refusal struct{ Kind, Fault, Message string }

// refuse is a program for ask: it prints how an expression is refused.
func refuse(expression string) string {
	return "from answer import Refused\ntry:\n    " + expression + "\n    print('{}')\nexcept Refused as refused:\n    print(json.dumps(refused.reply))\n"
}

// TestBadManifests has manifests read that are not as they should be: each is reported as the fault of who
// wrote it.
func TestBadManifests(t *testing.T) {
	const dynamic = "dependencies that are dynamic"
	const pylock = "lock-version = '1.0'\ncreated-by = 'test'\n"
	tools := filepath.Join(drivertest.Libexec(t), "attestations")
	for _, c := range []struct{ name, text, say string }{
		{"pyproject.toml", "tool = 5", "tool is not a table"},
		{"pyproject.toml", "[tool]\nuv = 5", "uv is not a table"},
		{"pyproject.toml", "project = []", "project is not a table"},
		{"pyproject.toml", "[project]\ndynamic = 5", dynamic},
		{"pyproject.toml", "[project]\ndynamic = ['dependencies']", dynamic},
		{"pyproject.toml", "[project]\ndependencies = 'x'", "not a list of strings"},
		{"pyproject.toml", "[project]\ndependencies = ['-e .']", "a function cannot choose"},
		{"pyproject.toml", "a = " + strings.Repeat("[", 5000), "pyproject.toml is not TOML"},
		{"pyproject.toml", "project = " + strings.Repeat("{a=", 200) + "{}" + strings.Repeat("}", 200) + "\ntool.uv.sources.a.path='.'", "tool.uv.sources"},
		{"pyproject.toml", "[tool.uv.pip]\nindex-url = 'https://example.org'", "tool.uv.pip.index-url: a function cannot choose"},
		{"pyproject.toml", "[project]\ndependencies = [\"six\\r-r more.txt\"]", "has a character that ends a line"},
		{"requirements.txt", "six\f--index-url=x", "has a character that ends a line"},
		{"uv.lock", "", "no pyproject.toml beside it"},
		{"pylock.toml", "packages = 5", "is not a lock as PEP 751 has it"},
		{"pylock.toml", pylock + "packages = 5", "is not a lock as PEP 751 has it"},
		{"pylock.toml", strings.Replace(pylock, "1.0", "2.0", 1) + "packages = []", "is not a lock as PEP 751 has it"},
		{"pylock.toml", pylock + "requires-python = '<3'\npackages = []", "is not for cpython 3"},
		{"pylock.toml", pylock + "environments = [\"sys_platform == 'win32'\"]\npackages = []", "is not for cpython 3"},
		{"pylock.toml", pylock + "[[packages]]\nname = 'p'\nversion = '1'\nmarker = '('\n", "is not a lock as PEP 751 has it"},
		{"pylock.toml", pylock + "[[packages]]\nname = 'p'\ndirectory = {path = './p'}\n", "put the code into the function's directory"},
		{"pylock.toml", pylock + "[[packages]]\nname = 'p'\nvcs = {type = 'git', url = 'https://example.org', commit-id = 'a'}\n", "put the code into the function's directory"},
		{"requirements.txt", "-e .", "a function cannot choose"},
		{"requirements.txt", ".", "put the code into the function's directory"},
		{"requirements.txt", "./own", "put the code into the function's directory"},
		{"requirements.txt", "own @ file:///function/own", "put the code into the function's directory"},
		{"requirements.txt", "own.tgz", "put the code into the function's directory"},
		{"requirements.txt", "-rmore.txt", "other files are not read"},
		{"requirements.txt", "\xff", "requirements.txt cannot be read"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var got refusal
		ask(t, "import manifest as m\nm.TOOLS = sys.argv[3]\n"+refuse("m.parse(sys.argv[2], m.READERS[sys.argv[2]](sys.argv[1]))"), nil, &got, dir, c.name, tools)
		if got.Kind != "install" || got.Fault != "caller" && got.Fault != "handler" || !strings.Contains(got.Message, c.say) {
			t.Errorf("%s, %.60q: %+v", c.name, c.text, got)
		}
	}
}

// TestRequiresPython: a project for another Python is refused as that, and not for a lock that is not up to
// date.
func TestRequiresPython(t *testing.T) {
	tools := filepath.Join(drivertest.Libexec(t), "attestations")
	for requires, want := range map[string]string{"'>=4'": "requires-python = '>=4', and the function runs in Python 3.", "'<3,>=2.7'": "requires-python = '<3,>=2.7'",
		"'>=3.9'": "no package installer", "'nonsense'": "no package installer", "5": "no package installer"} { // which would be asked next
		dir := t.TempDir()
		drivertest.Write(t, dir, map[string]string{"pyproject.toml": "[project]\nname = 'f'\nversion = '1'\nrequires-python = " + requires + "\n",
			"uv.lock": "version = 1\nrevision = 3\nrequires-python = '>=3.9'\n"})
		var got refusal
		ask(t, "import manifest as m\nm.TOOLS = sys.argv[2]\nm.PROJECT = sys.argv[1] + '/project'\n"+refuse("m.of_uv_lock(sys.argv[1])"), nil, &got, dir, tools)
		if got.Kind != "install" && got.Kind != "unsupported" || !strings.Contains(got.Message, want) {
			t.Errorf("%s: %+v, want %q", requires, got, want)
		}
	}
}

// TestOtherTables reads a pyproject.toml in which uv's tables say nothing of where packages come from.
func TestOtherTables(t *testing.T) {
	dir := t.TempDir()
	drivertest.Write(t, dir, map[string]string{"pyproject.toml": "[project]\ndependencies = ['p']\n[tool.uv]\nindex-strategy = 'first-index'\n[tool.uv.pip]\nexclude-newer = '7 days'\n"})
	var got string
	ask(t, "import manifest as m; print(json.dumps(m.of_project(sys.argv[1])))", nil, &got, dir)
	if got != "p" {
		t.Errorf("it asks for %q", got)
	}
}

// TestLockFields has locks read in which one field more is than this driver knows, wherever it is, and locks
// with every field that uv writes.
func TestLockFields(t *testing.T) {
	const uvLock = `version = 1
revision = 5
requires-python = ">=3.9"
resolution-markers = ["python_version > '3'"]
conflicts = [[{ package = "f", extra = "y" }, { package = "f", group = "z" }]]
[options]
exclude-newer = "2030-01-01T00:00:00Z"
exclude-newer-span = "P1D"
minimum-libc-version = { glibc = "2.17" }
exclude-newer-package = { p = { timestamp = "2030-01-01T00:00:00Z", span = "P1D" }, q = false }
prerelease-package = { p = "allow" }
[manifest]
members = ["f"]
constraints = [{ name = "p", specifier = "<2" }]
dependency-groups = { dev = [{ name = "p", extras = ["x"], marker = "os_name == 'nt'" }] }
[[manifest.dependency-metadata]]
name = "p"
requires-dist = ["q"]
[[package]]
name = "p"
version = "1"
default-groups = ["dev"]
group-requires-python = { dev = ">=3.10" }
source = { registry = "https://example.org/simple" }
dependencies = [{ name = "q", version = "1", source = { registry = "https://example.org/simple" }, extra = ["x"], marker = "os_name == 'nt'" }]
sdist = { url = "https://example.org/p.tar.gz", hash = "sha256:00", size = 1, upload-time = "2026-01-01T00:00:00Z" }
wheels = [{ url = "https://example.org/p.whl", hash = "sha256:00", zstd = { hash = "sha256:00", size = 1 } }]
[package.optional-dependencies]
x = [{ name = "q" }]
[package.dev-dependencies]
dev = [{ name = "q" }]
[package.metadata]
requires-dist = [{ name = "q", specifier = ">=1", editable = "q" }]
provides-extras = ["x"]
[package.metadata.requires-dev]
dev = [{ name = "q" }]
`
	const pylock = `lock-version = "1.1"
created-by = "test"
environments = ["os_name == 'posix'"]
dependency-groups = ["dev"]
tool = { any = { thing = 1 } }
[[packages]]
name = "p"
version = "1"
dependencies = [{ name = "q", version = "1" }]
attestation-identities = [{ kind = "GitHub", repository = "a/b" }]
tool = { any = [{ thing = 1 }] }
sdist = { url = "https://example.org/p-1.tar.gz", size = 1, hashes = { sha256 = "00", blake2b = "00" } }
wheels = [{ name = "p-1-py3-none-any.whl", url = "https://example.org/p-1-py3-none-any.whl", upload-time = 2026-01-01T00:00:00Z, hashes = { sha256 = "00" } }]
`
	read := func(name, text string) (got refusal) {
		t.Helper()
		ask(t, "import fields, manifest as m\nm.TOOLS = sys.argv[3]\n"+refuse("fields.check(sys.argv[1], m.toml().loads(sys.argv[2]))"), nil, &got,
			name, text, filepath.Join(drivertest.Libexec(t), "attestations"))
		return got
	}
	for name, text := range map[string]string{"uv.lock": uvLock, "pylock.toml": pylock} {
		if got := read(name, text); got != (refusal{}) {
			t.Errorf("%s with what is known: %+v", name, got)
		}
	}
	for _, c := range []struct{ name, field, before, more string }{
		{"uv.lock", "trust", "version = 1", "trust = 'none'\n"},
		{"uv.lock", "options.verify", "exclude-newer =", "verify = false\n"},
		{"uv.lock", "options.exclude-newer-package.p.unless", "timestamp", "unless = 1, "},
		{"uv.lock", "manifest.replacements", "members", "replacements = []\n"},
		{"uv.lock", "conflicts.variant", "package = \"f\", extra", "variant = 'x', "},
		{"uv.lock", "package.signatures", "version = \"1\"\ndefault-groups", "signatures = []\n"},
		{"uv.lock", "package.source.mirror", "registry = \"https://example.org/simple\" }\n", "mirror = 'x', "},
		{"uv.lock", "package.dependencies.unless", "extra = [\"x\"], marker", "unless = 'x', "},
		{"uv.lock", "package.dependencies.source.mirror", "registry = \"https://example.org/simple\" }, ", "mirror = 'x', "},
		{"uv.lock", "package.sdist.signature", "size = 1, upload-time", "signature = 'x', "},
		{"uv.lock", "package.wheels.variant", "zstd", "variant = 'x', "},
		{"uv.lock", "package.wheels.zstd.signature", "size = 1 } }]", "signature = 'x', "},
		{"uv.lock", "package.wheels.hash.sha512", "\"sha256:00\", zstd", "{ sha512 = '00' } }] #"},
		{"uv.lock", "package.optional-dependencies.x.unless", "name = \"q\" }]\n[package.dev", "unless = 'x', "},
		{"uv.lock", "package.metadata.requires-dev.dev.unless", "name = \"q\" }]\n", "unless = 'x', "},
		{"pylock.toml", "trust", "created-by", "trust = 'none'\n"},
		{"pylock.toml", "packages.variants", "attestation", "variants = []\n"},
		{"pylock.toml", "packages.sdist.signature", "size = 1", "signature = 'x', "},
		{"pylock.toml", "packages.wheels.signature", "name = \"p-1-py3", "signature = 'x', "},
		{"pylock.toml", "packages.wheels.hashes.sha256.value", "\"00\" } }]", "{ value = '00' } } }] #"},
	} {
		text := map[string]string{"uv.lock": uvLock, "pylock.toml": pylock}[c.name]
		at := strings.LastIndex(text, c.before)
		if at < 0 {
			t.Fatal(c.before)
		}
		got := read(c.name, text[:at]+c.more+text[at:])
		if got.Kind != "install" || got.Fault != "caller" || !strings.Contains(got.Message, c.name+" has the field '"+c.field+"'") {
			t.Errorf("%s with %s: %+v", c.name, c.field, got)
		}
	}
	dir := t.TempDir()
	drivertest.Write(t, dir, map[string]string{"uv.lock": "trust = 'none'\n" + uvLock, "pylock.toml": "trust = 'none'\n" + pylock, "pyproject.toml": ""})
	for _, name := range []string{"uv.lock", "pylock.toml"} {
		var got refusal
		ask(t, "import manifest as m\nm.TOOLS = sys.argv[3]\n"+refuse("m.READERS[sys.argv[2]](sys.argv[1])"), nil, &got, dir, name, filepath.Join(drivertest.Libexec(t), "attestations"))
		if !strings.Contains(got.Message, "'trust'") {
			t.Errorf("the reader of %s: %+v", name, got)
		}
	}
}

// TestBadSources reads what packages say that their build needs, from archives that are not as they should
// be.
func TestBadSources(t *testing.T) {
	sdist := func(manifest string) []byte {
		var packed bytes.Buffer
		zipped := gzip.NewWriter(&packed)
		archive := tar.NewWriter(zipped)
		if err := archive.WriteHeader(&tar.Header{Name: "p-1/pyproject.toml", Mode: 0o644, Size: int64(len(manifest))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(manifest)); err != nil {
			t.Fatal(err)
		}
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
		if err := zipped.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.Bytes()
	}
	damaged := sdist(strings.Repeat("# text that does not repeat itself: 0123456789\n", 5000))
	copy(damaged[20:], bytes.Repeat([]byte{0xff}, 20))
	for _, c := range []struct {
		name    string
		content []byte
		say     string
	}{
		{"text.tar.gz", sdist("[build-system]\nrequires = 'setuptools'\n"), "not a list of strings"},
		{"number.tar.gz", sdist("[build-system]\nrequires = [5]\n"), "not a list of strings"},
		{"table.tar.gz", sdist("build-system = 5\n"), "cannot be read"},
		{"deep.tar.gz", sdist("a = " + strings.Repeat("[", 5000)), "cannot be read"},
		{"damaged.tar.gz", damaged, "its archive cannot be read"},
		{"none.zip", []byte("PK"), "its archive cannot be read"},
	} {
		file := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(file, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		var got refusal
		ask(t, "import source as s\n"+refuse("s.build_requirements('building p', sys.argv[1])"), nil, &got, file)
		if got.Kind != "install" || got.Fault != "handler" || !strings.Contains(got.Message, c.say) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestBadWheels reads packages whose own lists of files are not as they should be.
func TestBadWheels(t *testing.T) {
	for name, content := range map[string]string{"no text": "\xff", "a huge field": strings.Repeat("x", 200_000) + ",,\n"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "p-1.dist-info"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "p-1.dist-info/RECORD"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var got refusal
		ask(t, "import metadata as m\n"+refuse("m.record(sys.argv[1], 'p-1.dist-info')"), nil, &got, dir)
		if got.Kind != "install" || got.Fault != "handler" || !strings.Contains(got.Message, "RECORD") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	var got []string
	ask(t, "import metadata as m; print(json.dumps(m.modules('/nonexistent', ['a/' * 5000 + 'b.py', 'c.py'])))", nil, &got)
	if len(got) != 1 || got[0] != "c" {
		t.Errorf("of a file that is too deep: %v", got)
	}
}

// TestRequirementsOfWheel reads what a wheel that was built says it requires.
func TestRequirementsOfWheel(t *testing.T) {
	dir := t.TempDir()
	wheel, none := filepath.Join(dir, "p-1.whl"), filepath.Join(dir, "none.whl")
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	file, err := archive.Create("p-1.dist-info/METADATA")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("Name: p\nRequires-Dist: b; python_version < \"3\" and extra == 'x'\nRequires-Dist: a\n\nRequires-Dist: no\n")); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{wheel: packed.Bytes(), none: []byte("a text")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const build = "import source as s\ns.fetch, s.build = lambda p: (p, '', 0), lambda p, archive: sys.argv[1]\n"
	var told string
	ask(t, build+"import manifest as m, uv as uv\nuv.configure, uv.run = lambda text: print(json.dumps(text)), lambda *_: ''\n"+
		"m.compile_once('p', {'p': {'1': s.requirements_of({'name': 'p', 'version': '1'})}})", nil, &told, wheel)
	var table struct {
		Metadata []map[string]any `json:"dependency-metadata"`
	}
	ask(t, "import tomllib; print(json.dumps(tomllib.loads(sys.argv[1])))", nil, &table, told)
	if m := table.Metadata; len(m) != 2 || m[0]["version"] != "1" || m[1]["version"] != nil || len(m[0]["requires-dist"].([]any)) != 2 || m[0]["requires-dist"].([]any)[1] != `b; python_version < "3" and extra == 'x'` {
		t.Errorf("uv is told\n%s", told)
	}
	var got refusal
	ask(t, build+refuse("s.requirements_of({'name': 'p', 'version': '1'})"), nil, &got, none)
	if got.Fault != "handler" || !strings.Contains(got.Message, "no wheel") {
		t.Errorf("%+v", got)
	}
}

// TestRequiredBy reads who requires what from the comments of uv and pip-compile.
func TestRequiredBy(t *testing.T) {
	for text, want := range map[string]string{
		"h2==4 \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\n    # via httpx\nhttpx==1\n    # via f\n": `{"h2": ["httpx"], "httpx": ["f"]}`,
		"idna==3\n    # via\n    #   anyio\n    #   Http_X\n# a comment\n":                                `{"idna": ["anyio", "http-x"]}`,
		"h2==4  # via httpx, -r requirements.in, f (pyproject.toml), a[b,c]\nx[y]==1 # not via z\n":       `{"h2": ["httpx"], "x": []}`,
		"# via a\nb==1 ; python_version > '3' --hash=sha256:0  # via a\n":                                 `{"b": ["a"]}`,
	} {
		var got string
		ask(t, "import manifest as m; print(json.dumps(json.dumps({n: sorted(by) for n, by in sorted(m.required_by(sys.argv[1]).items())})))", nil, &got, text)
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
