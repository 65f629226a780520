package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What else than a registry can a package of npm come from, and what is told of it?

// TestNodeSources: what is not a registry's package nor a directory of the function is refused, and the
// refusal names it.
func TestNodeSources(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("leaf", "1.0.0", nil, files{"index.js": "module.exports = 'leaf';"})
	w := r.worker(t)
	asks := func(spec string) files {
		return files{"package.json": `{"name":"root","dependencies":{"own":"` + spec + `"}}`}
	}
	npm := func(spec, entries string) files {
		return asks(spec).with("package-lock.json", `{"lockfileVersion":3,"packages":{"":{"dependencies":{"own":"`+spec+`"}},`+entries+`}}`)
	}
	pnpm := func(spec, version, more string) files {
		return asks(spec).with("pnpm-lock.yaml", "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      own: {specifier: '"+spec+"', version: '"+version+"'}\n"+more)
	}
	own := `{"name":"own","version":"1.0.0"}`
	for name, c := range map[string]struct {
		files files
		say   []string // all of them in the message; nothing for what is taken
	}{
		"a directory":              {asks("file:lib").with("lib/package.json", own), nil},
		"without package.json":     {asks("file:lib").with("lib/index.js", ""), nil},
		"no directory":             {asks("file:nowhere"), []string{"own", "nowhere", "no such directory"}},
		"outside":                  {asks("file:../own"), []string{"own"}},
		"link":                     {asks("link:lib").with("lib/package.json", own), []string{"link:"}},
		"workspace":                {asks("workspace:*"), []string{"workspace:"}},
		"git":                      {asks("git+https://host.example/own.git"), []string{"repository"}},
		"GitHub":                   {asks("somebody/own"), []string{"repository"}},
		"archive":                  {asks("file:own.tgz").with("own.tgz", string(files{"package/package.json": own}.archive(t))), []string{"own", "own.tgz"}},
		"no archive":               {asks("file:own.tgz"), []string{"own.tgz"}},
		"address":                  {asks(r.URL + "/own.tgz"), []string{"own.tgz"}},
		"lock, no directory":       {npm("file:nowhere", `"node_modules/own":{"resolved":"nowhere","link":true},"nowhere":{}`), []string{"own", "nowhere", "no such directory"}},
		"lock, outside":            {npm("file:../own", `"node_modules/own":{"resolved":"../own","link":true},"../own":{}`), []string{"own", "../own", "not in the function"}},
		"lock, archive":            {npm("file:own.tgz", `"node_modules/own":{"version":"1.0.0","resolved":"file:own.tgz","integrity":"sha512-AAAA"}`), []string{"own", "file:own.tgz"}},
		"lock, git":                {npm("git+ssh://git@host.example/own.git", `"node_modules/own":{"version":"1.0.0","resolved":"git+ssh://git@host.example/own.git#0000"}`), []string{"own", "git+ssh:"}},
		"lock, address":            {npm("https://host.example/own.tgz", `"node_modules/own":{"version":"1.0.0","resolved":"https://host.example/own.tgz","integrity":"sha512-AAAA"}`), []string{"own", "https://host.example/own.tgz"}},
		"lock, no workspace":       {npm("1.0.0", `"node_modules/own":{"resolved":"packages/own","link":true},"packages/own":{"version":"1.0.0"}`), []string{"own", "packages/own", "no such directory"}},
		"lock, stale workspace":    {npm("file:lib", `"node_modules/own":{"resolved":"lib","link":true},"lib":{"dependencies":{"leaf":"^1.0.0"}}`).with("lib/package.json", own), []string{"lib/package.json asks for leaf@nothing"}},
		"lock, vendored workspace": {npm("file:lib", `"node_modules/own":{"resolved":"lib","link":true},"lib":{"dependencies":{"leaf":"1.0.0"}},"lib/node_modules/leaf":{"version":"1.0.0","integrity":"sha512-`+strings.Repeat("A", 86)+`=="}`).with("lib/package.json", `{"dependencies":{"leaf":"1.0.0"}}`).with("lib/node_modules/leaf/index.js", "").with(".pipsqueakignore", "!node_modules\n"), []string{"lib/node_modules/leaf is in the function"}},
		"newer lock":               {files{"package.json": "{}", "package-lock.json": `{"lockfileVersion":4,"packages":{}}`}, []string{"version 4"}},
		"pnpm, a directory":        {pnpm("link:lib", "link:lib", "").with("lib/package.json", own), nil},
		"pnpm, no directory":       {pnpm("link:lib", "link:lib", ""), []string{"own", "lib", "no such directory"}},
		"pnpm, no file directory":  {pnpm("file:lib", "file:lib", "packages: {'own@file:lib': {resolution: {directory: lib, type: directory}}}\nsnapshots: {'own@file:lib': {}}\n"), []string{"own", "lib", "no such directory"}},
		"pnpm, outside":            {pnpm("link:../own", "link:../own", ""), []string{"own", "../own"}},
		"pnpm, archive":            {pnpm("file:own.tgz", "file:own.tgz", "packages: {'own@file:own.tgz': {resolution: {tarball: 'file:own.tgz', integrity: sha512-AAAA}}}\nsnapshots: {'own@file:own.tgz': {}}\n"), []string{"own", "file:own.tgz"}},
		"pnpm, git":                {pnpm("somebody/own", "https://host.example/own/tar.gz/0000", ""), []string{"own", "https://host.example"}},
		"pnpm, other catalog": {files{"package.json": `{"dependencies":{"leaf":"catalog:"}}`, "pnpm-workspace.yaml": "catalog: {leaf: 1.0.0}\n",
			"pnpm-lock.yaml": "lockfileVersion: '9.0'\ncatalogs: {default: {leaf: {specifier: 0.9.0, version: 0.9.0}}}\nimporters: {.: {dependencies: {leaf: {specifier: 'catalog:', version: 0.9.0}}}}\n"}, []string{"leaf@1.0.0", "leaf@0.9.0"}},
		"pnpm, newer lock":      {files{"package.json": "{}", "pnpm-lock.yaml": "lockfileVersion: '9.1'\n"}, []string{"version 9.1"}},
		"pnpm, workspace alone": {asks("1.0.0").with("pnpm-workspace.yaml", "packages: [lib]\n"), []string{"pnpm-workspace.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.put(t, "sources", c.files.with("index.js", nodeEcho))
			if c.say == nil {
				if a.status/100 != 2 {
					t.Errorf("%v", a)
				}
				return
			}
			e := a.expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
			for _, say := range c.say {
				if !strings.Contains(e.Message, say) {
					t.Errorf("it does not say %q: %s", say, e.Message)
				}
			}
		})
	}
}

