package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What comes from a registry of npm packages, and what becomes of it?

// The registry's signatures: right, wrong, missing, by a key that it does not tell, and a registry without
// any.
func TestNodeSignatures(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	for name, c := range map[string]struct {
		keys     bool
		change   func(r *npmIndex)
		verified bool
		detail   string // of the signature
		refused  string // part of the error
	}{
		"right":    {true, func(*npmIndex) {}, true, "", ""},
		"no keys":  {false, func(*npmIndex) {}, false, "no keys", ""},
		"unsigned": {true, func(r *npmIndex) { delete(r.dist("leaf", "1.0.0"), "signatures") }, false, "no signature", ""},
		"wrong": {true, func(r *npmIndex) {
			r.dist("leaf", "1.0.0")["signatures"] = []any{r.sign("leaf", "1.0.1", r.dist("leaf", "1.0.0")["integrity"].(string))}
		}, false, "", "invalid registry signature"},
		"unknown key": {true, func(r *npmIndex) {
			s := r.sign("leaf", "1.0.0", r.dist("leaf", "1.0.0")["integrity"].(string))
			s["keyid"] = "SHA256:of-nobody"
			r.dist("leaf", "1.0.0")["signatures"] = []any{s}
		}, false, "", "no corresponding public key"},
		"another archive": {true, func(r *npmIndex) {
			other := "sha512-" + base64.StdEncoding.EncodeToString(make([]byte, 64))
			r.dist("leaf", "1.0.0")["integrity"] = other
			r.dist("leaf", "1.0.0")["signatures"] = []any{r.sign("leaf", "1.0.0", other)}
		}, false, "", "has signed sha512-AAAA"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newNPMIndex(t)
			r.keys = c.keys
			integrity := r.add("leaf", "1.0.0", map[string]any{"license": "MIT"}, files{"index.js": "module.exports = 'leaf';"})
			f := files{"index.js": "exports.handler = () => require('leaf');", "package.json": `{"dependencies":{"leaf":"1.0.0"}}`,
				"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"leaf":"1.0.0"}},"node_modules/leaf":{"version":"1.0.0","integrity":"` + integrity + `"}}}`}
			c.change(r)
			w := r.worker(t)
			if c.refused != "" {
				if e := w.put(t, "signed", f).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable); !strings.Contains(e.Message, c.refused) || !strings.Contains(e.Message, "leaf@1.0.0") {
					t.Errorf("%s", e.Message)
				}
				return
			}
			fn := w.deploy(t, "signed", f)
			got := inStore(t, w, packageOf(t, fn, "leaf")).Receipt
			if len(got.Signatures) != 1 || got.Signatures[0].Verified != c.verified || !strings.Contains(got.Signatures[0].Detail, c.detail) || (got.Signatures[0].Signer == "SHA256:of-the-test") != c.verified {
				t.Errorf("%+v", got.Signatures)
			}
			sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(integrity, "sha512-"))
			if err != nil || got.Archive != "sha512:"+hex.EncodeToString(sum) || got.Bytes < 100 || !slices.Equal(got.Licenses, []string{"MIT"}) || !slices.Equal(got.Modules, []string{"leaf@1.0.0"}) {
				t.Errorf("the receipt is %+v", got)
			}
			if r.asked["/leaf"] != 0 || r.asked["/-/npm/v1/keys"] != 1 {
				t.Errorf("the registry was asked for %v", r.asked)
			}
		})
	}
}

