package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestNames has packages that are named as modules of Node.js, and one that requires what only the function
// has: all is as with a plain node, in cold starts and forks.
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

// TestUndeclaredModules has ES modules of packages that import what only the function has, at once and later,
// and one that requires it. The handler, of either kind, imports them. A hook for that is in Node.js from
// 22.15 on; before it, modules that are required find it, and imports say what they miss.
func TestUndeclaredModules(t *testing.T) {
	const imports = `const [{ early }, { late, requires }] = [await import('needs'), await import('asks')];`
	const answers = `async () => [early, (await late()).default, requires(), await import('nowhere').catch((e) => e.code), await (await import('asks')).missing().catch((e) => e.message.slice(0, 33))]`
	files := map[string]string{
		"handler.mjs":                      "import { early } from 'needs';\nimport { late, requires } from 'asks';\nexport const handler = " + answers,
		"common.js":                        "exports.handler = async () => { " + imports + " return (" + answers + ")(); };",
		"required.mjs":                     "import common from 'common';\nexport const handler = async () => common;",
		"node_modules/undeclared/index.js": "module.exports = 'found';",
	}
	want := `R["found","found","found","ERR_MODULE_NOT_FOUND","Cannot find package 'nowhere' imp"]`
	set := core.NewSet(core.Package{Name: "needs", Version: "1", Digest: "a"}, core.Package{Name: "asks", Version: "1", Digest: "b"}, core.Package{Name: "common", Version: "1", Digest: "c"})
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, map[string]string{
			"node_modules/needs/package.json": `{"type":"module","exports":"./index.js"}`,
			"node_modules/needs/index.js":     "import found from 'undeclared'; export const early = found;",
			"node_modules/asks/package.json":  `{"type":"module","exports":"./index.js"}`,
			"node_modules/asks/index.js": `import { createRequire } from 'module';
export const late = () => import('undeclared'), requires = () => createRequire(import.meta.url)('undeclared'), missing = () => import('nowhere');`,
			"node_modules/common/package.json": "{}",
			"node_modules/common/index.js":     "try { require('maybe'); } catch {}\nmodule.exports = require('undeclared');",
		})
		for _, name := range []string{"needs", "asks", "common"} {
			if err := os.Symlink("/packages/"+name+"-1/node_modules/"+name, filepath.Join(h.Code, "node_modules", name)); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, "import:asks@1")
		if err != nil {
			t.Fatal(err)
		}
		for kind, parent := range map[string]*sandbox.Sandbox{"cold": root, "fork": zygote} {
			handled := func(handler string) string {
				return drivertest.Ask(t, h.Instance(t, parent, set, func(load *core.HandlerLoad) { load.Handler = handler }), "1")
			}
			if got := handled("required.handler"); got != `R"found"` {
				t.Errorf("%s: a module that is required answers %s", kind, got)
			}
			if h.Runtime.ID == "node20" {
				if got := handled("common.handler"); !strings.Contains(got, "Cannot find package 'undeclared' imported from /packages/needs-1/node_modules/needs/index.js") {
					t.Errorf("%s: without hooks: %s", kind, got)
				}
				continue
			}
			for _, handler := range []string{"handler.handler", "common.handler"} {
				if got := handled(handler); got != want {
					t.Errorf("%s, %s: %s, want %s", kind, handler, got, want)
				}
			}
		}
	})
}
