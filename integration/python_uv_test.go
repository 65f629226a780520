package integration

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Does Pipsqueak install what uv installs?

// TestPythonAsUV compares what is installed of a corpus of manifests with what uv installs of them, name by
// name.
func TestPythonAsUV(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	for _, p := range []struct{ name, version, metadata string }{
		{"py-a", "1.0", "Requires-Dist: py-b>=1\nProvides-Extra: x\nRequires-Dist: py-c; extra == 'x'\nRequires-Dist: py-win; sys_platform == 'win32'\n"},
		{"py-b", "1.0", ""}, {"py-b", "1.5", ""}, {"py-b", "2.0rc1", ""},
		{"py-c", "1.0", "Requires-Dist: py-a\nRequires-Dist: py-d\n"},
		{"py-d", "0.9", "Requires-Python: >=3.9\n"}, {"py-d", "1.0", "Requires-Python: >=3.99\n"},
		{"py-e", "1.0", "Requires-Dist: py-f\n"}, {"py-f", "1.0", ""}, {"py-f", "1.1", ""}, {"py-win", "1.0", ""},
	} {
		index.addWheel(t, p.name, p.version, p.metadata, files{})
	}
	merged := mergingPackages(t, index)
	const project = "[project]\nname = \"f\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"py-a\", \"py-d<1\"]\n[project.optional-dependencies]\nz = [\"py-c\"]\n"
	const groups = "[dependency-groups]\ndev = [\"py-e\"]\nlint = [\"py-f<1.1\"]\nrun = [{include-group = \"lint\"}]\n"
	const pylock = "lock-version = \"1.0\"\ncreated-by = \"test\"\nextras = [\"x\"]\ndependency-groups = [\"main\", \"dev\"]\ndefault-groups = [\"main\"]\n"
	locked := func(name, version, marker string) string {
		file := strings.ReplaceAll(name, "-", "_") + "-" + version + "-py3-none-any.whl"
		return "[[packages]]\nname = \"" + name + "\"\nversion = \"" + version + "\"\n" + marker + "\nwheels = [{ name = \"" + file + "\", url = \"" + index.URL + "/files/" + file +
			"\", hashes = { sha256 = \"" + digestOf(index.archives[file]) + "\" } }]\n"
	}
	corpus := map[string]struct {
		f    files
		make string // what uv is to make of it: a lock
		want int
	}{
		"names":           {files{"requirements.txt": "Py_A\npy.d\n"}, "", 3},
		"extras":          {files{"requirements.txt": "py-a[x]==1.0\n"}, "", 4},
		"markers":         {files{"requirements.txt": "py-a ; python_version >= '3'\npy-win ; sys_platform == 'win32'\npy-f; python_version < '3'\n"}, "", 2},
		"before release":  {files{"requirements.txt": "py-b>=2.0rc1\n"}, "", 1},
		"for this python": {files{"requirements.txt": "py-d\n"}, "", 1},
		"merged":          {files{"requirements.txt": merged}, "", 6},
		"project":         {files{"pyproject.toml": project + groups}, "", 3},
		"lock":            {files{"pyproject.toml": project + groups}, "uv.lock", 3},
		"default groups":  {files{"pyproject.toml": project + groups + "[tool.uv]\ndefault-groups = [\"dev\", \"run\"]\n"}, "uv.lock", 3},
		"all groups":      {files{"pyproject.toml": project + groups + "[tool.uv]\ndefault-groups = \"all\"\n"}, "uv.lock", 3},
		"dev dependencies": {files{"pyproject.toml": project + "[tool.uv]\ndev-dependencies = [\"py-e\"]\nconstraint-dependencies = [\"py-b<1.5\"]\n"},
			"uv.lock", 3},
		"override": {files{"pyproject.toml": project + "[tool.uv]\noverride-dependencies = [\"py-b==2.0rc1\"]\n"}, "uv.lock", 3},
		"resolved with": {files{"pyproject.toml": project + "[tool.uv]\nbuild-constraint-dependencies = [\"py-f<9\"]\ndependency-metadata = [{name = \"py-c\", requires-dist = []}]\n" +
			"prerelease-package = {py-f = \"allow\"}\n"}, "uv.lock", 3},
		"pylock": {files{"pyproject.toml": project + groups}, "pylock.toml", 3},
		"pylock's default groups": {files{"pylock.toml": pylock + locked("py-f", "1.1", "marker = \"'main' in dependency_groups\"") + locked("py-b", "1.5", "") +
			locked("py-d", "0.9", "marker = \"'dev' in dependency_groups\"") + locked("py-b", "1.0", "marker = \"'x' in extras\"")}, "", 2},
	}
	w := startWorker(t, t.TempDir())
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		t.Run(name, func(t *testing.T) {
			c, dir := corpus[name], t.TempDir()
			for file, text := range c.f {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			f := handlerFile(echo)
			maps.Copy(f, c.f)
			switch c.make {
			case "uv.lock":
				runUV(t, dir, "lock", "--quiet", "--python", "/usr/bin/python3")
			case "pylock.toml":
				runUV(t, dir, "lock", "--quiet", "--python", "/usr/bin/python3")
				runUV(t, dir, "export", "--quiet", "--format", "pylock.toml", "--no-default-groups", "-o", "pylock.toml")
			}
			if c.make != "" {
				text, err := os.ReadFile(filepath.Join(dir, c.make))
				if err != nil {
					t.Fatal(err)
				}
				f[c.make] = string(text)
			}
			want := ofUV(t, dir, f)
			if len(want) != c.want {
				t.Errorf("uv installs %v, and not %d", want, c.want)
			}
			got := []string{}
			for _, p := range w.deploy(t, "corpus", f).Packages {
				got = append(got, p.String())
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("installed %v, and uv %v", got, want)
			}
		})
	}
}

