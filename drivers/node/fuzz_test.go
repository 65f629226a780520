package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// readLocks reads lock files as the installer does. It answers with what is to be installed and linked, or
// with what the user is told.
const readLocks = `
const [install] = process.argv.slice(1);
const [{ Graph }, { npmLock }, { pnpmLock }, { Refused }] = await Promise.all(['lockfile', 'npmlock', 'pnpmlock', 'tools'].map((name) => import(install + '/' + name + '.mjs')));
const { createInterface } = await import('node:readline');
const object = (text) => {
  const content = JSON.parse(text);
  if (content === null || typeof content !== 'object') throw new Refused('install', 'caller', 'it is no object');
  return content;
};
for await (const line of createInterface({ input: process.stdin })) {
  const [npm, lock, manifest] = JSON.parse(line).map((one) => typeof one === 'string' ? Buffer.from(one, 'base64').toString() : one);
  let answer;
  try {
    let own = {};
    try { own = object(manifest); } catch {}
    const of = (directory) => ['', '.'].includes(directory) ? own : directory === 'sub' ? {} : undefined;
    let read;
    try {
      read = new Graph(npm ? npmLock('package-lock.json', object(lock), of) : pnpmLock('pnpm-lock.yaml', lock, undefined, of), ['esbuild']);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) throw new Refused('install', 'caller', error.message);
      throw error;
    }
    answer = { packages: read.locked(), links: read.links(), names: read.names() };
  } catch (error) {
    answer = error instanceof Refused ? error.reply : { kind: 'internal', message: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
`

// FuzzLocks: whatever is in a lock file of npm's or pnpm's, it is refused as the user's fault, or each
// package has a directory of its own and a digest, and each link is in the function and leads to such a
// directory or to one of the function's.
func FuzzLocks(f *testing.F) {
	found, problems := find(f.Context())
	coretest.Requires(f, coretest.Found("Node.js: "+strings.Join(problems, "; "), len(found) > 0))
	const integrity = `"sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="`
	const manifest = `{"dependencies":{"a":"1"}}`
	for _, lock := range []string{
		`{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/a":{"version":"1.0.0","resolved":"https://r/a/-/a-1.0.0.tgz","integrity":` + integrity +
			`,"dependencies":{"@b/c":"2"}},"node_modules/@b/c":{"version":"2.0.0","integrity":` + integrity + `,"optional":true,"os":["!linux"]}}}`,
		`{"lockfileVersion":2,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/a":{"link":true,"resolved":"sub"},"sub":{}}}`,
		`{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/../a":{"version":"1.0.0"},"node_modules/a/node_modules/b":{"version":"../1","inBundle":true}}}`,
		`{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/a":{"version":"1.0.0","resolved":"git+ssh://x","bundleDependencies":["b"]}}}`,
	} {
		f.Add(true, []byte(lock), []byte(manifest))
	}
	for _, lock := range []string{
		"lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a: {specifier: '1', version: 1.0.0}\npackages:\n  a@1.0.0:\n    resolution: {integrity: " + integrity[1:len(integrity)-1] + "}\n" +
			"  b@2.0.0:\n    resolution: {integrity: " + integrity[1:len(integrity)-1] + "}\nsnapshots:\n  a@1.0.0:\n    dependencies: {b: 2.0.0}\n  b@2.0.0: {}\n",
		"lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a: {specifier: '1', version: 'link:sub'}\n",
		"lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a: {specifier: '1', version: 'file:../x'}\nsettings: {autoInstallPeers: true}\n",
		"lockfileVersion: '9.0'\ncatalogs:\n  default:\n    a: {specifier: ^1, version: 1.0.0}\noverrides: {a: '-'}\n",
		"---\na: &a [*a]\n---\nlockfileVersion: 9\n",
	} {
		f.Add(false, []byte(lock), []byte(manifest))
	}
	installer := drivertest.StartLines(f, found[0].Executable, "--input-type=module", "-e", readLocks, "--", filepath.Join(drivertest.Libexec(f), "node", "install"))
	f.Fuzz(func(t *testing.T, npm bool, lock, manifest []byte) {
		var got struct {
			Kind, Fault, Message string
			Packages             []core.Locked
			Links                [][2]string
		}
		installer.Ask(t, []any{npm, lock, manifest}, &got)
		if got.Kind != "" && (got.Kind != "install" || got.Fault != "caller") {
			t.Errorf("%s: %s of %s: %s", lock, got.Kind, got.Fault, got.Message)
		}
		dirs := map[string]bool{}
		for _, p := range got.Packages {
			if len(p.Archives) == 0 || filepath.Base(p.Base()) != p.Base() || strings.HasPrefix(p.Base(), ".") || dirs[p.Base()] {
				t.Errorf("%s: the package %+v", lock, p)
			}
			dirs[p.Base()] = true
		}
		for _, link := range got.Links {
			if !filepath.IsLocal(link[0]) {
				t.Errorf("%s: a link at %s", lock, link[0])
			}
			rest, isPackage := strings.CutPrefix(link[1], "/packages/")
			base, _, _ := strings.Cut(rest, "/")
			if isPackage && !dirs[base] || !isPackage && !filepath.IsLocal(filepath.Join(filepath.Dir(link[0]), link[1])) {
				t.Errorf("%s: a link at %s to %s", lock, link[0], link[1])
			}
		}
	})
}
