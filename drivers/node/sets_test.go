package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestSets has code, as esbuild bundles it, that sets variables or prepares otherwise before it imports packages, and code that does not.
func TestSets(t *testing.T) {
	cases := map[string]string{
		"process.env.A = '1'; require('x');":                                                                    "A",
		"require('x'); process.env.A = '1';":                                                                    "",
		"require('x'); process.env.A = '1'; require('y');":                                                      "A",
		"require('fs'); process.env['A'] ??= '1'; var x = __toESM(require('x'));":                               "A",
		"process.env[name] = '1'; require('x');":                                                                "*",
		"delete process.env.A; import 'x';":                                                                     "A",
		"Object.assign(process.env, { A: 1, 'B': 2 }); require('x');":                                           "A B",
		"Object.assign(process.env, other); require('x');":                                                      "*",
		"if (c) { process.env.A = '1'; } require('x');":                                                         "A",
		"function f() { process.env.A = '1'; } require('x');":                                                   "",
		"var require_env = __commonJS({ 'env.js'() { process.env.A = '1'; } });\nrequire('x');\nrequire_env();": "",
		"var require_env = __commonJS({ 'env.js'() { process.env.A = '1'; } });\nrequire_env();\nrequire('x');": "A",
		"var require_a = __commonJS({ 'a.js'(exports, module) { process.env.A = '1'; require('x'); module.exports = 1; } });\nexport default require_a();": "A",
		"require('dotenv').config(); require('x');":                                        "FROM_FILE",
		"import dotenv from 'dotenv'; dotenv.config({ path: 'other.env' }); require('x');": "FROM_OTHER",
		"import 'dotenv/config'; import 'x';":                                              "FROM_FILE",
		"import { config } from 'dotenv'; config({ path: where }); require('x');":          "*",
		"require('x'); require('dotenv').config();":                                        "",
		"Date.now = () => 0; require('x');":                                                "*",
		"Math.random = () => 0;":                                                           "",
		"Promise.prototype.finally = 1; require('x');":                                     "*",
		"globalThis.fetch = require('y'); require('x');":                                   "*",
		"const fs = require('fs'); fs.readFileSync = () => 0; require('x');":               "*",
		"import fs from 'node:fs'; fs.promises.readFile = () => 0; require('x');":          "*",
		"require('module')._load = f; require('x');":                                       "*",
		"process.env = {}; require('x');":                                                  "*",
		"process.exitCode = 1; require('x');":                                              "",
		"const own = {}; own.a = 1; exports.handler = own; require('x');":                  "",
		"require('dd-trace').init(); require('x');":                                        "*",
		"require('app-module-path').addPath(__dirname + '/lib'); require('x');":            "*",
		"import 'newrelic';":                                                               "",
		"const t = process.env.A; require('x');":                                           "",
	}
	asked, err := json.Marshal(slices.Sorted(maps.Keys(cases)))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string][]string
	ask(t, "sets.mjs", `const files = { '.env': ['FROM_FILE'], 'other.env': ['FROM_OTHER'] }, got = {};
for (const code of JSON.parse(process.argv[1])) got[code] = await module.setsIn(code, (file) => files[file] ?? []);
console.log(JSON.stringify(got))`, &got, string(asked))
	for code, want := range cases {
		if found := strings.Join(got[code], " "); found != want {
			t.Errorf("%s\n%q, want %q", code, found, want)
		}
	}
}
