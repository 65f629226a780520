package integration

import (
	"fmt"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do packages of Node.js find the function's directory?

// TestNodeRoot has packages that find the function's directory as app-root-path does, and by require.main,
// when a zygote imports them.
func TestNodeRoot(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("rooted", "1.0.0", nil, files{"index.js": "exports.root = process.env.APP_ROOT_PATH ?? __dirname.split('/node_modules')[0];\nexports.main = require.main;"})
	w := r.worker(t)
	w.deploy(t, "rooted", files{"package.json": `{"dependencies":{"rooted":"1.0.0"}}`, "pipsqueak.yaml": "handler: src/app.handler\nreuse: false\n", "src/app.js": `
const { root, main } = require('rooted');
exports.handler = async () => [root, main.filename, main === require.main, main === module];
`})
	w.starts(t, "rooted", `{}`, `["/function","/function/src/app.js",true,false]`)
}

// TestNodeLooks has packages that look into the working directory and at their process when they are
// imported: each function has the values of its own.
func TestNodeLooks(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("settings", "1.0.0", nil, files{"index.js": "try { exports.x = require('fs').readFileSync('config/x', 'utf8'); } catch { exports.x = 'none'; }"})
	r.add("numbered", "1.0.0", nil, files{"index.js": "exports.pid = process.pid;"})
	w := r.worker(t)
	code := files{"package.json": `{"dependencies":{"settings":"1.0.0","numbered":"1.0.0"}}`, "index.js": `
const settings = require('settings'), numbered = require('numbered');
exports.handler = async () => [settings.x, numbered.pid === process.pid];
`}
	for _, reuse := range []string{"false", "true"} {
		for _, x := range []string{"1", "2"} {
			name := "looks-" + x + "-" + reuse
			w.deploy(t, name, code.with("config/x", x).with("pipsqueak.yaml", "reuse: "+reuse+"\n"))
			w.probed(t, name)
			for range 3 {
				if a := w.run(t, name, `{}`); string(a.body) != fmt.Sprintf(`["%s",true]`, x) {
					t.Errorf("%s: %v", name, a)
				}
			}
		}
	}
	// Who has no such directory has the package from a zygote.
	w.deploy(t, "looks-in-vain", files{"package.json": `{"dependencies":{"settings":"1.0.0"}}`, "pipsqueak.yaml": "reuse: false\n", "index.js": "const { x } = require('settings');\nexports.handler = async () => x;"})
	w.starts(t, "looks-in-vain", `{}`, `"none"`)
}
