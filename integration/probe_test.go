package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Is a package that no zygote may import left to the instances?

// TestProbedFunction deploys a function with a package that starts a thread when it is imported, one that
// requires it, one that fails, and one that its code imports in a way that nobody reads. Everything that may
// comes from a zygote all the same, and the user is told of the rest.
func TestProbedFunction(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"))
	index := newNPMIndex(t)
	index.add("slow", "1.0.0", nil, files{"index.js": "const end = Date.now() + 60;\nwhile (Date.now() < end);\nexports.where = Number(require('fs').readlinkSync('/proc/self'));\n"})
	index.add("watcher", "1.0.0", nil, files{"index.js": "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true }).unref();\n"})
	index.add("above", "1.0.0", map[string]any{"dependencies": map[string]string{"watcher": "1.0.0"}}, files{"index.js": "require('watcher');\nexports.where = Number(require('fs').readlinkSync('/proc/self'));\n"})
	index.add("hidden", "1.0.0", nil, files{"index.js": "exports.where = Number(require('fs').readlinkSync('/proc/self'));\n"})
	index.add("fragile", "1.0.0", nil, files{"index.js": "throw new Error('not here');\n"})
	w := index.worker(t)
	f := files{
		"package.json":   `{"dependencies": {"slow": "1.0.0", "above": "1.0.0", "hidden": "1.0.0", "fragile": "1.0.0"}}`,
		"pipsqueak.yaml": fresh,
		"handler.js": `
const slow = require('slow'), above = require('above'), hidden = require(['hid', 'den'].join(''));
let fragile = '';
try { require('fragile'); } catch (error) { fragile = error.message; }
exports.handler = async () => ({ slow: slow.where, above: above.where, hidden: hidden.where, fragile });
`}
	w.deploy(t, "probed", f)
	deployed := w.probed(t, "probed")
	above := slices.IndexFunc(deployed.Imports, func(m string) bool { return strings.HasPrefix(m, "above") })
	if len(deployed.Imports) != 2 || above < 0 || len(deployed.Apart) != 1 || !strings.HasPrefix(deployed.Apart[deployed.Imports[above]], "above imports watcher, which starts ") {
		t.Errorf("deployed %v, apart %q", deployed.Imports, deployed.Apart)
	}
	const instance = 2
	type where struct {
		Slow, Above, Hidden int
		Fragile             string
	}
	eventually(t, patience, "all but what is apart comes from a zygote", func() bool {
		got := result[where](t, w, "probed", `{}`)
		if got.Above != instance || got.Fragile != "not here" {
			t.Fatalf("%+v", got)
		}
		return got.Slow != instance && got.Hidden != instance
	})
	if a := w.run(t, "probed", `{}`); a.header.Get("Pipsqueak-Start") != "cold" {
		t.Errorf("a start with an import to do is called %s", a.header.Get("Pipsqueak-Start"))
	}
	for _, command := range []string{"describe probed", "tree"} {
		out, errs, err := w.command(t, "", strings.Fields(command)...)
		if err != nil || !strings.Contains(out, ": above imports watcher, which starts ") {
			t.Errorf("%s: %s%s", command, out, errs)
		}
	}
	probes := map[string]*core.Probe{}
	answer, err := w.do(context.Background(), http.MethodGet, "/v1/functions/probed/packages", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range decode[[]core.Installed](t, answer) {
		if probes[p.Name] = p.Probe; p.Probe == nil {
			t.Fatalf("%s was not probed", p)
		}
	}
	if p := probes["slow"]; p.Own < 60*time.Millisecond || p.Unforkable != "" || probes["watcher"].Threads == 0 || probes["above"].Through != "watcher==1.0.0" ||
		len(probes["fragile"].Errors) == 0 {
		t.Errorf("%+v", probes)
	}
	// What was found out stays.
	data := w.data
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data)
	if got := w.function(t, "probed"); !slices.Equal(got.Loaded, []string{"hidden@1.0.0"}) || len(got.Apart) != 1 {
		t.Errorf("after a restart loaded %q, apart %q", got.Loaded, got.Apart)
	}
	// But what failed with another version is found out again: "slow" in its probe, and so it was left to the
	// code.
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	slow := deployed.Imports[1-above]
	failed := map[string]any{"version": probes["slow"].Version, "by": "an older one", "errors": map[string]string{slow: "broke the older one"}}
	changed := 0
	changeJSON(t, filepath.Join(data, "index"), func(entry map[string]any) bool {
		if entry["name"] == "slow" {
			entry["probe"] = failed
			changed++
		}
		return entry["name"] == "slow"
	})
	changeJSON(t, filepath.Join(data, "functions"), func(fn map[string]any) bool {
		fn["imports"] = []string{deployed.Imports[above]}
		fn["apart"].(map[string]any)[slow] = "broke the older one"
		return true
	})
	if changed != 1 {
		t.Fatalf("%d entries of the index are of slow", changed)
	}
	w = startWorker(t, data)
	w.probed(t, "probed")
	eventually(t, patience, "slow comes from a zygote again", func() bool {
		got := w.function(t, "probed")
		return len(got.Apart) == 1 && slices.Contains(got.Imports, slow) && result[where](t, w, "probed", `{}`).Slow != instance
	})
}

// TestProbeSaysHowItEnded deploys functions with a package that ends the process which imports it. The user
// is told how that ended.
func TestProbeSaysHowItEnded(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"))
	python, node := newPythonIndex(t, ""), newNPMIndex(t)
	python.addWheel(t, "crash", "1.0", "", files{"crash/__init__.py": "import os, signal\nif os.getpid() != 2:\n    os.kill(os.getpid(), signal.SIGSEGV)\n"})
	node.add("crash", "1.0.0", nil, files{"index.js": "if (process.pid !== 2) process.abort();\n"})
	w := node.worker(t)
	for name, test := range map[string]struct {
		f   files
		how string
	}{
		"python-crash": {files{"handler.py": "import crash\n" + echo, "requirements.txt": "crash"}, "its process ended with signal 11 (segmentation fault)"},
		"node-crash":   {files{"index.js": "require('crash');\n" + nodeEcho, "package.json": `{"dependencies": {"crash": "1.0.0"}}`}, "its process ended with signal 6 (aborted)"},
	} {
		w.deploy(t, name, test.f)
		if why := fmt.Sprint(w.probed(t, name).Apart); !strings.Contains(why, test.how) {
			t.Errorf("%s: apart %s, want %s", name, why, test.how)
		}
	}
}

// changeJSON changes the files of JSON below a directory for which change returns true.
func changeJSON(t testing.TB, dir string, change func(map[string]any) bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" {
			return err
		}
		text, err := os.ReadFile(path)
		content := map[string]any{}
		if err == nil {
			err = json.Unmarshal(text, &content)
		}
		if err == nil && change(content) {
			if text, err = json.Marshal(content); err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// probed waits until the packages of a function have been probed, and returns it as it is then.
func (w *worker) probed(t testing.TB, name string) (fn core.Function) {
	t.Helper()
	eventually(t, time.Minute, "the packages of "+name+" have been probed", func() bool {
		fn = w.function(t, name)
		for _, why := range fn.Apart {
			if strings.HasSuffix(why, "is being probed") {
				return false
			}
		}
		return true
	})
	return fn
}
