package main

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestNames has packages that are named as modules of Node.js, and one that requires what only the function has: all is as with a plain node, in cold
// starts and forks.
func TestNames(t *testing.T) {
	counts := "globalThis.loaded = (globalThis.loaded ?? '') + '%'; exports.own = true;"
	files := map[string]string{
		"handler.js": `
const events = require('/packages/events-1/node_modules/events'), esm = import('/packages/url-1/node_modules/url/index.js');
const { find } = require('/packages/asks-1/node_modules/asks');
exports.handler = async () => [require('events') === require('node:events'), require('punycode').own === undefined, events.own, (await esm).own, require('events/').own,
  find(), globalThis.loaded];`,
		"node_modules/events/index.js":     "exports.own = 'of the function';",
		"node_modules/punycode/index.js":   "exports.own = true;",
		"node_modules/undeclared/index.js": "module.exports = 'found';",
	}
	want := `R[true,true,true,true,"of the function","found","`
	set := core.NewSet(core.Package{Name: "events", Version: "1", Digest: "a"}, core.Package{Name: "url", Version: "1", Digest: "b"}, core.Package{Name: "asks", Version: "1", Digest: "c"})
	modules := []string{"events@1", "import:url@1", "asks@1"}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, map[string]string{
			"node_modules/events/index.js":   counts,
			"node_modules/url/package.json":  `{"type":"module"}`,
			"node_modules/url/index.js":      "globalThis.loaded = (globalThis.loaded ?? '') + 'u'; export const own = true;",
			"node_modules/asks/index.js":     "globalThis.loaded = (globalThis.loaded ?? '') + 'a'; try { globalThis.loaded += require('undeclared'); } catch {}\nexports.find = () => require('undeclared');",
			"node_modules/asks/package.json": "{}",
			"node_modules/asks/needs.js":     "require('undeclared'); globalThis.loaded += 'n';",
		})
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, modules...)
		if err != nil {
			t.Fatal(err)
		}
		importing := func(load *core.HandlerLoad) { load.Modules = modules }
		for name, c := range map[string]struct {
			instance *sandbox.Sandbox
			loaded   string
		}{
			"cold":           {h.Instance(t, root, set, importing), "%ua"},
			"fork":           {h.Instance(t, zygote, set), "%ua"}, // a zygote sees nothing of a function
			"what needs it":  {h.Instance(t, root, set, func(load *core.HandlerLoad) { load.Modules = []string{"events@1", "asks@1/needs"} }), "%nafoundu"},
			"the code alone": {h.Instance(t, root, set), "%afoundu"},
		} {
			for range 2 {
				if got := drivertest.Ask(t, c.instance, "1"); got != want+c.loaded+`"]` {
					t.Errorf("%s: %s, want %s", name, got, want+c.loaded)
				}
			}
		}
	})
}
