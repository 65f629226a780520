package integration

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Can the directories be deployed in which people really work?

// mark is the byte-order mark of UTF-8.
const mark = "\xef\xbb\xbf"

// utf16 returns ASCII as an editor of Windows writes it in UTF-16.
func utf16(text string) string {
	var b strings.Builder
	b.WriteString("\xff\xfe")
	for _, c := range []byte(text) {
		b.Write([]byte{c, 0})
	}
	return b.String()
}

// seesFiles is a handler that returns the names of all files of its function.
const seesFiles = "import os, six\n\ndef handler(event, context):\n    top = os.environ['LAMBDA_TASK_ROOT']\n    return sorted(os.path.relpath(os.path.join(d, f), top) for d, _, fs in os.walk(top) if '__pycache__' not in d for f in fs)\n"

// TestRealDirectories deploys what directories of people hold, once by the command and once as an archive by
// curl, and looks at what the function has.
func TestRealDirectories(t *testing.T) {
	system(t)
	w := shared(t)
	dir := filepath.Join(t.TempDir(), "real-command")
	all := files{
		"handler.py": seesFiles, "requirements.txt": utf16("six==1.17.0\r\n"), "pipsqueak.yaml": mark + "timeout_ms: 5000\n", "Makefile": "test:\n\tfalse\n",
		".env": "SECRET=1\n", "sub/.env.local": "SECRET=2\n", ".DS_Store": "x", "sub/._a": "x", "sub/a.txt": "a", "a.log": "x", "keep.log": "x", ".pipsqueakignore": mark + "*.log\n!keep.log\n",
		".venv/pyvenv.cfg": "x", ".git/HEAD": "x",
	}
	for name, text := range all {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/usr/bin/python3", filepath.Join(dir, ".venv", "python")); err != nil {
		t.Fatal(err)
	}
	_, said, err := w.command(t, "", "deploy", dir)
	if err != nil || !strings.Contains(said, ".env") {
		t.Errorf("the command ended with %v, and said of .env: %s", err, said)
	}
	packed, err := exec.Command("tar", "-C", dir, "-cz", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if a := w.ask(t, http.MethodPut, "/v1/functions/real-curl", packed); a.status != http.StatusCreated {
		t.Fatalf("deploy: %v", a)
	}
	var finder bytes.Buffer // one directory with everything, and what the desktop puts beside it
	zipped := zip.NewWriter(&finder)
	for _, name := range append(slices.Sorted(maps.Keys(all)), "__MACOSX/real/._handler.py") {
		entry := name
		if !strings.HasPrefix(name, "__MACOSX") {
			entry = "real/" + name
		}
		out, err := zipped.Create(entry)
		if err == nil {
			_, err = io.WriteString(out, all[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "real-finder.zip")
	if err := os.WriteFile(file, finder.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, said, err := w.command(t, "", "deploy", file); err != nil || !strings.Contains(out, "deployed real-finder ") {
		t.Errorf("the archive: %v, %s%s", err, out, said)
	}
	want := []string{".pipsqueakignore", "Makefile", "handler.py", "keep.log", "pipsqueak.yaml", "requirements.txt", "sub/a.txt"}
	for _, name := range []string{"real-command", "real-curl", "real-finder"} {
		if got := result[[]string](t, w, name, `{}`); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
}

// TestByteOrderMarks deploys manifests with marks in the other languages.
func TestByteOrderMarks(t *testing.T) {
	system(t)
	w := shared(t)
	for name, test := range map[string]struct {
		needs []coretest.Need
		files files
	}{
		"mark-node":    {[]coretest.Need{Runtime("node")}, files{"index.js": mark + "exports.handler = async () => 'marked'\n", "package.json": mark + `{"name": "x", "version": "1.0.0"}`}},
		"mark-node-16": {[]coretest.Need{Runtime("node")}, files{"index.js": "exports.handler = async () => 'marked'\n", "package.json": utf16(`{"name": "x", "version": "1.0.0"}`)}},
		"mark-ruby":    {[]coretest.Need{Runtime("ruby")}, files{"handler.rb": mark + "def handler(event:, context:)\n  'marked'\nend\n"}},
		"mark-python":  {nil, files{"handler.py": mark + "def handler(event, context):\n    return 'marked'\n", "pyproject.toml": mark + "[project]\nname = 'x'\nversion = '1'\ndependencies = []\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			coretest.Requires(t, test.needs...)
			w.deploy(t, name, test.files)
			if got := result[string](t, w, name, `{}`); got != "marked" {
				t.Error(got)
			}
		})
	}
}

// TestTwoLanguages deploys a directory with handlers of two languages: the deploy says which it took, and
// pipsqueak.yaml chooses.
func TestTwoLanguages(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"))
	w := shared(t)
	both := files{"handler.py": "def handler(event, context):\n    return 'python'\n", "index.js": "exports.handler = async () => 'node'\n"}
	dir := filepath.Join(t.TempDir(), "two-languages")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	deploy := func(f files) (core.RuntimeID, string) {
		for name, text := range f {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out, said, err := w.command(t, "", "deploy", dir)
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return core.RuntimeID(result[string](t, w, "two-languages", `{}`)), out + said
	}
	first, said := deploy(both)
	if !strings.Contains(said, "runtime: ") || !strings.Contains(said, "handler.py") || !strings.Contains(said, "index.js") {
		t.Errorf("it took %s and said %q", first, said)
	}
	for _, language := range []core.RuntimeID{"python", "node"} {
		if got, said := deploy(both.with("pipsqueak.yaml", "runtime: "+string(language)+"\n")); got != language || strings.Contains(said, "to say so") {
			t.Errorf("asked for %s it took %s and said %q", language, got, said)
		}
	}
}

// TestBroughtPackages: node_modules beside a package.json is left out, and its packages are installed;
// without one it is the function's own code. The deploy says so, of a directory and of an archive.
func TestBroughtPackages(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"))
	w := shared(t)
	all := files{"index.js": "exports.handler = async () => require('isarray')([]);\n", "node_modules/isarray/index.js": "module.exports = () => 'brought';\n"}
	manifest := `{"dependencies":{"isarray":"2.0.5"}}`
	for name, test := range map[string]struct {
		files    files
		packages int
		answer   string
		said     string
	}{
		"brought-left":   {all.with("package.json", manifest), 1, "true", "left out node_modules: a deploy makes it again from package.json"},
		"brought-own":    {all, 0, `"brought"`, "node_modules: packages that a function brings along are code of its own"},
		"brought-wanted": {all.with("package.json", manifest).with(".pipsqueakignore", "!node_modules\n"), 0, `"brought"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			for file, text := range test.files {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			packed := filepath.Join(t.TempDir(), name+"-archive.tar.gz")
			if err := os.WriteFile(packed, test.files.archive(t), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, from := range []string{dir, packed} {
				out, said, err := w.command(t, "", "deploy", from)
				if err != nil || strings.Count(said, "node_modules") != min(len(test.said), 1) && !strings.Contains(said, "'!node_modules'") || !strings.Contains(said, test.said) {
					t.Errorf("%s: %v, %s%s", from, err, out, said)
				}
				if !strings.Contains(out, core.Count(test.packages, "package", "packages")) {
					t.Errorf("%s: %s", from, out)
				}
				if a := w.run(t, strings.TrimSuffix(filepath.Base(from), ".tar.gz"), `1`); string(a.body) != test.answer {
					t.Errorf("%s: %v, want %s", from, a, test.answer)
				}
			}
		})
	}
}