// Install scripts run only when they are allowed, among what their package requires; a package whose script
// has run is another one.
func TestNodeScripts(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("tool", "1.0.0", map[string]any{"bin": map[string]string{"make-it": "cli.js"}}, files{"cli.js": "#!/usr/bin/env node\nrequire('fs').writeFileSync('built.js', 'module.exports = ' + JSON.stringify(require('word')));", "index.js": ""})
	r.add("word", "1.0.0", nil, files{"index.js": "module.exports = 'built';"})
	r.packages["tool"]["1.0.0"].(map[string]any)["dependencies"] = map[string]string{"word": "1.0.0"}
	r.add("@s/made", "1.0.0", map[string]any{"dependencies": map[string]string{"tool": "1.0.0"}, "scripts": map[string]string{"install": "make-it && env > environment.txt && { cat /proc/[0-9]*/environ >> environment.txt 2>&1; exit ${STATUS:-0}; }"}},
		files{"index.js": "try { module.exports = require('./built.js'); } catch { module.exports = 'not built'; }\nmodule.exports.environment = () => require('fs').readFileSync(__dirname + '/environment.txt', 'utf8');"})
	r.add("debugs", "1.0.0", map[string]any{"scripts": map[string]string{"install": "node debug.js"}}, files{"index.js": "module.exports = require('./told.json');", "debug.js": `
process.kill(1, 'SIGUSR1');
const tries = async () => {
  for (let i = 0; i < 40; i++) {
    try { return await (await fetch('http://127.0.0.1:9229/json/version')).text(); } catch { await new Promise((done) => setTimeout(done, 25)); }
  }
  return 'nobody listens';
};
tries().then((told) => require('fs').writeFileSync('told.json', JSON.stringify(told)));`})
	r.add("fails", "1.0.0", map[string]any{"scripts": map[string]string{"install": "echo this went wrong >&2; exit 3"}}, files{"index.js": ""})
	r.add("odd", "1.0.0", map[string]any{"scripts": nil, "exports": map[string]any{".": 5}}, files{"index.js": ""})
	t.Setenv("NPM_CONFIG_//127.0.0.1/:_authToken", "very-secret")
	t.Setenv("NPM_CONFIG_@of-somebody:registry", "http://me:very-secret@127.0.0.1/")
	w := r.worker(t)
	w.deploy(t, "odd", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"odd":"1.0.0"}}`})
	f := files{"index.js": "exports.handler = () => require('@s/made');", "package.json": `{"dependencies":{"@s/made":"1.0.0"}}`}
	plain := w.deploy(t, "plain", f)
	if got := result[string](t, w, "plain", `{}`); got != "not built" {
		t.Errorf("a script ran that nobody allowed: %s", got)
	}
	allowed := w.deploy(t, "allowed", f.with("pipsqueak.yaml", "allow_scripts: ['@s/made']\n"))
	if got := result[string](t, w, "allowed", `{}`); got != "built" {
		t.Errorf("the script did not run: %s", got)
	}
	if p := packageOf(t, allowed, "@s+made"); packageOf(t, plain, "@s+made") == p || !strings.Contains(p.Version, "+scripts.") {
		t.Errorf("the package is %s", p)
	}
	if got := result[string](t, w, "plain", `{}`); got != "not built" {
		t.Errorf("a function got what another's script has made: %s", got)
	}
	environment := w.deploy(t, "environment", f.with("index.js", "exports.handler = () => require('fs').readFileSync(require.resolve('@s/made/environment.txt'), 'utf8');").with("pipsqueak.yaml", "allow_scripts: ['@s/made']\n"))
	if got := result[string](t, w, environment.Name, `{}`); strings.Contains(got, "very-secret") || !strings.Contains(got, "PATH=") {
		t.Errorf("a script is told\n%s", got)
	}
	w.deploy(t, "debugs", files{"index.js": "exports.handler = () => require('debugs');", "package.json": `{"dependencies":{"debugs":"1.0.0"}}`, "pipsqueak.yaml": "allow_scripts: [debugs]\n"})
	if got := result[string](t, w, "debugs", `{}`); got != "nobody listens" {
		t.Errorf("a script can debug the installer: %s", got)
	}
	e := w.put(t, "fails", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"fails":"1.0.0"}}`, "pipsqueak.yaml": "allow_scripts: [fails]\n"}).
		expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
	if !strings.Contains(e.Message, "fails@1.0.0") || !strings.Contains(e.Message, "this went wrong") {
		t.Errorf("%s", e.Message)
	}
}

