package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// versions are those that have to work. `make build` gets the ones that are not on the machine.
var versions = []string{"node20", "node22", "node24"}

// eachVersion runs the test with each node on this machine, as a subtest. In CI all versions have to be there.
func eachVersion(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	h := openHouse(t)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			i := slices.IndexFunc(h.runtimes, func(r core.Runtime) bool { return string(r.ID) == version })
			if i < 0 {
				if os.Getenv("CI") != "" {
					t.Fatalf("requires %s", version)
				}
				t.Skipf("requires %s; name one in %s", version, binariesVariable)
			}
			h.runtime = h.runtimes[i]
			test(t, h)
		})
	}
}

// TestNodeVersions does in forked instances, with each version, what functions may do.
func TestNodeVersions(t *testing.T) {
	code, err := filepath.Abs("testdata/afterfork")
	if err != nil {
		t.Fatal(err)
	}
	eachVersion(t, func(t *testing.T, h *house) {
		h.code = code
		root := h.preload(t)
		first := h.fork(t, root)
		kind, list := call(t, first.Endpoint(), `{}`)
		var checks []string
		if err := json.Unmarshal([]byte(list), &checks); kind != 'R' || err != nil || len(checks) < 10 {
			t.Fatalf("%c %s", kind, list)
		}
		// All in one instance, one after the other, then each as the first in one of its own.
		for _, check := range checks {
			if kind, body := call(t, first.Endpoint(), `{"check":"`+check+`"}`); kind != 'R' || body != `"fine"` {
				t.Errorf("%s: %c %s", check, kind, body)
			}
		}
		for _, check := range checks {
			if kind, body := call(t, h.fork(t, root).Endpoint(), `{"check":"`+check+`"}`); kind != 'R' || body != `"fine"` {
				t.Errorf("%s, first of all: %c %s", check, kind, body)
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
exports.draw = () => [randomUUID(), randomInt(2 ** 40), random(), crypto.randomUUID()];`,
		"package.js": "const { draw } = require('/packages/draws-1/node_modules/draws');\nexports.handler = async () => [...draw(), ...draw()];",
	}
	set := core.NewSet(core.Package{Name: "draws", Version: "1", Digest: "any"})
	eachVersion(t, func(t *testing.T, h *house) {
		h.code = t.TempDir()
		write(t, h.code, files)
		root := h.preload(t)
		zygote := h.sandboxWith(t, core.RoleZygote, set)
		if err := h.Fork(t.Context(), zygote.Ref().ID, root.Ref().ID, zygote.Ref()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Import(t.Context(), zygote.Ref().ID, core.Load{Packages: []string{core.PackageDir(set[0])}, Modules: []string{"draws"}}); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 3 {
			for _, s := range []*sandbox.Sandbox{h.fork(t, root), h.forkWith(t, zygote, set, "package.handler")} {
				_, body := call(t, s.Endpoint(), `{}`)
				var drawn []any
				if err := json.Unmarshal([]byte(body), &drawn); err != nil || len(drawn) < 7 {
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

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimLeft(text, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}
