package integration

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do packages of Node.js find what code before their import has made, and nothing that others have?

// TestNodeChangesBetweenImports has functions that change what a package finds when it is imported, in every
// way, and one that changes it later: each finds the same in every kind of start, and packages that are
// imported first come from a zygote.
func TestNodeChangesBetweenImports(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("base", "1.0.0", nil, files{"index.js": "exports.mode = 'none'; exports.set = (mode) => { exports.mode = mode; };", "german.js": "require('./index').set('german');"})
	r.add("user", "1.0.0", map[string]any{"dependencies": map[string]string{"base": "1.0.0"}}, files{"index.js": "exports.found = [require('base').mode, Promise.own ?? 'none', Error.stackTraceLimit];"})
	w := r.worker(t)
	const manifest = `{"dependencies":{"base":"1.0.0","user":"1.0.0"}}`
	for name, c := range map[string]struct{ file, code, want, apart string }{
		"later":    {"index.js", "const base = require('base'), { found } = require('user');\nbase.set('x');", `["none","none",10]`, ""},
		"between":  {"index.js", "const base = require('base');\nbase.set('x');\nconst { found } = require('user');", `["x","none",10]`, "user"},
		"global":   {"index.js", "Promise = class extends Promise { static own = 'own'; };\nconst { found } = require('user');", `["none","own",10]`, "user"},
		"language": {"index.js", "Error.stackTraceLimit = 50;\nconst { found } = require('user');", `["none","none",50]`, "user"},
		"file":     {"index.js", "require('./setup');\nconst { found } = require('user');", `["x","none",10]`, "user"},
		"module":   {"index.mjs", "import './setup.mjs';\nimport user from 'user';\nconst { found } = user;", `["x","none",10]`, "user"},
		"dynamic":  {"index.mjs", "import base from 'base';\nbase.set('x');\nconst { default: { found } } = await import('user');", `["x","none",10]`, "user"},
		"hoisted":  {"index.mjs", "import base from 'base';\nbase.set('x');\nimport user from 'user';\nconst { found } = user;", `["none","none",10]`, ""},
		"learned":  {"index.js", "let found;\nrequire('base').set('x');\nif (process.env.HOME) found = require('user').found;", `["x","none",10]`, ""},
		"compiled": {"index.ts", "import base from 'base';\nbase.set('x');\nconst { found } = require('user');", `["x","none",10]`, "user"},
		"part":     {"index.js", "const base = require('base');\nbase.set('x');\nrequire('base/german');\nconst found = [base.mode];", `["german"]`, "base"},
		"required": {"index.js", "const { found } = require('user');\nError.stackTraceLimit = 50;\nrequire('base');", `["none","none",10]`, "base"},
		"alone":    {"index.js", "const base = require('base');\nconst found = [base.mode];", `["none"]`, ""},
	} {
		code := files{"package.json": manifest, "pipsqueak.yaml": "reuse: false\n", "setup.js": "require('base').set('x');", "setup.mjs": "import base from 'base';\nbase.set('x');"}
		export := "\nexports.handler = async () => found;\n"
		if c.file == "index.mjs" || c.file == "index.ts" {
			export = "\nexport const handler = async () => found;\n"
		}
		w.deploy(t, name, code.with(c.file, c.code+export))
		fn := w.probed(t, name)
		for range 4 {
			if a := w.run(t, name, `{}`); string(a.body) != c.want {
				t.Errorf("%s: %v, want %s", name, a, c.want)
			}
		}
		for module, why := range fn.Apart {
			if c.apart == "" || !strings.Contains(module, c.apart+"@") || !strings.Contains(why, "imported after the function's own code may have changed what it finds") {
				t.Errorf("%s: apart is %s, for it %s", name, module, why)
			}
		}
		if c.apart != "" && len(fn.Apart) != 1 {
			t.Errorf("%s: apart are %v, want %s", name, fn.Apart, c.apart)
		}
	}
	for range 4 { // again: beside zygotes of all the others
		if a := w.run(t, "alone", `{}`); string(a.body) != `["none"]` {
			t.Errorf("alone: %v", a)
		}
	}
}
