package integration

import (
	"runtime"
	"testing"
)

// shape is a project as there are many: what it asks for, and how its directories require each other.
type shape struct {
	name  string
	pnpm  bool // of pnpm alone
	npm   bool // of npm alone
	files files
}

// managers returns whose lock files a shape is tried with: the oldest and the newest of each tool, and every
// version for workspaces, in which the formats differ most.
func (s shape) managers() (all []manager) {
	for _, tool := range []string{"npm", "pnpm"} {
		if tool == "npm" && s.pnpm || tool == "pnpm" && s.npm {
			continue
		}
		versions := managers(tool)
		for i, m := range versions {
			if i == 0 || i == len(versions)-1 || s.name == "workspaces" {
				all = append(all, m)
			}
		}
	}
	return all
}

// shapesIndex is a registry with the packages of the shapes.
func shapesIndex(t testing.TB) *npmIndex {
	r := newNPMIndex(t)
	requiring := func(kind string, names ...string) map[string]any {
		all := map[string]string{}
		for i := 0; i < len(names); i += 2 {
			all[names[i]] = names[i+1]
		}
		return map[string]any{kind: all}
	}
	add := func(name, version string, more map[string]any) {
		r.add(name, version, more, files{"index.js": "module.exports = '" + version + "';"})
	}
	for _, version := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		add("leaf", version, nil)
		add("@s/leaf", version, nil)
		add("host", version, nil)
	}
	add("mid", "1.0.0", requiring("dependencies", "leaf", "^1.0.0"))
	add("mid", "2.0.0", requiring("dependencies", "leaf", "^2.0.0", "@s/leaf", "1.0.0"))
	add("upper", "1.0.0", requiring("dependencies", "mid", "^1.0.0", "leaf", "2.0.0"))
	add("round", "1.0.0", requiring("dependencies", "about", "1.0.0"))
	add("about", "1.0.0", requiring("dependencies", "round", "1.0.0", "leaf", "1.0.0"))
	add("plugin", "1.0.0", requiring("peerDependencies", "host", "1 || 2"))
	add("plugins", "1.0.0", requiring("dependencies", "plugin", "1.0.0", "host", "1.0.0"))
	may := requiring("peerDependencies", "host", "*", "leaf", "*")
	may["peerDependenciesMeta"] = map[string]any{"host": map[string]any{"optional": true}}
	add("may", "1.0.0", may)
	cpu := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	add("native", "1.0.0", requiring("optionalDependencies", "native-linux", "1.0.0", "native-mac", "1.0.0", "native-musl", "1.0.0", "native-wrapped", "1.0.0", "native-other", "1.0.0"))
	r.add("native-linux", "1.0.0", map[string]any{"os": []string{"linux"}, "cpu": []string{cpu}, "libc": []string{"glibc"}, "dependencies": map[string]any{"only-linux": "1.0.0"}}, nil)
	r.add("native-musl", "1.0.0", map[string]any{"os": []string{"linux"}, "libc": []string{"musl"}, "dependencies": map[string]any{"only-mac": "1.0.0"}}, nil)
	r.add("native-mac", "1.0.0", map[string]any{"os": []string{"darwin"}, "dependencies": map[string]any{"only-mac": "1.0.0"}}, nil)
	r.add("native-other", "1.0.0", map[string]any{"cpu": []string{"!" + cpu}, "dependencies": map[string]any{"only-mac": "1.0.0"}}, nil)
	add("native-wrapped", "1.0.0", requiring("optionalDependencies", "native-mac", "1.0.0", "only-linux", "1.0.0"))
	add("only-linux", "1.0.0", nil)
	add("only-mac", "1.0.0", requiring("dependencies", "only-mac-too", "1.0.0"))
	add("only-mac-too", "1.0.0", nil)
	add("inner", "1.0.0", nil)
	add("inner", "1.2.0", nil)
	carrier := requiring("dependencies", "inner", "^1.0.0", "@s/inner", "1.0.0", "mid", "1.0.0")
	carrier["bundleDependencies"] = []string{"inner", "@s/inner"}
	// What lies in it requires something that neither it nor the archive names.
	r.add("carrier", "1.0.0", carrier, files{"index.js": "", "node_modules/inner/package.json": `{"name":"inner","version":"1.0.0","dependencies":{"leaf":"2.0.0"}}`,
		"node_modules/inner/node_modules/deep/package.json": `{"name":"deep","version":"0.0.1"}`, "node_modules/@s/inner/package.json": `{"name":"@s/inner","version":"1.0.0"}`})
	carries := requiring("dependencies", "inner", "^1.0.0", "leaf", "1.0.0")
	carries["bundleDependencies"] = []string{"inner"}
	r.add("carries", "1.0.0", carries, files{"index.js": "", "node_modules/inner/package.json": `{"name":"inner","version":"1.0.0","dependencies":{"leaf":"1.0.0"}}`})
	return r
}

const twoWorkspaces = `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"2.0.0","own-b":"1.0.0","upper":"1.0.0"}}`