// The same lock gives the same packages on every machine; the second deploy asks no registry; a lock of pnpm
// gives what npm's does.
func TestNodeLocks(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("@s/upper", "2.0.0", map[string]any{"dependencies": map[string]string{"lower": "^1.0.0"}}, files{"index.js": "module.exports = [require('lower')];", "bin/x*": "#!/bin/sh\n", "d/e": ""})
	r.add("lower", "1.0.0", map[string]any{"bin": "cli.js", "type": "module", "exports": map[string]any{"import": "./main.js"}}, files{"main.js": "export default 1;", "cli.js": "1"})
	r.add("lower", "1.0.1", nil, files{"index.js": "module.exports = 1;", "cli.js": "1"})
	f := files{"index.js": "exports.handler = () => require('@s/upper');", "package.json": `{"dependencies":{"@s/upper":"*"}}`}
	first, second := r.worker(t), r.worker(t)
	a := first.deploy(t, "locks", f)
	r.moved = true
	r.add("other", "1.0.0", nil, files{"index.js": "module.exports = 'other';"})
	if b := second.deploy(t, "locks", f); a.Packages.Key() != b.Packages.Key() || !slices.Equal(a.Packages, b.Packages) {
		t.Errorf("%v and %v", a.Packages, b.Packages)
	}
	if got := result[[]int](t, second, "locks", `{}`); !slices.Equal(got, []int{1}) {
		t.Errorf("%v", got)
	}
	// An archive that is elsewhere is found through the metadata.
	second.deploy(t, "other", files{"index.js": "exports.handler = () => require('other');", "package.json": `{"dependencies":{"other":"*"}}`})
	if got := result[string](t, second, "other", `{}`); got != "other" {
		t.Errorf("%s", got)
	}
	known := inStore(t, first, packageOf(t, a, "@s+upper"))
	if known.Locked.URL != "pkg:npm/%40s/upper@2.0.0" || !slices.Equal(known.Locked.Requires, []string{"lower==1.0.1"}) {
		t.Errorf("%+v", known.Locked)
	}
	integrity := func(name, version string) string { return r.dist(name, version)["integrity"].(string) }
	pnpm := "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      '@s/upper':\n        specifier: '*'\n        version: 2.0.0\npackages:\n  '@s/upper@2.0.0':\n    resolution: {integrity: " + integrity("@s/upper", "2.0.0") +
		"}\n  lower@1.0.1:\n    resolution: {integrity: " + integrity("lower", "1.0.1") + "}\nsnapshots:\n  '@s/upper@2.0.0':\n    dependencies:\n      lower: 1.0.1\n  lower@1.0.1: {}\n"
	r.Close()
	if b := first.deploy(t, "again", f.with("index.js", "exports.handler = () => require('@s/upper').length;")); !slices.Equal(a.Packages, b.Packages) || len(b.Imports) != 0 {
		t.Errorf("without a registry: %v, %v", b.Packages, b.Imports)
	}
	if b := first.deploy(t, "pnpm", f.with("pnpm-lock.yaml", pnpm)); !slices.Equal(a.Packages, b.Packages) {
		t.Errorf("pnpm's lock gives %v, and npm's %v", b.Packages, a.Packages)
	}
	if got := result[[]int](t, first, "pnpm", `{}`); !slices.Equal(got, []int{1}) {
		t.Errorf("%v", got)
	}
}

// Lock files that cannot be taken are refused by name.
func TestNodeBadLocks(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	npm := func(entry string) files {
		return files{"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/a":` + entry + `}}`}
	}
	pnpm := func(version, packages string) files {
		return files{"pnpm-lock.yaml": "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a: {specifier: '1', version: " + version + "}\n" + packages}
	}
	for name, c := range map[string]struct {
		files files
		say   string
	}{
		"no digest":      {npm(`{"version":"1.0.0"}`), "package-lock.json has no digest of a@1.0.0"},
		"weak digest":    {npm(`{"version":"1.0.0","integrity":"sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="}`), "no digest of a@1.0.0 that is safe"},
		"no JSON":        {files{"package-lock.json": "{"}, "package-lock.json cannot be read"},
		"an array":       {files{"package-lock.json": `{"lockfileVersion":3,"packages":7}`}, "package.json asks for a@1"},
		"old":            {files{"package-lock.json": `{"lockfileVersion":1}`}, "version 1"},
		"null":           {npm(`null`), "is no lock file"},
		"a number":       {npm(`{"version":"1.0.0","integrity":5}`), "is no lock file"},
		"a path":         {npm(`{"version":"1/../../b-1","integrity":"sha512-AAAA"}`), "cannot be a package"},
		"a name":         {npm(`{"version":"1.0.0","name":"../b","integrity":"sha512-AAAA"}`), "cannot be a package"},
		"a place":        {files{"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/../../b":{"version":"1.0.0","integrity":"sha512-AAAA"}}}`}, "cannot be a package"},
		"a link":         {files{"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/../b":{"link":true,"resolved":"own"}}}`}, "cannot be a package"},
		"pnpm, null":     {files{"pnpm-lock.yaml": "lockfileVersion: 9.0\nimporters: {.: {dependencies: {a: null}}}\n"}, "is no lock file"},
		"yarn":           {files{"yarn.lock": "# yarn lockfile v1\n"}, "yarn.lock alone says too little"},
		"pnpm, old":      {files{"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, "version 6.0"},
		"pnpm, no YAML":  {files{"pnpm-lock.yaml": "a: [\n"}, "pnpm-lock.yaml cannot be read"},
		"pnpm, empty":    {files{"pnpm-lock.yaml": ""}, "pnpm-lock.yaml cannot be read"},
		"pnpm, other":    {files{"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "asks for a@1 and pnpm-lock.yaml for a@nothing: run pnpm"},
		"pnpm, git":      {pnpm("https://codeload.example/x", ""), "not from a registry"},
		"pnpm, outside":  {pnpm("link:../x", ""), "a comes from ../x, which is not in the function"},
		"pnpm, dangling": {pnpm("1.0.0", "packages: {}\n"), "no snapshot of a@1.0.0"},
		"pnpm, digest":   {pnpm("1.0.0", "packages: {a@1.0.0: {resolution: {}}}\nsnapshots: {a@1.0.0: {}}\n"), "pnpm-lock.yaml has no digest of a@1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.files.with("package.json", `{"dependencies":{"a":"1"}}`).with("index.js", nodeEcho)
			if e := w.put(t, "node-bad-lock", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity); !strings.Contains(e.Message, c.say) {
				t.Errorf("%s", e.Message)
			}
		})
	}
}

// What is imported when the handler's file is, and nothing else, is told.
func TestNodeImports(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	dependencies := map[string]string{"alias": "npm:real@1.0.0"}
	for _, name := range []string{"top", "lazy", "maybe", "later", "deep", "esm", "typed", "dynamic", "real"} {
		r.add(name, "1.0.0", nil, files{"index.js": "module.exports = 1;", "sub.js": "module.exports = 2;"})
		if name != "real" {
			dependencies[name] = "1.0.0"
		}
	}
	manifest, err := json.Marshal(map[string]any{"dependencies": dependencies})
	if err != nil {
		t.Fatal(err)
	}
	w := r.worker(t)
	for name, c := range map[string]struct {
		files files
		want  string
	}{
		"commonjs": {files{"index.js": `
