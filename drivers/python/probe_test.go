package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// probed is a package of one module and what its probe has to find.
type probed struct {
	name, source string
	requires     []string
	want         core.Probe // Errors: a part of each text
}

var misbehaving = []probed{
	{name: "good", source: "held = b'x' * (8 << 20)\n"},
	{name: "above", source: "import good\n", requires: []string{"good==1"}},
	{name: "starts", source: "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n",
		want: core.Probe{Threads: 3, Unforkable: "starts 3 threads at import"}},
	{name: "imports_starts", source: "import starts\n", requires: []string{"starts==1"},
		want: core.Probe{Threads: 3, Unforkable: "imports starts, which starts 3 threads at import", Through: "starts==1"}},
	{name: "lazily", source: "def later():\n    import starts\n", requires: []string{"starts==1"}},
	{name: "joins", source: "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n"},
	{name: "child", source: "import subprocess\np = subprocess.Popen(['sleep', '3600'], close_fds=True)\n",
		want: core.Probe{Children: 1, Unforkable: "leaves 1 process running at import"}},
	{name: "listens", source: "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 8080))\ns.listen()\n",
		want: core.Probe{Files: []string{"tcp 127.0.0.1:8080 listening"}, Unforkable: "leaves open tcp 127.0.0.1:8080 listening at import"}},
	{name: "pair", source: "import socket, os\na, b = socket.socketpair()\np = os.pipe()\n",
		want: core.Probe{Files: []string{"pipe", "pipe", "unix socket", "unix socket"}, Unforkable: "leaves open 2 times pipe, 2 times unix socket at import"}},
	{name: "selects", source: "import select\ne = select.epoll()\n",
		want: core.Probe{Files: []string{"anon_inode:[eventpoll]"}, Unforkable: "leaves open anon_inode:[eventpoll] at import"}},
	{name: "reads", source: "f, g = open('/usr/bin/env', 'rb'), open('/dev/null', 'r+b', 0)\n",
		want: core.Probe{Files: []string{"/dev/null", "/usr/bin/env"}, Unforkable: "leaves open /dev/null, /usr/bin/env at import"}},
	{name: "closes", source: "with open('/tmp/left', 'w') as f: f.write('x')\n"},
	{name: "shares", source: "import mmap\nm = mmap.mmap(-1, 4096)\n",
		want: core.Probe{Files: []string{"shared memory /dev/zero (deleted)"}, Unforkable: "leaves open shared memory /dev/zero (deleted) at import"}},
	{name: "handles", source: "import signal\nfor s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 3): signal.signal(s, lambda *_: None)\n",
		want: core.Probe{Signals: []string{"SIGUSR1", "SIGTERM", "signal 37"}}},
	{name: "calls", source: `
import socket
for address in (("192.0.2.1", 80), ("127.0.0.1", 80)):
    with socket.socket() as s:
        s.connect_ex(address)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(b"x", ("127.0.0.1", 53))
with socket.socket(socket.AF_INET6) as s:
    s.connect_ex(("2001:db8::1", 80))
`, want: core.Probe{Network: []string{"2 attempts to reach another machine", "1 connection to its own machine", "1 datagram to its own machine, as look-ups of names send them"}}},
	{name: "raises", source: "import nobody_has_this\n", want: core.Probe{Errors: map[string]string{"raises": "No module named 'nobody_has_this'"}}},
	{name: "leaves", source: "import sys\nsys.exit(3)\n", want: core.Probe{Errors: map[string]string{"leaves": "SystemExit: 3"}}},
	{name: "exits", source: "import os\nos._exit(3)\n", want: core.Probe{Errors: map[string]string{"exits": "ended"}}},
	{name: "crashes", source: "import ctypes\nctypes.string_at(0)\n", want: core.Probe{Errors: map[string]string{"crashes": "ended"}}},
	{name: "forbids", source: "import os\nos.register_at_fork(before=lambda: os._exit(1))\n", want: core.Probe{Unforkable: "cannot be forked after its import: "}},
	{name: "zuletzt", source: "import above, closes\n", requires: []string{"above==1", "closes==1"}},
}

// TestProbe has packages that do at import what a zygote must not have done, and finds all of it.
func TestProbe(t *testing.T) {
	files := map[string]string{}
	var packages []core.Installed
	for _, p := range misbehaving {
		files[p.name+".py"] = p.source
		packages = append(packages, core.Installed{Package: core.Package{Name: p.name, Version: "1", Digest: p.name},
			Locked: core.Locked{Name: p.name, Version: "1", Requires: p.requires}, Receipt: core.Receipt{Modules: []string{p.name}}})
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
		same := ok && got.Threads == p.want.Threads && got.Children == p.want.Children && slices.Equal(got.Files, p.want.Files) && slices.Equal(got.Signals, p.want.Signals) &&
			slices.Equal(got.Network, p.want.Network) && len(got.Errors) == len(p.want.Errors) && got.Through == p.want.Through
		for module, part := range p.want.Errors {
			same = same && strings.Contains(got.Errors[module], part)
		}
		if prefix, open := strings.CutSuffix(p.want.Unforkable, ": "); open {
			same = same && strings.HasPrefix(got.Unforkable, prefix)
		} else {
			same = same && got.Unforkable == p.want.Unforkable
		}
		if !same {
			t.Errorf("%s: %+v\n\twant %+v", p.name, got, p.want)
		}
	}
	good, above := found["good"], found["above"]
	if good.Private < 8<<20 || good.Private > 16<<20 || good.Memory != good.Private || above.Private >= 4<<20 || above.Memory != above.Private+good.Private || above.Took != above.Own+good.Own {
		t.Errorf("good %+v\nabove %+v", good, above)
	}
}
