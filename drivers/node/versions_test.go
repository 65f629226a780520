package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// versions are those that have to work. `make build` gets the ones that are not on the machine.
var versions = []string{"node20", "node22", "node24"}

// eachVersion runs the test with each node on this machine, as a subtest with a house of its own. In CI all
// versions have to be there.
func eachVersion(t *testing.T, files map[string]string, test func(t *testing.T, h *drivertest.House)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			h := newHouse(t, files)
			i := slices.IndexFunc(h.Runtimes, func(r core.Runtime) bool { return string(r.ID) == version })
			coretest.Requires(t, coretest.Found(version+"; name one in "+binariesVariable, i >= 0))
			h.Runtime = h.Runtimes[i]
			test(t, h)
		})
	}
}

// generations are zygotes of which each was forked from the one before: the root, that of a package, and that
// of one more, which has at import what packages leave behind that a zygote may have.
func generations(t *testing.T, h *drivertest.House) []*sandbox.Sandbox {
	t.Helper()
	all := []*sandbox.Sandbox{h.Root(t)}
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{
		"node_modules/quiet/index.js": "exports.x = 1;",
		"node_modules/listens/index.js": `
process.on('SIGTERM', () => {}).on('SIGUSR2', () => {}).on('SIGCHLD', () => {});
require('child_process').spawnSync('true');
console.error('listens');
setInterval(() => {}, 5);
process.kill(process.pid, 'SIGUSR2');
process.chdir('/tmp');
process.cwd();
import('node:process');
const { port1, port2 } = new MessageChannel();
port2.on('message', () => {}).unref();
port1.postMessage('later');`,
	})
	var set []core.Package
	for _, name := range []string{"quiet", "listens"} {
		set = append(set, core.Package{Name: name, Version: "1", Digest: name})
		zygote, _, err := h.Zygote(t, all[len(all)-1], core.NewSet(set...), name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, zygote)
	}
	return all
}

// TestNodeVersions does in instances that were forked from zygotes of each generation, with each version,
// what functions may do.
func TestNodeVersions(t *testing.T) {
	code, err := filepath.Abs("testdata/afterfork")
	if err != nil {
		t.Fatal(err)
	}
	eachVersion(t, nil, func(t *testing.T, h *drivertest.House) {
		h.Code = code
		for i, zygote := range generations(t, h) {
			first := h.Instance(t, zygote, nil)
			list := drivertest.Ask(t, first, `{}`)
			var checks []string
			if err := json.Unmarshal([]byte(list[1:]), &checks); err != nil || len(checks) < 10 {
				t.Fatal(list)
			}
			// All in one instance, one after the other, then each as the first in one of its own.
			for _, check := range checks {
				if got := drivertest.Ask(t, first, `{"check":"`+check+`"}`); got != `R"fine"` {
					t.Errorf("generation %d, %s: %s", i, check, got)
				}
			}
			for _, check := range checks {
				if got := drivertest.Ask(t, h.Instance(t, zygote, nil), `{"check":"`+check+`"}`); got != `R"fine"` {
					t.Errorf("generation %d, %s, first of all: %s", i, check, got)
				}
			}
		}
	})
}

// Siblings share no random stream, nor what was drawn before the fork.
func TestRandomness(t *testing.T) {
	files := map[string]string{
		"handler.js": `
const crypto = require('crypto');
const { random } = Math;
exports.handler = async () => [Math.random(), random(), crypto.randomUUID(), globalThis.crypto.randomUUID(), crypto.randomInt(2 ** 40),
  crypto.randomBytes(8).toString('hex'), Array.from(globalThis.crypto.getRandomValues(new Uint8Array(8))).join()];`,
		// Draws when it is imported, and keeps the functions.
		"node_modules/draws/index.js": `
const { randomUUID, randomInt } = require('crypto');
const { random } = Math;
const drawn = [randomUUID(), randomInt(2 ** 40), random(), crypto.randomUUID()];
exports.draw = () => [randomUUID(), randomInt(2 ** 40), random(), crypto.randomUUID(), ...pools.map((give) => give())];
// Keep pools of random bytes, which they have filled already, as libraries of ids do, and a generator with a
// seed.
const { randomFillSync, randomBytes } = require('crypto');
const pool = (buffer, fill, at = 0) => () => { if (at === 0) fill(buffer); return Buffer.from(buffer.subarray(at, at += 8)).toString('hex'); };
const made = randomBytes(64);
const pools = [pool(Buffer.allocUnsafe(64), (b) => randomFillSync(b)), pool(new Uint8Array(64), (b) => crypto.getRandomValues(b)), pool(new Uint8Array(64), (b) => randomFillSync(b, 0, 64)),
  pool(made, () => {}, 8), require('/packages/draws-1/node_modules/casual').draw];
pools.forEach((give) => give());`,
		"node_modules/casual/index.js": "let state = Date.now() % 1000; exports.seed = (n) => { state = n; }; exports.draw = () => String(state++);",
		"package.js":                   "const { draw } = require('/packages/draws-1/node_modules/draws');\nexports.handler = async () => [...draw(), ...draw()];",
	}
	set := core.NewSet(core.Package{Name: "draws", Version: "1", Digest: "any"})
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, "draws")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 3 {
			for _, s := range []*sandbox.Sandbox{h.Instance(t, root, nil), h.Instance(t, zygote, set, func(load *core.HandlerLoad) { load.Handler = "package.handler" })} {
				body := drivertest.Ask(t, s, `{}`)
				var drawn []any
				if err := json.Unmarshal([]byte(body[1:]), &drawn); err != nil || len(drawn) < 7 {
					t.Fatal(body, err)
				}
				for _, value := range drawn {
					text, _ := json.Marshal(value)
					if seen[string(text)] {
						t.Errorf("%s was drawn twice", text)
					}
					seen[string(text)] = true
				}
			}
		}
	})
}
