package main

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

var misbehaving = []drivertest.Probed{
	{Name: "good", Source: "held = b'x' * (8 << 20)\n"},
	{Name: "above", Source: "import good\n", Requires: []string{"good==1"}},
	{Name: "starts", Source: "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n",
		Told: "^starts 3 threads at import$"},
	{Name: "imports_starts", Source: "import starts\n", Requires: []string{"starts==1"}, Told: "^imports starts, which starts 3 threads at import$"},
	{Name: "lazily", Source: "def later():\n    import starts\n", Requires: []string{"starts==1"}},
	{Name: "joins", Source: "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n"},
	{Name: "child", Source: "import subprocess\np = subprocess.Popen(['sleep', '3600'], close_fds=True)\n",
		Told: "^leaves 1 process running at import$"},
	{Name: "listens", Source: "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 8080))\ns.listen()\n",
		Told: `^leaves open tcp 127\.0\.0\.1:8080 listening at import$`},
	{Name: "pair", Source: "import socket, os\na, b = socket.socketpair()\np = os.pipe()\n",
		Told: "^leaves open 2 times pipe, 2 times unix socket at import$"},
	{Name: "selects", Source: "import select\ne = select.epoll()\n",
		Told: `^leaves open anon_inode:\[eventpoll\] at import$`},
	{Name: "reads", Source: "f, g = open('/usr/bin/env', 'rb'), open('/dev/null', 'r+b', 0)\n",
		Told: "^leaves open /dev/null, /usr/bin/env at import$"},
	{Name: "closes", Source: "with open('/tmp/left', 'w') as f: f.write('x')\n"},
	{Name: "shares", Source: "import mmap\nm = mmap.mmap(-1, 4096)\n",
		Told: `^leaves open shared memory /dev/zero \(deleted\) at import$`},
	{Name: "handles", Source: "import signal\nfor s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 3): signal.signal(s, lambda *_: None)\n"},
	{Name: "calls", Source: `
import socket
for address in (("192.0.2.1", 80), ("127.0.0.1", 80)):
    with socket.socket() as s:
        s.connect_ex(address)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(b"x", ("127.0.0.1", 53))
with socket.socket(socket.AF_INET6) as s:
    s.connect_ex(("2001:db8::1", 80))
`},
	{Name: "flips", Source: "import random as r\ndef random(): return r.randint(0, 1)\ndef ulid(): return r.randint(0, 1)\ndef nanoid(): return r.randint(0, 1)\n" +
		"def uuid1(): return r.randint(0, 1)\ndef uuid4(): return r.randint(0, 1)\ndef token_hex(): return r.randint(0, 1)\ndef token_urlsafe(): return r.randint(0, 1)\n"},
	{Name: "flips_alike", Source: "import time\nstate = time.time_ns()\ndef random():\n    global state\n    state = state * 48271 % 2147483647\n    return state & 1\n",
		Told: "^gives the same random numbers in every fork$"},
	{Name: "raises", Source: "import nobody_has_this\n", Told: "No module named 'nobody_has_this'"},
	{Name: "leaves", Source: "import sys\nsys.exit(3)\n", Told: "SystemExit: 3"},
	{Name: "exits", Source: "import os\nos._exit(3)\n", Told: "ended"},
	{Name: "crashes", Source: "import ctypes\nctypes.string_at(0)\n", Told: "ended"},
	{Name: "forbids", Source: "import os\nos.register_at_fork(before=lambda: os._exit(1))\n", Told: "^cannot be forked after its import: "},
	{Name: "zuletzt", Source: "import above, closes\n", Requires: []string{"above==1", "closes==1"}},
}

// seen is what else is to be found of them.
var seen = map[string]core.Probe{
	"starts":         {Threads: 3},
	"imports_starts": {Threads: 3, Through: "starts==1"},
	"child":          {Children: 1},
	"listens":        {Files: []string{"tcp 127.0.0.1:8080 listening"}},
	"pair":           {Files: []string{"pipe", "pipe", "unix socket", "unix socket"}},
	"selects":        {Files: []string{"anon_inode:[eventpoll]"}},
	"reads":          {Files: []string{"/dev/null", "/usr/bin/env"}},
	"shares":         {Files: []string{"shared memory /dev/zero (deleted)"}},
	"handles":        {Signals: []string{"SIGUSR1", "SIGTERM", "signal 37"}},
	"calls":          {Network: []string{"2 attempts to reach another machine", "1 connection to its own machine", "1 datagram to its own machine, as look-ups of names send them"}},
}

// TestProbe has packages that do at import what a zygote must not have done, and finds all of it.
func TestProbe(t *testing.T) {
	files := map[string]string{}
	for _, p := range misbehaving {
		files[p.Name+".py"] = p.Source
	}
	found := newHouse(t, files).Probe(t, misbehaving)
	for name, got := range found {
		if want := seen[name]; got.Threads != want.Threads || got.Children != want.Children || got.Through != want.Through ||
			!slices.Equal(got.Files, want.Files) || !slices.Equal(got.Signals, want.Signals) || !slices.Equal(got.Network, want.Network) {
			t.Errorf("%s: %+v\n\twant %+v", name, got, want)
		}
	}
	good, above := found["good"], found["above"]
	if good.Private < 8<<20 || good.Private > 16<<20 || good.Memory != good.Private || above.Private >= 4<<20 || above.Memory != above.Private+good.Private || above.Took != above.Own+good.Own {
		t.Errorf("good %+v\nabove %+v", good, above)
	}
}
