package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// misbehaving are packages by name, with what is told of them, "" for nothing.
var misbehaving = []struct{ name, source, told string }{
	{"good", "module.exports = Buffer.alloc(8 << 20, 1)", ""},
	{"above", "require('good')", ""},
	{"worker", "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true })", `^starts \d+ threads? .*at import$`},
	{"above-worker", "require('worker')", `^imports worker, which starts \d+ threads? .*at import$`},
	{"reads-later", "require('fs').readFile(__filename, () => {})", `^starts \d+ threads? .*at import$`},
	{"child", "require('child_process').spawn('sleep', ['3600'])", `^leaves 1 process running |ended`},
	{"listens", "require('net').createServer().listen(8080, '127.0.0.1')", `^leaves open .*tcp 127.0.0.1:8080 listening`},
	{"timer", "setInterval(() => {}, 1000)", ""},
	{"raises", "throw new TypeError('no')", "TypeError: no"},
	{"exits", "process.exit(3)", `process.exit\(3\)`},
	{"crashes", "process.abort()", "ended"},
}

var requires = map[string][]string{"above": {"good==1"}, "above-worker": {"worker==1"}}

// TestProbe has packages that do at import what a zygote must not have done, and finds it.
func TestProbe(t *testing.T) {
	eachVersion(t, func(t *testing.T, h *house) {
		var packages []core.Installed
		for _, p := range misbehaving {
			dir := filepath.Join(h.code, "node_modules", p.name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "index.js"), []byte(p.source), 0o644); err != nil {
				t.Fatal(err)
			}
			packages = append(packages, core.Installed{Package: core.Package{Name: p.name, Version: "1", Digest: p.name},
				Locked: core.Locked{Name: p.name, Version: "1", Requires: requires[p.name]}, Receipt: core.Receipt{Modules: []string{p.name}}})
		}
		machine := probe.Machine{Driver: h, Runtime: h.runtime, Create: func(ctx context.Context, config core.SandboxConfig) (probe.Sandbox, error) {
			h.next++
			config.ID = core.NodeID(fmt.Sprintf("n%d", h.next))
			return h.host.Create(ctx, config)
		}}
		found := map[string]core.Probe{}
		if err := probe.Run(t.Context(), machine, packages, func(p core.Package, probe core.Probe) { found[p.Name] = probe }); err != nil {
			t.Fatal(err)
		}
		for _, p := range misbehaving {
			got, ok := found[p.name]
			told := got.Unforkable + got.Errors[p.name]
			if !ok || (told == "") != (p.told == "") || !regexp.MustCompile(p.told).MatchString(told) {
				t.Errorf("%s: %+v, want %q", p.name, got, p.told)
			}
		}
		if p := found["good"]; p.Private < 8<<20 || found["above"].Memory < p.Private || found["above"].Took < p.Own {
			t.Errorf("good %+v\nabove %+v", p, found["above"])
		}
	})
}