const top = require('top/sub'), fs = require('fs');
require('./lib.js'); require('nowhere-to-be-found'); require('alias'); const soon = import('esm');
if (top) { require('maybe'); import('maybe'); }
try { require('maybe'); } catch {}
exports.handler = async () => { require('lazy'); await import('dynamic'); };`, "lib.js": "exports.deep = require('deep').x;\nclass A { m() { require('lazy'); } }"}, "top@1.0.0/sub real@1.0.0 deep@1.0.0 import:esm@1.0.0"},
		"modules": {files{"index.mjs": `
import 'esm'; import fs from 'node:fs'; import './lib.cjs'; export * from 'top'; const later = await import('later'); try { await import('maybe'); } catch {}
export const handler = async () => import('dynamic');`, "lib.cjs": "module.exports = require('deep');"}, "deep@1.0.0 import:esm@1.0.0 import:top@1.0.0 import:later@1.0.0"},
		"typescript": {files{"index.ts": `
import type { T } from 'typed'; import top from 'top'; import { unused } from 'later';
export const handler = async (e: T): Promise<unknown> => [top, await import('dynamic'), require('lazy')];`}, "top@1.0.0"},
		"syntax": {files{"index.js": "const = 1; require('top');"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fn := w.force(t, name, c.files.with("package.json", string(manifest)))
			want := strings.Fields(c.want)
			slices.Sort(want)
			if got := slices.Sorted(slices.Values(fn.Imports)); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
	// What a condition has let through is told by the instance that has seen it, by the same kind of name.
	// Node.js 20 does not tell what is imported.
	w.deploy(t, "conditions", files{"index.js": "if (process.env) require('maybe');\n" + nodeEcho, "package.json": string(manifest)})
	w.deploy(t, "imports", files{"index.mjs": "if (process.env) await Promise.all([import('maybe'), import('alias'), import('esm/sub.js')]);\n" +
		"export const handler = async () => process.pid;", "package.json": string(manifest), "pipsqueak.yaml": "runtime: node22\n"})
	for name, want := range map[string][]string{"conditions": {"maybe@1.0.0"}, "imports": {"import:esm@1.0.0/sub.js", "import:maybe@1.0.0", "import:real@1.0.0"}} {
		w.run(t, name, `{}`)
		eventually(t, patience, "the worker has learned what "+name+" imports", func() bool {
			return slices.Equal(slices.Sorted(slices.Values(w.function(t, name).Loaded)), want)
		})
	}
}

// Archives that reach outside of their package, or are none.
func TestNodeBadArchives(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	packed := func(headers ...tar.Header) []byte {
		var out bytes.Buffer
		zipped := gzip.NewWriter(&out)
		w := tar.NewWriter(zipped)
		for _, h := range append(headers, tar.Header{Name: "package/index.js", Typeflag: tar.TypeReg}) {
			h.Mode = 0o6777
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := zipped.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	good := packed()
	w := r.worker(t)
	for name, c := range map[string]struct {
		archive []byte
		refused bool
	}{
		"links":   {packed(tar.Header{Name: "package/out", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "package/hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), false},
		"upwards": {packed(tar.Header{Name: "package/../../../up", Typeflag: tar.TypeReg}), true},
		"device":  {packed(tar.Header{Name: "package/null", Typeflag: tar.TypeChar}), false},
		"cut":     {good[:len(good)-20], true},
		"no tar":  {[]byte("hello"), true},
		"nothing": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			id := "bad-" + strings.ReplaceAll(name, " ", "-")
			integrity := r.publish(id, "1.0.0", map[string]any{"name": id, "version": "1.0.0"}, c.archive)
			a := w.put(t, id, files{"index.js": "exports.handler = () => require('fs').readdirSync(require('path').dirname(require.resolve('" + id + "')));", "package.json": `{"dependencies":{"` + id + `":"1"}}`,
				"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"` + id + `":"1"}},"node_modules/` + id + `":{"version":"1.0.0","integrity":"` + integrity + `"}}}`})
			if c.refused {
				if e := a.expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity); !strings.Contains(e.Message, id+"@1.0.0") {
					t.Errorf("%s", e.Message)
				}
				return
			}
			if got := result[[]string](t, w, id, `{}`); !slices.Equal(got, []string{"index.js"}) {
				t.Errorf("%v: it has the files %v", a, got)
			}
		})
	}
}

