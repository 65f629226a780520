package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// TestWatchedSets has handlers that set variables, the working directory and arguments in every way, and
// packages that do when they are imported and when they are called: what counts is what the function's own
// code does, wherever the instance was forked from.
func TestWatchedSets(t *testing.T) {
	const handler, esmHandler = "\nexports.handler = async () => 1;\n", "\nexport const handler = async () => 1;\n"
	packages := map[string]string{
		"node_modules/mind/index.js":      "process.env.BY_PACKAGE = '1'; process.env.KEPT ??= 'x'; (() => { process.env.BY_CLOSURE = '1'; })(); require('./part');\nexports.load = (name) => { process.env[name] = '1'; };\nexports.later = async (name) => { await null; process.env[name] = '1'; };\nexports.timer = (name, done) => setTimeout(() => { process.env[name] = '1'; done(); }, 1);\nexports.lazy = () => require('./lazy');\nexports.move = (to) => process.chdir(to);\nconst was = process.cwd(); process.chdir('/tmp'); process.chdir(was); process.argv.push('x'); process.argv.pop();",
		"node_modules/mind/part.js":       "Object.assign(process.env, { BY_PART: '1' }); delete process.env.A_PART;",
		"node_modules/mind/lazy.js":       "process.env.BY_LAZY = '1';",
		"node_modules/emind/package.json": `{"type":"module","exports":"./x.js"}`,
		"node_modules/emind/x.js":         "process.env.BY_ESM = '1'; await null; process.env.BY_ESM_LATER = '1'; export const load = (name) => { process.env[name] = '1'; };",
	}
	eachVersion(t, nil, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, packages)
		set := core.NewSet(core.Package{Name: "mind", Version: "1", Digest: "any"}, core.Package{Name: "emind", Version: "1", Digest: "any"})
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, "mind", "import:emind")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			file, code, want string
		}{
			{"handler.js", "", ""},
			{"handler.js", "function setup() { process.env.OF_SETUP = '3'; } setup(); require('/packages/mind-1/node_modules/mind');", "OF_SETUP"},
			{"handler.js", "require('./cfg').setup();", "OF_CFG"},
			{"handler.js", "class A { static { process.env.OF_CLASS = '1'; } }", "OF_CLASS"},
			{"handler.js", "eval(\"process.env.OF_EVAL = '1'\"); [1].forEach(() => { process.env['OF_EACH'] = '1'; });", "OF_EACH OF_EVAL"},
			{"handler.js", "process.loadEnvFile('/function/own.env');", "OF_FILE"},
			{"handler.js", "process.env.A = 'b'; process.env.A ??= 'c'; delete process.env.NONE;", ""},
			{"handler.js", "delete process.env.A;", "A"},
			{"handler.js", "process.env.FOR_A_WHILE = '1'; require('/packages/mind-1/node_modules/mind'); delete process.env.FOR_A_WHILE;", "FOR_A_WHILE"},
			{"handler.js", "process.env = { ...process.env, NEW: '1' };", "NEW"},
			{"handler.js", "require('/packages/mind-1/node_modules/mind');", ""},
			{"handler.js", "require('/packages/mind-1/node_modules/mind').lazy();", ""},
			{"handler.js", "Error.prepareStackTrace = () => 'mine'; Error.stackTraceLimit = 0; require('/packages/mind-1/node_modules/mind').load('BY_CALL'); require('/packages/mind-1/node_modules/mind').lazy();", "BY_CALL"},
			{"handler.js", "process.chdir('/tmp');", "./"},
			{"handler.js", "process.chdir(__dirname); require('/packages/mind-1/node_modules/mind').move('/function');", ""},
			{"handler.js", "require('/packages/mind-1/node_modules/mind').move('..');", "./"},
			{"handler.js", "process.argv.push('--verbose'); process.argv.pop();", "@argv"},
			{"handler.js", "process.argv = [...process.argv]; process.argv[2] = 'x';", "@argv"},
			{"handler.js", "process.argv.slice(2).sort(); process.argv[0] = process.argv[0];", ""},
			{"handler.mjs", "import { chdir, argv } from 'node:process'; chdir('/tmp'); argv[2] = 'x';", "./ @argv"},
			{"handler.mjs", "import './cfg.mjs'; import '/packages/emind-1/node_modules/emind/x.js';", "OF_CFG_MJS"},
			{"handler.mjs", "import { load } from '/packages/emind-1/node_modules/emind/x.js'; load('BY_CALL');", "BY_CALL"},
			{"handler.mjs", "import mind from '/packages/mind-1/node_modules/mind/index.js'; await mind.later('BY_LATER'); await new Promise((done) => mind.timer('BY_TIMER', done)); process.env.OF_AWAIT = '1';", "BY_LATER BY_TIMER OF_AWAIT"},
		} {
			for _, file := range []string{"handler.js", "handler.mjs"} {
				removeFile(t, h.Code, file)
			}
			export := handler
			if c.file == "handler.mjs" {
				export = esmHandler
			}
			drivertest.Write(t, h.Code, map[string]string{c.file: c.code + export, "cfg.js": "exports.setup = () => { process.env.OF_CFG = '1'; };", "cfg.mjs": "process.env.OF_CFG_MJS = '1';", "own.env": "OF_FILE=1\nA=other\n"})
			for start, parent := range map[string]*sandbox.Sandbox{"cold": root, "forked": zygote} {
				if got := strings.Join(h.Sets(t, parent, set), " "); got != c.want {
					t.Errorf("%s, %q sets %q, want %q", start, c.code, got, c.want)
				}
			}
		}
	})
}

func removeFile(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
