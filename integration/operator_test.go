package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What does an operator see of a worker?

// TestOperator reads what an operator has: health, metrics, the tree.
func TestOperator(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "watched", handlerFile(echo))
	w.run(t, "watched", `1`)
	if a := w.ask(t, http.MethodGet, "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("healthz: %v", a)
	}
	metrics := string(w.ask(t, http.MethodGet, "/metrics", nil).body)
	for _, phase := range []string{"handler", "total"} {
		found := false
		for line := range strings.Lines(metrics) {
			found = found || strings.Contains(line, "_bucket{") && strings.Contains(line, `language="python"`) &&
				strings.Contains(line, `phase="`+phase+`"`) && strings.Contains(line, "start=")
		}
		if !found {
			t.Errorf("no histogram of phase %s by language and start in /metrics", phase)
		}
	}
	s := w.snapshot(t)
	known := map[core.NodeID]core.NodeInfo{}
	for _, n := range s.Nodes {
		if _, ok := known[n.Parent]; n.Parent != "" && !ok {
			t.Errorf("node %s comes before its parent %s", n.ID, n.Parent)
		}
		known[n.ID] = n
	}
	mine := w.instances(t, "watched")
	if len(mine) != 1 || known[mine[0].Parent].Role != core.RoleZygote || mine[0].Events != 1 || mine[0].PID == 0 {
		t.Errorf("instances of one invocation: %+v", mine)
	}
	var languages []string
	for _, d := range s.Drivers {
		languages = append(languages, d.Language)
		if d.PID == 0 || len(d.Runtimes) == 0 || d.Error != "" {
			t.Errorf("driver: %+v", d)
		}
	}
	if want := []string{"native", "node", "python", "ruby"}; !slices.Equal(languages, want) {
		t.Errorf("drivers of %v, want %v", languages, want)
	}
}

// TestCommandLine uses the command line as a person does.
func TestCommandLine(t *testing.T) {
	system(t)
	w := shared(t)
	dir := filepath.Join(t.TempDir(), "by-hand")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "handler.py"), []byte("def handler(event, context):\n    print('seen', event)\n    return event\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		stdin string
		args  []string
		want  string // in stdout
	}{
		{"", []string{"deploy", dir, "--name", "by-hand"}, "by-hand"},
		{"", []string{"invoke", "by-hand", "-d", `{"a": 1}`}, `"a"`},
		{`{"b": 2}`, []string{"invoke", "by-hand", "-d", "-"}, `"b"`},
		{"", []string{"list"}, "by-hand"},
		{"", []string{"list", "-o", "json"}, `"by-hand"`},
		{"", []string{"describe", "by-hand"}, "handler.handler"},
		{"", []string{"tree"}, "by-hand"},
		{"", []string{"tree", "--json"}, `"nodes"`},
		{"", []string{"logs", "by-hand"}, "seen"},
		{"", []string{"remove", "by-hand"}, ""},
	}
	for _, s := range steps {
		stdout, stderr, err := w.command(t, s.stdin, s.args...)
		if err != nil || !strings.Contains(stdout, s.want) {
			t.Errorf("pipsqueak %s: %v\nstdout: %s\nstderr: %s", strings.Join(s.args, " "), err, stdout, stderr)
		}
	}
	_, stderr, err := w.command(t, "", "invoke", "by-hand", "-d", "{}")
	if err == nil || !strings.Contains(stderr, "by-hand") {
		t.Errorf("invoking a removed function: %v, stderr %q", err, stderr)
	}
}
