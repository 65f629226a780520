package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does nothing start with code or a package that is forbidden?

// TestQuarantine forbids a package under a busy function: that answers, nothing else does, and it takes no
// zygote with it that others need.
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

// TestQuarantineByRange forbids packages by the names and versions of advisories, before and after there is
// one.
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