// Resolving runs no code of the function: not by scripts of its own, nor of what it names in its directory,
// nor by git, for which a directory can name programs. And a repository is reported as what it is.
func TestNodeResolveRunsNothing(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	w := r.worker(t)
	tell := fmt.Sprintf("#!/bin/sh\nhttp_proxy=http://%s exec /usr/bin/python3 -c 'import urllib.request; urllib.request.urlopen(\"%s/somebody-ran\")'\n", core.RelayAddress, r.URL)
	scripts := `"scripts":{"preinstall":"./tell","install":"./tell","postinstall":"./tell","prepare":"./tell","prepack":"./tell"}`
	f := files{"index.js": nodeEcho, "tell*": tell, "own/tell*": tell, "own/package.json": `{"name":"own","version":"1.0.0",` + scripts + `}`,
		".npmrc": "git=/function/tell\nscript-shell=/function/tell\nignore-scripts=false\n", ".git/HEAD": "ref: refs/heads/main\n", ".git/objects/x": "", ".git/refs/x": "",
		".git/config": "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = /function/tell\n[protocol \"ext\"]\n\tallow = always\n[url \"ext::/function/tell \"]\n\tinsteadOf = ssh://git@host.example/\n"}
	r.add("asks", "1.0.0", map[string]any{"scripts": map[string]string{"install": strings.TrimPrefix(tell, "#!/bin/sh\n")}}, files{"index.js": ""})
	heard := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.asked["/somebody-ran"] > 0
	}
	for name, says := range map[string]string{"npm:asks@1.0.0": "", "git+ssh://git@host.example/x.git": "repository", "file:own": "", "file:.": "", "git+file:///function/.git": "repository"} {
		a := w.put(t, "runs-nothing", f.with("package.json", `{"dependencies":{"own":"`+name+`"},`+scripts+`}`))
		if heard() {
			t.Fatalf("%s: code of it ran: %s", name, a.body)
		}
		if !strings.Contains(string(a.body), says) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	w.put(t, "runs", f.with("package.json", `{"dependencies":{"asks":"1.0.0"}}`).with("pipsqueak.yaml", "allow_scripts: [asks]\n"))
	if !heard() {
		t.Error("what would run does not tell, so nothing was seen here")
	}
}

// What the driver is asked for may be longer than an argument of a program can be.
func TestNodeManyPackages(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	dependencies := map[string]string{}
	for i := range 250 {
		name := fmt.Sprintf("many-%d-%s", i, strings.Repeat("x", 180))
		r.add(name, "1.0.0", nil, files{"index.js": ""})
		dependencies[name] = "1.0.0"
	}
	manifest, err := json.Marshal(map[string]any{"dependencies": dependencies})
	if err != nil {
		t.Fatal(err)
	}
	if fn := r.worker(t).deploy(t, "many", files{"index.js": nodeEcho, "package.json": string(manifest)}); len(fn.Packages) != len(dependencies) {
		t.Errorf("it has %d packages", len(fn.Packages))
	}
}
