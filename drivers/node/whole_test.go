package main

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestCompiledWhole: an instance finds compiled what its zygote has imported, also what nobody has called,
// unless the module is large.
func TestCompiledWhole(t *testing.T) {
	const module = "exports.uncalled = function () { return [].length; };\n"
	handler := map[string]string{"handler.mjs": `
import v8 from 'node:v8';
import { createRequire } from 'node:module';
import { uncalled } from '/packages/only-1/node_modules/only/index.js';
const require = createRequire(import.meta.url);
v8.setFlagsFromString('--allow-natives-syntax');
const state = new Function('f', 'return %GetOptimizationStatus(f)');
const own = function () { return [].length; };
const found = ['part', 'large'].map((name) => require('/packages/' + name + '-1/node_modules/' + name).uncalled);
export const handler = async () => [...found, uncalled].map((f) => state(f) !== state(own));
`}
	eachVersion(t, handler, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, map[string]string{
			"node_modules/part/index.js": "module.exports = require('./inner');", "node_modules/part/inner.js": module,
			"node_modules/only/package.json": `{"type": "module", "exports": {"import": "./index.js"}}`,
			"node_modules/only/index.js":     "export const uncalled = function () { return [].length; };\n",
			"node_modules/large/index.js":    module + "//" + strings.Repeat(" ", 300<<10),
		})
		var set core.Set
		for _, name := range []string{"large", "only", "part"} {
			set = append(set, core.Package{Name: name, Version: "1", Digest: name})
		}
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, "part@1", "large@1", "import:only@1")
		if err != nil {
			t.Fatal(err)
		}
		for want, from := range map[string]*sandbox.Sandbox{"R[true,false,true]": zygote, "R[false,false,false]": root} {
			if got := drivertest.Ask(t, h.Instance(t, from, set), "1"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
}
