package integration

import (
	"encoding/json"
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
)

// Are packages kept, shared, verified, repaired, forbidden and collected?

// What the worker does with the packages that it keeps.

// small is a function with one small package.
var small = files{
	"handler.py":       "import six\n\ndef handler(event, context):\n    return six.__name__\n",
	"requirements.txt": "six==1.17.0\n",
}

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

func (w *worker) verify(t testing.TB) core.Verified {
	t.Helper()
	return decode[core.Verified](t, w.ask(t, http.MethodPost, "/v1/packages/verify", nil))
}

func (w *worker) inventory(t testing.TB) core.Inventory {
	t.Helper()
	return decode[core.Inventory](t, w.ask(t, http.MethodGet, "/v1/packages", nil))
}

// TestDamagedPackage damages a package under functions that are warm. It is found, told of, installed anew into the same digest, and they
// go on; a process that loaded the damaged files is not used any more.
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
		t.Errorf("%v was installed anew as %v", before.Packages, again.Packages)
	}
	if found := w.verify(t); len(found.Damaged) > 0 || found.Trees != 3 || found.Files == 0 {
		t.Errorf("after it was mended: %+v", found)
	}
}

// TestPackageGone starts a worker that finds a package of a function gone, whole or emptied: it installs it anew.
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
		return errors.Join(os.RemoveAll(dir), os.Remove(dir+".manifest"))
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
		eventually(t, patience, name+": it is installed anew", func() bool { return w.run(t, "one", `{}`).status == http.StatusOK })
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

// TestDamagedPackageRebuilt damages a package that has other files each time it is installed. The functions that have it get the new one, as a
// version of their own, and no process goes on with the old one.
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
	if len(found.Damaged) != 1 || !found.Damaged[0].Mended || !slices.Equal(found.Damaged[0].Functions, []string{"one", "two"}) {
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
		t.Errorf("after it was mended: %+v", found)
	}
	// What it does when it is imported was seen anew.
	eventually(t, time.Minute, "it is probed", func() bool { return w.inventory(t).Packages[0].Probe != nil })
	// What was deployed before the damage is known again: the next function has the same.
	if fn := w.deploy(t, "three", f); fn.Packages[0] != decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/one", nil)).Packages[0] {
		t.Errorf("the next function has %v", fn.Packages)
	}
}