// TestNodeWorkspaceChanges: what a directory of the function asks for decides about its packages as what the
// function itself asks for does.
func TestNodeWorkspaceChanges(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := shapesIndex(t)
	w := r.worker(t)
	f := files{"index.js": "const own = require('own-a');\nexports.handler = () => own;", "package.json": `{"workspaces":["a"]}`, "a/index.js": "module.exports = require('leaf');",
		"a/package.json": `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"1.0.0"}}`}
	fn := w.deploy(t, "changes", f)
	if got := result[string](t, w, "changes", `{}`); got != "1.0.0" || strings.Join(fn.Imports, " ") != "leaf@1.0.0" {
		t.Errorf("%s, and it imports %v", got, fn.Imports)
	}
	w.deploy(t, "changes", f.with("a/package.json", `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"2.0.0"}}`))
	if got := result[string](t, w, "changes", `{}`); got != "2.0.0" {
		t.Errorf("then %s", got)
	}
}

// TestNodeBundles: what lies in the archive of a package is looked up like any other, whichever tool made the
// lock file.
func TestNodeBundles(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := shapesIndex(t)
	database := filepath.Join(t.TempDir(), "one.json")
	if err := os.WriteFile(database, []byte(`{"id":"GHSA-test","aliases":["CVE-2099-2"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"npm","name":"@s/inner"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.1"}]}]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NPM_CONFIG_REGISTRY", r.URL+"/")
	w := startWorker(t, t.TempDir(), "--vulnerabilities", database)
	f := files{"index.js": nodeEcho, "package.json": `{"dependencies":{"carrier":"1.0.0"}}`}
	if fn := w.deploy(t, "bundles", f); fn.Vulnerable != core.SeverityCritical {
		t.Errorf("it is %q", fn.Vulnerable)
	}
	out, stderr, err := w.command(t, "", "describe", "bundles")
	if err != nil || !strings.Contains(out, "@s+inner==1.0.0 in carrier==1.0.0+") || !strings.Contains(out, "CVE-2099-2 (GHSA-test), critical 9.8, fixed in 1.0.1") {
		t.Errorf("describe: %v %s %s", err, stderr, out)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, w.data, "--vulnerabilities", database, "--vulnerability-policy", "refuse")
	e := w.put(t, "refused", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
	if !strings.Contains(e.Message, "@s+inner==1.0.0 in carrier==1.0.0+") {
		t.Errorf("%s", e.Message)
	}
}
