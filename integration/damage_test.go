package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Is a damaged package seen, repaired and kept from functions?

const smallPackage = "six==1.17.0"

// spoil flips a bit of a package's module, and returns where the package is.
func spoil(t testing.TB, w *worker, module string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.data, "packages", strings.Repeat("?", 64), module)) // not in a compiled copy, which has the same file
	if err != nil || len(found) != 1 {
		t.Fatalf("%s is at %v: %v", module, found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(found[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(found[0])
}

// TestDamagedPackage damages a package under functions that are warm. It is found, reported, installed again
// into the same digest, and they go on; a process that loaded the damaged files is not used any more.
func TestDamagedPackage(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	before := w.deploy(t, "one", small.with("pipsqueak.yaml", "reuse: false\n"))
	w.deploy(t, "two", small)
	forkStart(t, w, "one", `{}`)
	old := w.snapshot(t).Nodes
	spoil(t, w, "six.py")

	_, stderr, err := w.command(t, "", "store", "verify")
	if err == nil || !strings.Contains(stderr, "1 of 3 packages and codes were damaged") {
		t.Errorf("the command ended with %v and said %s", err, stderr)
	}
	for _, n := range old {
		if len(n.Set) == 0 {
			continue
		}
		eventually(t, patience, string(n.ID)+" ends", func() bool {
			return !slices.ContainsFunc(w.snapshot(t).Nodes, func(m core.NodeInfo) bool { return m.ID == n.ID })
		})
	}
	for _, name := range []string{"one", "two"} {
		if got := result[string](t, w, name, `{}`); got != "six" {
			t.Errorf("%s answers %q", name, got)
		}
	}
	if again := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/one", nil)); again.Packages[0] != before.Packages[0] {
		t.Errorf("%v was installed again as %v", before.Packages, again.Packages)
	}
	if found := w.verify(t); len(found.Damaged) > 0 || found.Trees != 3 || found.Files == 0 {
		t.Errorf("after it was repaired: %+v", found)
	}
}

// TestPackageGone starts a worker that finds a package of a function gone, whole or emptied: it installs it
// again.
func TestPackageGone(t *testing.T) {
	system(t)
	data := t.TempDir()
	w, err := start(programs(t), data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.stop() })
	fn := w.deploy(t, "one", small)
	for name, spoil := range map[string]func(dir string) error{"gone": os.RemoveAll, "gone with its manifest": func(dir string) error {
		return errors.Join(os.RemoveAll(dir), os.Remove(dir+".list"))
	}} {
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		if err := spoil(filepath.Join(data, "packages", strings.TrimPrefix(fn.Packages[0].Digest, "sha256:"))); err != nil {
			t.Fatal(err)
		}
		if w, err = start(programs(t), data); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, name+": it is installed again", func() bool { return w.run(t, "one", `{}`).status == http.StatusOK })
	}
}

// changing is a build that never makes the same files twice.
const changing = `
import os, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, info = "pychanging-1.0-py3-none-any.whl", "pychanging-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("pychanging.py", f"BUILD = {os.urandom(16).hex()!r}\n")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: pychanging\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", f"pychanging.py,,\n{info}METADATA,,\n{info}WHEEL,,\n{info}RECORD,,\n")
    return name
`