// TestDamagedPackageWithoutNetwork has a damaged package stay in quarantine, over a restart too, until there is a network.
func TestDamagedPackageWithoutNetwork(t *testing.T) {
	system(t)
	requires(t, need{"unshare and mount", func() error {
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
		const script = `mount --bind "$1" /etc/hosts && exec "$2" serve --listen 127.0.0.1:0 --data "$3"`
		w, err := launch(exec.Command("unshare", "--mount", "sh", "-c", script, "sh", hosts, filepath.Join(programs(t), "pipsqueak"), data), data)
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
	if d.Package != smallPackage || !slices.Equal(d.Functions, []string{"one"}) || len(d.Files) != 1 || d.Files[0].File != "six.py" || d.Mended || !strings.Contains(d.Outcome, "stays in quarantine") {
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
	// The worker mends it by itself when it starts.
	eventually(t, time.Minute, "the package is whole again", func() bool { return w.run(t, "one", `{}`).status == http.StatusOK })
}

// TestQuarantine forbids a package under a busy function: that answers, nothing else does, and it takes no zygote with it that others need.
func TestQuarantine(t *testing.T) {
	system(t)
	data := t.TempDir()
	w, err := start(programs(t), data)
	if err != nil {
		t.Fatal(err)
	}
	w.deploy(t, "busy", small.with("handler.py", "import six, time\n\ndef handler(event, context):\n    print('"+begun+"', flush=True)\n    time.sleep(event['s'])\n    return six.__name__\n"))
	w.deploy(t, "idle", small.with("pipsqueak.yaml", "reuse: false\n"))
	w.deploy(t, "other", handlerFile(echo))
	forkStart(t, w, "idle", `{}`)
	running := inFlight(t, w, "busy", `{"s": 2}`)
	if out, stderr, err := w.command(t, "", "store", "quarantine", smallPackage, "--reason", "CVE-2026-1"); err != nil || !strings.Contains(out, smallPackage) {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	refused := func() {
		t.Helper()
		for _, name := range []string{"busy", "idle"} {
			said := w.run(t, name, `{"s": 0}`).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
			if said.Retryable || !strings.Contains(said.Message, smallPackage) || !strings.Contains(said.Message, "CVE-2026-1") {
				t.Errorf("%s is answered with %+v", name, said)
			}
		}
	}
	refused()
	if said := w.put(t, "new", small).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity); !strings.Contains(said.Message, "CVE-2026-1") {
		t.Errorf("a deploy is answered with %+v", said)
	}
	if got := <-running; got.status != http.StatusOK {
		t.Errorf("the event that was running: %v", got)
	}
	if got := result[int](t, w, "other", `1`); got != 1 {
		t.Errorf("another function answers %d", got)
	}
	eventually(t, patience, "no process has it", func() bool {
		return !slices.ContainsFunc(w.snapshot(t).Nodes, func(n core.NodeInfo) bool { return len(n.Set) > 0 })
	})
	w.kill()
	if w, err = start(programs(t), data); err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	refused()
	if _, stderr, err := w.command(t, "", "store", "release", smallPackage); err != nil {
		t.Fatal(stderr, err)
	}
	if got := result[string](t, w, "idle", `{}`); got != "six" {
		t.Errorf("after the release: %q", got)
	}
}

// TestQuarantineByRange forbids packages by the names and versions of advisories, before and after there is one.
func TestQuarantineByRange(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	store := func(args ...string) string {
		t.Helper()
		out, stderr, err := w.command(t, "", append([]string{"store"}, args...)...)
		if err != nil {
			t.Fatal(err, stderr)
		}
		return out + stderr
	}
	if said := store("quarantine", "Six>=1.16,<2", "--reason", "CVE-2026-1"); !strings.Contains(said, "no such package yet") {
		t.Errorf("said %q", said)
	}
	for _, f := range []files{small, small.with("requirements.txt", "python-dateutil==2.9.0.post0\n")} { // which requires six
		if said := w.put(t, "one", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity); !strings.Contains(said.Message, "CVE-2026-1") || !strings.Contains(said.Message, "store release 'Six>=1.16,<2'") {
			t.Errorf("a deploy is answered with %+v", said)
		}
	}
	if len(w.inventory(t).Packages) > 0 {
		t.Error("something was installed")
	}
	if said := store("quarantine"); !strings.Contains(said, "Six>=1.16,<2") || !strings.Contains(said, "CVE-2026-1") {
		t.Errorf("the list is %q", said)
	}
	store("release", "Six>=1.16,<2")
	w.deploy(t, "one", small)
	w.deploy(t, "node", files{"index.js": "exports.handler = async () => require('debug')('x').namespace;\n", "package.json": `{"dependencies": {"debug": "2.6.9"}}`})
	for name, rule := range map[string]string{"one": "pkg:pypi/Six", "node": "debug@2.x"} {
		w.ask(t, http.MethodPost, "/run/"+name, []byte("{}"))
		if said := store("quarantine", rule); strings.Contains(said, "no such package") {
			t.Errorf("%s: %q", rule, said)
		}
		w.run(t, name, `{}`).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
		store("release", rule)
		w.ask(t, http.MethodPost, "/run/"+name, []byte("{}"))
	}
}

// TestSharedPackage has a hundred functions with one package, which is on the disk once.
func TestSharedPackage(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir(), "--package-age", "0s")
	w.deploy(t, "f0", small)
	first := diskUsage(t, w.data)
	for i := 1; i < 100; i++ {
		w.deploy(t, fmt.Sprint("f", i), small)
	}
	// Each function has a file of its own that says what it is, and the code is the same.
	if each := (diskUsage(t, w.data) - first) / 99; each > 12<<10 {
		t.Errorf("the first function takes %d KiB, each further one %d KiB", first>>10, each>>10)
	}
	inventory := w.inventory(t)
	if len(inventory.Packages) != 1 || len(inventory.Packages[0].Functions) != 100 {
		t.Fatalf("the store has %d packages: %+v", len(inventory.Packages), inventory)
	}
	of := decode[[]core.Installed](t, w.ask(t, http.MethodGet, "/v1/functions/f7/packages", nil))
	if len(of) != 1 || of[0].String() != smallPackage || of[0].Size == 0 {
		t.Errorf("f7 has %+v", of)
	}
	for i := range 100 {
		w.ask(t, http.MethodDelete, fmt.Sprint("/v1/functions/f", i), nil)
	}
	eventually(t, patience, "the package that nobody uses is collected", func() bool { return len(w.inventory(t).Packages) == 0 })
}

// diskUsage returns what the files below a directory take of the disk, in bytes, without logs.
func diskUsage(t testing.TB, dir string) (used int64) {
	t.Helper()
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil {
				t.Fatal(err)
			}
			if entry.IsDir() {
				if entry.Name() != "logs" {
					walk(filepath.Join(dir, entry.Name()))
				}
				continue
			}
			used += (info.Size() + 4095) &^ 4095
		}
	}
	walk(dir)
	return used
}

// TestDeploysTogether deploys functions with the same package at once: it is fetched once.
func TestDeploysTogether(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	const many = 6
	answers := make(chan answer, many)
	for i := range many {
		go func() {
			a, err := w.do(t.Context(), http.MethodPut, fmt.Sprint("/v1/functions/f", i), strings.NewReader(string(small.archive(t))))
			if err != nil {
				a = answer{body: []byte(err.Error())}
			}
			answers <- a
		}()
	}
	digests := map[string]bool{}
	for range many {
		a := <-answers
		var fn core.Function
		if err := json.Unmarshal(a.body, &fn); err != nil || a.status != http.StatusCreated {
			t.Fatalf("%v: %v", a, err)
		}
		digests[fn.Packages[0].Digest] = true
	}
	if trees, err := filepath.Glob(filepath.Join(w.data, "packages", strings.Repeat("?", 64)+".manifest")); err != nil || len(trees) != 1 || len(digests) != 1 {
		t.Errorf("one package is stored as %v, and functions have %v: %v", trees, digests, err)
	}
}
