package main

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// misbehaving are packages by name, with what is told of them, "" for nothing.
var misbehaving = []struct{ name, source, told string }{
	{"good", "HELD = 'x' * (8 << 20)", ""},
	{"above", "require 'good'", ""},
	{"starts", "2.times { Thread.new { sleep } }", "^starts 2 threads( and leaves open .*)? at import$"},
	{"above_starts", "require 'starts'", "^imports starts, which starts 2 threads"},
	{"child", "spawn('sleep', '3600')", "^leaves 1 process running at import$"},
	{"listens", "require 'socket'\nSERVER = TCPServer.new('127.0.0.1', 8080)", "^leaves open .*tcp 127.0.0.1:8080 listening.* at import$"},
	{"handles", "trap('WINCH') {}", ""},
	{"raises", "raise TypeError, 'no'", "TypeError: no"},
	{"exits", "exit!(3)", "ended"},
	{"crashes", "Process.kill(:SEGV, Process.pid)\nsleep", "ended"},
}

var requires = map[string][]string{"above": {"good==1"}, "above_starts": {"starts==1"}}

// TestProbe has packages that do at import what a zygote must not have done, and finds it.
func TestProbe(t *testing.T) {
	files := map[string]string{}
	var packages []core.Installed
	for _, p := range misbehaving {
		files[p.name+".rb"] = p.source
		packages = append(packages, core.Installed{Package: core.Package{Name: p.name, Version: "1", Digest: p.name},
			Locked: core.Locked{Name: p.name, Version: "1", Requires: requires[p.name]}, Receipt: core.Receipt{Modules: []string{p.name}}})
	}
	h := newHouse(t, files)
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
	if good, above := found["good"], found["above"]; good.Private < 8<<20 || above.Private > 4<<20 || above.Memory != above.Private+good.Private {
		t.Errorf("good %+v\nabove %+v", good, above)
	}
	if p := found["handles"]; len(p.Signals) != 1 || p.Signals[0] != "SIGWINCH" {
		t.Errorf("handles %+v", p)
	}
}