// TestDamagedPackageRebuilt damages a package that has other files each time it is installed. The functions
// that have it get the new one, as a version of their own, and no process goes on with the old one.
func TestDamagedPackageRebuilt(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addSource(t, "pychanging", "1.0", files{"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n", "backend.py": changing,
		"PKG-INFO": "Metadata-Version: 2.1\nName: pychanging\nVersion: 1.0\n"})
	w := startWorker(t, t.TempDir())
	f := handlerFile("import pychanging\n\ndef handler(event, context):\n    return [pychanging.BUILD, context.function_version]\n").
		with("requirements.txt", "pychanging\n").with("pipsqueak.yaml", "allow_scripts: [pychanging]\n")
	before := map[string]core.Function{}
	for _, name := range []string{"one", "two"} {
		before[name] = w.deploy(t, name, f)
	}
	build := result[[]any](t, w, "one", `{}`)[0]
	w.deploy(t, "other", handlerFile(echo))
	spoil(t, w, "pychanging.py")

	found := w.verify(t)
	if len(found.Damaged) != 1 || !found.Damaged[0].Repaired || !slices.Equal(found.Damaged[0].Functions, []string{"one", "two"}) {
		t.Fatalf("found %+v", found)
	}
	again := map[string]any{}
	for _, name := range []string{"one", "two"} {
		fn := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/"+name, nil))
		if fn.Version != before[name].Version+1 || fn.Packages[0].Digest == before[name].Packages[0].Digest || fn.Code != before[name].Code {
			t.Errorf("%s was %+v and is %+v", name, before[name], fn)
		}
		got := result[[]any](t, w, name, `{}`)
		if got[0] == build || fmt.Sprint(got[1]) != "2" {
			t.Errorf("%s answers %v, and before with the build %v", name, got, build)
		}
		again[name] = got[0]
	}
	if again["one"] != again["two"] {
		t.Errorf("the package was installed twice: %v", again)
	}
	if fn := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/other", nil)); fn.Version != 1 {
		t.Errorf("a function without the package is now version %d", fn.Version)
	}
	old := before["one"].Packages[0].Digest
	eventually(t, time.Minute, "no process has the old one, nor has the store", func() bool {
		w.ask(t, http.MethodPost, "/v1/packages/collect", nil)
		_, err := os.Lstat(filepath.Join(w.data, "packages", strings.TrimPrefix(old, "sha256:")))
		return errors.Is(err, fs.ErrNotExist) && !slices.ContainsFunc(w.snapshot(t).Nodes, func(n core.NodeInfo) bool { return strings.Contains(fmt.Sprint(n.Set), old) })
	})
	if found := w.verify(t); len(found.Damaged) > 0 {
		t.Errorf("after it was repaired: %+v", found)
	}
	// What it does when it is imported was seen again.
	eventually(t, time.Minute, "it is probed", func() bool { return w.inventory(t).Packages[0].Probe != nil })
	// What was deployed before the damage is known again: the next function has the same.
	if fn := w.deploy(t, "three", f); fn.Packages[0] != decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/one", nil)).Packages[0] {
		t.Errorf("the next function has %v", fn.Packages)
	}
}

// TestDamagedPackageWithoutNetwork has a damaged package stay in quarantine, over a restart too, until there
// is a network.
func TestDamagedPackageWithoutNetwork(t *testing.T) {
	system(t)
	coretest.Requires(t, coretest.Need{Name: "unshare and mount", Met: func() error {
		return exec.Command("unshare", "--mount", "mount", "--bind", "/dev/null", "/etc/hosts").Run()
	}})
	data := t.TempDir()
	w, err := start(programs(t), data)
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "one", small)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts") // in which the registry is a place where nobody answers
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n127.0.0.1 pypi.org files.pythonhosted.org\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	offline := func() *worker {
		t.Helper()
		const script = `mount --bind "$0" /etc/hosts && exec "$@"`
		command := exec.Command("unshare", "--mount", "sh", "-c", script, hosts, filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data)
		w, err := launch(command, data)
		if err != nil {
			t.Fatal(err)
		}
		stopWith(t, w)
		return w
	}
	w = offline()
	spoil(t, w, "six.py")
	found := w.verify(t)
	if len(found.Damaged) != 1 {
		t.Fatalf("found %+v", found)
	}
	d := found.Damaged[0]
	if d.Package != smallPackage || !slices.Equal(d.Functions, []string{"one"}) || len(d.Files) != 1 || d.Files[0].File != "six.py" || d.Repaired || !strings.Contains(d.Outcome, "stays in quarantine") {
		t.Errorf("found %+v", d)
	}
	for range 2 {
		said := w.run(t, "one", `{}`).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
		if !said.Retryable || !strings.Contains(said.Message, smallPackage) || !strings.Contains(said.Message, "six.py has other contents") {
			t.Errorf("an event for it is answered with %+v", said)
		}
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		w = offline()
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if w, err = start(programs(t), data); err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	// The worker repairs it by itself when it starts.
	eventually(t, time.Minute, "the package is whole again", func() bool { return w.run(t, "one", `{}`).status == http.StatusOK })
}
