package main

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// TestSets has code, as esbuild bundles it, that sets variables before it imports packages, or changes
// something else that these may find, and code that does not. Wanted are the variables that it sets, the
// imports that come before all changes, and "!" if there is a change.
func TestSets(t *testing.T) {
	const header = `var __require = /* @__PURE__ */ ((x) => typeof require !== "undefined" ? require : typeof Proxy !== "undefined" ? new Proxy(x, {
  get: (a, b) => (typeof require !== "undefined" ? require : a)[b]
}) : x)(function(x) { if (typeof require !== "undefined") return require.apply(this, arguments); throw Error('no'); });
`
	cases := map[string]string{
		header + "var x = __require('x');":                                                                      ": x",
		"process.env.A = '1'; require('x');":                                                                    "A: x",
		"require('x'); process.env.A = '1';":                                                                    ": x",
		"require('x'); process.env.A = '1'; require('y');":                                                      "A: x y",
		"require('fs'); process.env['A'] ??= '1'; var x = __toESM(require('x'));":                               "A: x",
		"process.env[name] = '1'; require('x');":                                                                "*: x",
		"delete process.env.A; import 'x';":                                                                     "A: import:x",
		"Object.assign(process.env, { A: 1, 'B': 2 }); require('x');":                                           "A B: x",
		"Object.assign(process.env, other); require('x');":                                                      "*: x",
		"const { env } = process; env.A = '1'; require('x');":                                                   "A: x",
		"import { env } from 'node:process'; env.A = '1'; require('x');":                                        "A: x",
		"if (c) { process.env.A = '1'; } require('x');":                                                         "A: x",
		"function f() { process.env.A = '1'; } require('x');":                                                   ": x",
		"function f() { process.env.A = '1'; } f(); require('x');":                                              "A: x",
		"var require_env = __commonJS({ 'env.js'() { process.env.A = '1'; } });\nrequire('x');\nrequire_env();": ": x",
		"var require_env = __commonJS({ 'env.js'() { process.env.A = '1'; } });\nrequire_env();\nrequire('x');": "A: x",
		"var require_a = __commonJS({ 'a.js'(exports, module) { process.env.A = '1'; require('x'); module.exports = 1; } });\nexport default require_a();": "A: x",
		"require('dotenv').config(); require('x');":                                           "FROM_FILE: dotenv x",
		"import dotenv from 'dotenv'; dotenv.config({ path: 'other.env' }); require('x');":    "FROM_OTHER: import:dotenv x",
		"import 'dotenv/config'; import 'x';":                                                 "FROM_FILE: import:dotenv/config import:x",
		"import { config } from 'dotenv'; config({ path: where }); require('x');":             "*: import:dotenv x",
		"require('x'); require('dotenv').config();":                                           ": x dotenv",
		"Date.now = () => 0; require('x');":                                                   ": !",
		"require('x'); Math.random = () => 0;":                                                ": x !",
		"Promise.prototype.finally = 1; require('x');":                                        ": !",
		"Promise = require('bluebird'); require('x');":                                        ": bluebird !",
		"globalThis.fetch = require('y'); require('x');":                                      ": y !",
		"const fs = require('fs'); fs.readFileSync = () => 0; require('x');":                  ": !",
		"import fs from 'node:fs'; fs.promises.readFile = () => 0; require('x');":             ": !",
		"require('module')._load = f; require('x');":                                          ": !",
		"require.extensions['.x'] = f; require('x');":                                         ": !",
		"require('events').EventEmitter.defaultMaxListeners = 1; require('x');":               ": !",
		"require('http').globalAgent.keepAlive = true; require('x');":                         ": !",
		"require('dns').setDefaultResultOrder('ipv4first'); require('x');":                    ": !",
		"Error.stackTraceLimit = 50; require('x');":                                           ": !",
		"process.on('warning', () => {}); require('x');":                                      ": !",
		"process.env = {}; require('x');":                                                     "*: x",
		"process.exitCode = 1; require('x');":                                                 ": x",
		"const own = {}; own.a = 1; exports.handler = own; exports.deep = {}; require('x');":  ": x",
		"require('dd-trace').init(); require('x');":                                           ": !",
		"require('y'); require('app-module-path').addPath(__dirname + '/lib'); require('x');": ": y !",
		"import 'newrelic';":                                                                  ": !",
		"const t = process.env.A; require('x');":                                              ": x",
		"require('moment').locale('de'); require('moment/locale/de');":                        ": moment !",
		"const m = require('mongoose'); m.plugin(require('p')); require('x');":                ": mongoose p !",
		"const a = require('axios'); a.defaults.timeout = 1; require('x');":                   ": axios !",
		"const { config } = require('a'); config(); require('x');":                            ": a !",
		"const A = require('a'); const a = new A.B(); require('x');":                          ": a !",
		"const a = require('a'); a`x`; require('x');":                                         ": a !",
		"import a from 'a'; a(); const x = await import('x');":                                ": import:a !",
		"import a from 'a'; const x = await import('x'); a();":                                ": import:a import:x !",
		"const a = require('a'); function f() { a(); } require('x'); f();":                    ": a x !",
		"const a = require('a'); function f() { a(); } f(); require('x');":                    ": a !",
		"const a = require('a'); [1].forEach(() => a()); require('x');":                       ": a !",
		"const a = require('a'); (() => { a(); })(); require('x');":                           ": a !",
		"const a = require('a'); const own = { a }; own.a.b(); require('x');":                 ": a !",
		"const a = require('a'); const list = []; list.push(a); list[0](); require('x');":     ": a !",
		"const a = require('a'); for (const one of [a]) one(); require('x');":                 ": a !",
		"const a = require('a'); let b = 'x'; b = a; b.c(); require('x');":                    ": a !",
		"const a = require('a'); class B extends a { static c = a.d(); } require('x');":       ": a !",
		"const a = require('a'); class B extends a { c = a.d(); e() { a(); } } require('x');": ": a x",
		"const a = require('a'); a.b; const c = a.d; const { e } = a; require('x');":          ": a x",
		"if (c) require('y'); require('own-directory'); require('x');":                        ": y !",
		"if (c) require('y'); else require('z'); a(); require('y'); require('x');":            ": z !",
		"try { require('y'); } catch {} require('x');":                                        ": y x",
		"if (c) { a(); } require('x');":                                                       ": !",
		"require(name); require('x');":                                                        ": !",
		"const path = require('path'); const at = path.join(__dirname, 'x'); require('x');":   ": x",
		"import { join } from 'path'; import fs from 'fs'; JSON.parse(fs.readFileSync(join('a'), 'utf8')).a.split(',').map((x) => x.trim()); require('x');": ": x",
		"process.loadEnvFile('own.env'); require('x');": ": x",
		"var require_cfg = __commonJS({ 'cfg.js'(exports2) { exports2.setup = () => { process.env.A = '1'; }; } });\nrequire_cfg().setup(); require('x');":                                                           "A: x",
		"var require_cfg = __commonJS({ 'cfg.js'(exports2, module2) { function setup() { process.env.A = '1'; } module2.exports = { setup }; } });\nvar { setup } = require_cfg(); setup(); require('x');":           "A: x",
		"var require_cfg = __commonJS({ 'cfg.js'(exports2, module2) { module2.exports = require('y'); } });\nvar { setup } = require_cfg(); setup(); require('x');":                                                  ": y !",
		"var require_cfg = __commonJS({ 'cfg.js'(exports2, module2) { exports2.setup = () => {}; Object.assign(exports2, require('y')); } });\nvar cfg = __toESM(require_cfg()); cfg.default.setup(); require('x');": ": y !",
		"var require_cfg = __commonJS({ 'cfg.js'(exports2, module2) { exports2.setup = () => {}; if (c) exports2.setup = require('y'); } });\nvar cfg = require_cfg(); cfg.setup(); require('x');":                   ": y !",
		"console.log('Loading function'); require('x');":                                                                                              ": x",
		"const { promisify } = require('util'); const f = promisify(require('fs').readFile); require('x');":                                           ": x",
		"const n = Number(process.env.N || 1), list = (process.env.L ?? '').split(',').map(Number); require('x');":                                    ": x",
		"const { createHash } = require('crypto'); const h = createHash('md5').update('x').digest('hex'); new Map([[1, 2]]).set(3, 4); require('x');": ": x",
		"const https = require('https'); const agent = new https.Agent({ keepAlive: true }); require('x');":                                           ": x",
		"Object.defineProperty(exports, '__esModule', { value: true }); const x = __importDefault(require('x')); require('y');":                       ": x y",
		"Object.freeze(require('a')); require('x');":                                                                                                  ": a !",
		"Object.defineProperty(Date, 'now', { value: 1 }); require('x');":                                                                             ": !",
		"var f = function() {}; f.prototype.g = function() {}; require('x');":                                                                         ": x",
		"function own(path) { path.join(); } own(require('a')); require('x');":                                                                        ": a !",
		"const a = require('a'); const b = async () => { await a(); }; require('x'); exports.b = b;":                                                  ": a x",
	}
	asked, err := json.Marshal(slices.Sorted(maps.Keys(cases)))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	ask(t, "install/sets.mjs", `const files = { '.env': ['FROM_FILE'], 'other.env': ['FROM_OTHER'] }, got = {};
for (const code of JSON.parse(process.argv[1])) {
  const { sets, first, changes } = await module.read(code, (name) => name !== 'own-directory', (file) => files[file] ?? []);
  got[code] = [sets.join(' ') + ':', ...first, ...(changes ? ['!'] : [])].join(' ');
}
console.log(JSON.stringify(got))`, &got, string(asked))
	for code, want := range cases {
		if got[code] != want {
			t.Errorf("%s\n%q, want %q", code, got[code], want)
		}
	}
}
