package main

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestMainModule has handlers find their own directory by require.main, as packages do, and as the working
// directory, and not be taken for a program that is to run: whatever the instance was forked from.
func TestMainModule(t *testing.T) {
	files := map[string]string{
		"handler.js": `
const { existsSync } = require('fs');
if (require.main === module || !module.parent) throw new Error('a server would start');
const atImport = [require.main.filename, require.main.path, require.main.paths[0], process.mainModule === require.main, require.main.require('./beside')];
const program = process.argv[1];
exports.handler = async () => [...atImport, process.cwd(), process.argv.length, existsSync(program), program === __filename, process.execArgv];`,
		"beside.js": "module.exports = require.main.filename;",
		"src/handler.mjs": `
import { createRequire } from 'module';
import { fileURLToPath, pathToFileURL } from 'url';
import { argv } from 'process';
if (import.meta.main || import.meta.url === 'file://' + argv[1] || import.meta.url === pathToFileURL(argv[1]).href || argv[1] === fileURLToPath(import.meta.url)) throw new Error('a server would start');
const { main } = createRequire(import.meta.url)('./asks.cjs');
export const handler = async () => [main.filename, main.path, argv.length];`,
		"src/asks.cjs": "exports.main = require.main;",
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		for i, zygote := range generations(t, h) {
			for handler, want := range map[string]string{
				"handler.handler":     `R["/function/handler.js","/function","/function/node_modules",true,"/function/handler.js","/function",2,true,false,[]]`,
				"src/handler.handler": `R["/function/src/handler.mjs","/function/src",2]`,
			} {
				if got := drivertest.Ask(t, h.Instance(t, zygote, nil, func(load *core.HandlerLoad) { load.Handler = handler }), "1"); got != want {
					t.Errorf("generation %d, %s: %s, want %s", i, handler, got, want)
				}
			}
		}
	})
}

// TestCache has a handler find its own modules in require.cache, and none of the runtime's: code that empties
// the cache, or looks for who is in it, sees what it would see in a plain node.
func TestCache(t *testing.T) {
	files := map[string]string{
		"handler.js": "require('./beside');\nconst own = (cache) => Object.keys(cache).filter((file) => !file.startsWith('/packages/'));\nexports.handler = async () => [own(require.cache), own(require('module')._cache)];",
		"beside.js":  "exports.x = 1;",
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		for i, zygote := range generations(t, h) {
			const want = `["/function/handler.js","/function/beside.js"]`
			if got := drivertest.Ask(t, h.Instance(t, zygote, nil), "1"); got != "R["+want+","+want+"]" {
				t.Errorf("generation %d: %s", i, got)
			}
		}
	})
}

// TestUptime has an instance count from its own start, whoever keeps the function that does.
func TestUptime(t *testing.T) {
	files := map[string]string{
		"handler.js":                  "const { uptime } = require('/packages/keeps-1/node_modules/keeps'), esm = import('node:process');\nexports.handler = async () => [uptime, process.uptime, (await esm).uptime].map((up) => performance.now() / 1000 - up() > 0.3 && up() >= 0);",
		"node_modules/keeps/index.js": "exports.uptime = process.uptime; import('node:process');\nfor (const end = Date.now() + 310; Date.now() < end;);",
	}
	set := core.NewSet(core.Package{Name: "keeps", Version: "1", Digest: "any"})
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, files)
		zygote, _, err := h.Zygote(t, h.Root(t), set, "keeps")
		if err != nil {
			t.Fatal(err)
		}
		if got := drivertest.Ask(t, h.Instance(t, zygote, set), "1"); got != "R[true,true,true]" {
			t.Error(got)
		}
	})
}

// TestParent has a package find the file of the function that has required it, and what lies beside that,
// whoever has imported the package before.
func TestParent(t *testing.T) {
	files := map[string]string{
		"src/handler.js":              "const { find } = require('/packages/finds-1/node_modules/finds');\nrequire('./second');\nconst atImport = find();\nexports.handler = async () => [atImport, find()].flat();",
		"src/second.js":               "require('/packages/finds-1/node_modules/finds');",
		"src/beside.js":               "module.exports = 'beside';",
		"node_modules/finds/index.js": "exports.find = () => [module.parent.filename, module.parent.require('./beside')];",
	}
	set := core.NewSet(core.Package{Name: "finds", Version: "1", Digest: "any"})
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, files)
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, "finds")
		if err != nil {
			t.Fatal(err)
		}
		for name, parent := range map[string]*sandbox.Sandbox{"cold": root, "fork": zygote} {
			got := drivertest.Ask(t, h.Instance(t, parent, set, func(load *core.HandlerLoad) { load.Handler = "src/handler.handler" }), "1")
			if want := `R["/function/src/handler.js","beside","/function/src/handler.js","beside"]`; got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	})
}