var shapes = []shape{
	{name: "workspaces", npm: true, files: files{
		"package.json":            `{"name":"root","workspaces":["packages/*"],"dependencies":{"leaf":"1.1.0"},"devDependencies":{"mid":"2.0.0"}}`,
		"packages/a/package.json": twoWorkspaces,
		"packages/b/package.json": `{"name":"own-b","version":"1.0.0","dependencies":{"leaf":"1.0.0","mid":"1.0.0"},"devDependencies":{"host":"1.0.0"}}`}},
	{name: "workspaces only", npm: true, files: files{
		"package.json":            `{"name":"root","workspaces":{"packages":["packages/a"]}}`,
		"packages/a/package.json": `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"1.0.0"}}`}},
	{name: "workspaces", pnpm: true, files: files{
		"package.json":            `{"name":"root","dependencies":{"leaf":"1.1.0","own-a":"workspace:*"},"devDependencies":{"mid":"2.0.0"}}`,
		"pnpm-workspace.yaml":     "packages: ['packages/*']\n",
		"packages/a/package.json": `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"2.0.0","own-b":"workspace:^","upper":"1.0.0"}}`,
		"packages/b/package.json": `{"name":"own-b","version":"1.0.0","dependencies":{"leaf":"1.0.0","mid":"1.0.0"},"devDependencies":{"host":"1.0.0"}}`}},
	{name: "directories", files: files{
		"package.json":       `{"name":"root","dependencies":{"leaf":"2.0.0","own-a":"file:lib/a"}}`,
		"lib/a/package.json": `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"1.0.0","own-b":"file:../b"}}`,
		"lib/b/package.json": `{"name":"own-b","version":"1.0.0","dependencies":{"mid":"1.0.0","@s/leaf":"1.1.0"}}`}},
	{name: "aliases", files: files{
		"package.json": `{"name":"root","dependencies":{"leaf":"1.1.0","old":"npm:leaf@1.0.0","new":"npm:@s/leaf@2.0.0","mid":"1.0.0"}}`}},
	{name: "overrides", npm: true, files: files{
		"package.json": `{"name":"root","dependencies":{"leaf":"2.0.0","mid":"1.0.0","upper":"1.0.0"},"overrides":{"mid":{"leaf":"1.0.0"},"upper":{"leaf":"$leaf"}}}`}},
	{name: "overrides", pnpm: true, files: files{
		"package.json":        `{"name":"root","dependencies":{"leaf":"^1.0.0","mid":"1.0.0","upper":"1.0.0","host":"^1.0.0"}}`,
		"pnpm-workspace.yaml": "packages: []\noverrides:\n  leaf@^1: 1.0.0\n  upper>leaf: 1.1.0\n  host: 2.0.0\n"}},
	{name: "catalogs", pnpm: true, files: files{
		"package.json":            `{"name":"root","dependencies":{"leaf":"catalog:","own-a":"workspace:*"}}`,
		"pnpm-workspace.yaml":     "packages: ['packages/*']\ncatalog: {leaf: 2.0.0}\ncatalogs: {old: {leaf: ^1.0.0, mid: 1.0.0}}\n",
		"packages/a/package.json": `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"catalog:old","mid":"catalog:old"}}`}},
	{name: "injected", pnpm: true, files: files{
		"package.json":            `{"name":"root","dependencies":{"leaf":"2.0.0","own-a":"workspace:*"},"dependenciesMeta":{"own-a":{"injected":true}}}`,
		"pnpm-workspace.yaml":     "packages: ['packages/*']\n",
		"packages/a/package.json": `{"name":"own-a","version":"1.0.0","dependencies":{"leaf":"1.0.0"}}`}},
	{name: "peer of the workspace", pnpm: true, files: files{
		"package.json":            `{"name":"root","dependencies":{"plugin":"1.0.0","host":"workspace:*"}}`,
		"pnpm-workspace.yaml":     "packages: ['packages/*']\n",
		"packages/h/package.json": `{"name":"host","version":"1.0.0","dependencies":{"leaf":"1.0.0"}}`}},
	{name: "peers", files: files{
		"package.json": `{"name":"root","dependencies":{"plugin":"1.0.0","host":"2.0.0","plugins":"1.0.0","may":"1.0.0"}}`}},
	{name: "peers of its own", files: files{
		"package.json": `{"name":"root","dependencies":{"leaf":"1.0.0"},"peerDependencies":{"host":"^1.0.0","mid":"2.0.0"},"peerDependenciesMeta":{"mid":{"optional":true}}}`}},
	{name: "peers for development", files: files{
		"package.json": `{"name":"root","dependencies":{"mid":"1.0.0"},"peerDependencies":{"host":"^1.0.0","plugin":"1.0.0"},"peerDependenciesMeta":{"host":{"optional":true}},"devDependencies":{"host":"1.0.0","plugin":"1.0.0"}}`}},
	{name: "optional", files: files{
		"package.json": `{"name":"root","dependencies":{"native":"1.0.0"},"optionalDependencies":{"native-mac":"1.0.0","leaf":"1.0.0"}}`}},
	{name: "both", files: files{
		"package.json": `{"name":"root","dependencies":{"leaf":"1.0.0","mid":"1.0.0"},"optionalDependencies":{"leaf":"1.1.0"},"devDependencies":{"mid":"1.0.0"}}`}},
	{name: "nested", files: files{
		"package.json": `{"name":"root","dependencies":{"mid":"2.0.0","upper":"1.0.0","round":"1.0.0","leaf":"1.1.0"},"devDependencies":{"plugin":"1.0.0"}}`}},
	{name: "bundled", npm: true, files: files{
		"package.json": `{"name":"root","dependencies":{"carrier":"1.0.0","inner":"1.2.0","leaf":"2.0.0"}}`}},
	{name: "bundled", pnpm: true, files: files{ // whose lock file does not say what a bundled package requires
		"package.json": `{"name":"root","dependencies":{"carries":"1.0.0","inner":"1.2.0","leaf":"2.0.0"}}`}},
	{name: "bundles itself", files: files{
		"package.json": `{"name":"root","version":"1.0.0","dependencies":{"mid":"1.0.0","leaf":"2.0.0"},"bundleDependencies":["mid"]}`}},
}