// TestLocksOfUV has locks deployed that other versions of uv have made: those that PIPSQUEAK_TEST_UV names,
// programs separated by commas, and the one that comes with the driver.
func TestLocksOfUV(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-a", "1.0", "Requires-Dist: py-b>=1\nProvides-Extra: x\nRequires-Dist: py-c; extra == 'x'\n", files{})
	for _, name := range []string{"py-b", "py-c", "py-d"} {
		index.addWheel(t, name, "1.0", "", files{})
	}
	const project = "[project]\nname = \"f\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"py-a[x]\", \"py-d ; sys_platform == 'win32'\"]\n" +
		"[project.optional-dependencies]\ny = [\"py-d\"]\nz = [\"py-d<2\"]\n[tool.uv]\ndev-dependencies = [\"py-d\"]\nconstraint-dependencies = [\"py-b<9\"]\n" +
		"override-dependencies = [\"py-c<9\"]\nenvironments = [\"sys_platform == 'linux'\", \"sys_platform == 'win32'\"]\n"
	w := startWorker(t, t.TempDir())
	for _, uv := range append(strings.FieldsFunc(os.Getenv("PIPSQUEAK_TEST_UV"), func(r rune) bool { return r == ',' }), filepath.Join(programs(t), "libexec/uv")) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "pyproject.toml"), []byte(project), 0o600); err != nil {
			t.Fatal(err)
		}
		runThis(t, uv, dir, "lock", "--quiet", "--python", "/usr/bin/python3")
		lock, err := os.ReadFile(filepath.Join(dir, "uv.lock"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range w.deploy(t, "locked", handlerFile(echo).with("pyproject.toml", project).with("uv.lock", string(lock))).Packages {
			got = append(got, p.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"py-a==1.0", "py-b==1.0", "py-c==1.0"}) {
			t.Errorf("of the lock of %s is installed: %v", uv, got)
		}
	}
}

// ofUV returns what uv installs of a directory, "name==version", sorted: of a project without groups for
// development.
func ofUV(t *testing.T, dir string, f files) []string {
	t.Helper()
	site := filepath.Join(dir, "site")
	switch {
	case f["uv.lock"] != "":
		runUV(t, dir, "sync", "--quiet", "--frozen", "--no-default-groups", "--no-install-project", "--python", "/usr/bin/python3")
		found, err := filepath.Glob(filepath.Join(dir, ".venv/lib/python*/site-packages"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		site = found[0]
	default:
		for _, name := range []string{"pylock.toml", "requirements.txt", "pyproject.toml"} {
			if f[name] != "" {
				runUV(t, dir, "pip", "install", "--quiet", "--target", site, "--python", "/usr/bin/python3", "-r", name)
				break
			}
		}
	}
	found, err := filepath.Glob(filepath.Join(site, "*.dist-info"))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, dir := range found {
		name, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(dir), ".dist-info"), "-")
		all = append(all, strings.ReplaceAll(name, "_", "-")+"=="+version)
	}
	slices.Sort(all)
	return all
}

// TestExtrasInBill has what is there because of an extra in the bill of materials as required by who has the
// extra, whatever the function's lock is.
func TestExtrasInBill(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "py-a", "1.0", "Provides-Extra: x\nRequires-Dist: py-c; extra == 'x'\n", files{})
	index.addWheel(t, "py-c", "1.0", "Requires-Dist: py-d\n", files{})
	index.addWheel(t, "py-d", "1.0", "", files{})
	project := files{"pyproject.toml": "[project]\nname = \"f\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"py-a[x]\"]\n"}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pyproject.toml"), []byte(project["pyproject.toml"]), 0o644); err != nil {
		t.Fatal(err)
	}
	runUV(t, dir, "lock", "--quiet", "--python", "/usr/bin/python3")
	lock, err := os.ReadFile(filepath.Join(dir, "uv.lock"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]files{
		"project":      project,
		"requirements": {"requirements.txt": "py-a[x]\n"},
		"lock":         project.with("uv.lock", string(lock)),
		"hashes":       {"requirements.txt": runUV(t, dir, "export", "--quiet", "--frozen", "--no-emit-project")},
	} {
		w := startWorker(t, t.TempDir())
		w.deploy(t, "without", handlerFile(echo).with("requirements.txt", "py-a\n")) // has it in the store, without what the extra requires
		w.deploy(t, name, f.with("handler.py", echo))
		bill := decode[struct {
			Dependencies []struct {
				Ref       string   `json:"ref"`
				DependsOn []string `json:"dependsOn"`
			} `json:"dependencies"`
		}](t, w.ask(t, http.MethodGet, "/v1/functions/"+name+"/sbom", nil))
		got := map[string]string{}
		for _, d := range bill.Dependencies {
			got[d.Ref] = strings.Join(d.DependsOn, " ")
		}
		want := map[string]string{"function": "runtime py-a==1.0", "runtime": "", "py-a==1.0": "py-c==1.0", "py-c==1.0": "py-d==1.0", "py-d==1.0": ""}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
