package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestAsks has packages look in every way for others that they do not require, and finds for which.
func TestAsks(t *testing.T) {
	try := func(code string) string { return "try { " + code + " } catch {}\n" }
	packages := []drivertest.Probed{
		{Name: "there", Source: "module.exports = 1;"},
		{Name: "finds", Source: "require('there'); require('node:fs'); require('path'); require('./index.js'); require('punycode/');" + try("require('./nowhere')") + try("require('/nowhere')") + try("require('node:nowhere')")},
		{Name: "misses", Source: try("require('gone')") + try("require('@scope/name/deep/file.js')") + try("require.resolve('resolved/package.json')") +
			try("require('module').createRequire(__filename)('created')") + try("require.resolve('elsewhere', { paths: ['/tmp'] })")},
		{Name: "imports", Source: "import('imported').catch(() => {}); import('there'); import('node:fs'); import('./nowhere.js').catch(() => {});"},
		{Name: "through", Source: "require('helper');"}, // which is none of the probed packages
		{Name: "replaces", Source: "const Module = require('module'), { _resolveFilename: was } = Module;\nModule._resolveFilename = function (...a) { return was.apply(this, a); };" + try("require('behind')")},
		{Name: "raises", Source: "Object.defineProperty(Error.prototype, 'code', { get() { throw 1; }, set() {}, configurable: true });" + try("require('odd')") + "delete Error.prototype.code;"},
	}
	files := map[string]string{"node_modules/helper/index.js": try("require('helped')"), "node_modules/punycode/index.js": ""}
	for _, p := range packages {
		files["node_modules/"+p.Name+"/index.js"] = p.Source
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		found := h.Probe(t, packages)
		for name, want := range map[string]string{"there": "", "finds": "", "misses": "@scope/name created elsewhere gone resolved", "imports": "imported", "through": "helped", "replaces": "behind"} {
			if got := strings.Join(found[name].Asks, " "); got != want {
				t.Errorf("%s asks for %q, want %q", name, got, want)
			}
		}
	})
}

// TestAsksForFiles has packages look in every way for what an instance could have in its working directory,
// and what one process alone has.
func TestAsksForFiles(t *testing.T) {
	try := func(code string) string { return "try { " + code + " } catch {}\n" }
	const fs = "const fs = require('fs'), path = require('path');\n"
	cases := map[string]struct{ source, asks string }{
		"elsewhere": {fs + "fs.readFileSync(__filename); fs.existsSync('/etc/passwd'); fs.readdirSync(__dirname); fs.existsSync('..'); fs.existsSync('../functions'); fs.writeFileSync('/tmp/x', 'config'); fs.renameSync('/tmp/x', '/tmp/y'); fs.closeSync(fs.openSync('/tmp/y', 'r'));", ""},
		"place":     {fs + "fs.statSync('.'); fs.realpathSync('/function'); process.chdir('/function'); path.resolve('/config'); fs.existsSync('');", ""},
		"sync": {fs + try("fs.readFileSync('read.txt')") + try("fs.openSync(path.resolve('open', 'deep'))") + "fs.existsSync('exists'); fs.statSync('/function/stat', { throwIfNoEntry: false });" +
			try("fs.lstatSync(Buffer.from('lstat'))") + try("fs.accessSync(new URL('file:///function/access'))") + try("fs.readdirSync('./listed/')") + try("fs.realpathSync.native('real')") + try("fs.copyFileSync(__filename, '../function/copied')"),
			". ./access ./copied ./exists ./listed ./lstat ./open ./read.txt ./real ./stat"},
		"callback":    {fs + "fs.readFile('read', () => {}); fs.exists('exists', () => {}); require('util').promisify(fs.exists)('custom'); fs.realpath.native('real', () => {});", "./custom ./exists ./read ./real"},
		"promises":    {"const { readFile, stat } = require('fs/promises'); readFile('config/default.json').catch(() => {}); stat('stat').catch(() => {}); require('node:fs').promises.access('access').catch(() => {});", "./access ./config ./stat"},
		"streams":     {fs + "fs.createReadStream('in').on('error', () => {}); new fs.ReadStream('made').on('error', () => {}); fs.createWriteStream('out').on('error', () => {});", "./in ./made ./out"},
		"cwd":         {"exports.place = process.cwd();", "."},
		"resolves":    {fs + "exports.place = path.resolve('config');", "."},
		"globs":       {fs + "fs.globSync?.('config/*.json'); " + try("fs.globSync(['/etc/*.conf', '/tmp/x'], { cwd: 1n })"), "./config"},
		"lists":       {fs + "fs.readdirSync('.');", "./"},
		"opens":       {fs + "fs.opendirSync('/function').closeSync();", "./"},
		"modules":     {try("require('/function/given.json')") + try("require(require('path').resolve('plain'))") + try("require.resolve('./named.js', { paths: [process.cwd()] })"), ". ./given.json ./given.json.js ./given.json.json ./given.json.node ./named.js ./named.js.js ./named.js.json ./named.js.node ./plain ./plain.js ./plain.json ./plain.node"},
		"directory":   {try("require('/function')"), "./"},
		"addresses":   {"import(require('url').pathToFileURL(require('path').resolve('config/x.mjs'))).catch(() => {});", ". ./config"},
		"env":         {try("process.loadEnvFile()") + try("process.loadEnvFile('own.env')"), "./.env ./own.env"},
		"keeps":       {"const { existsSync } = require('fs'); exports.look = (file) => existsSync(file);", ""},
		"calls":       {"require('keeps').look('kept');", "./kept"},
		"names":       {"exports.imported = import('named').catch(() => {});", "./named-import"},
		"pid":         {"exports.pid = process.pid;", "@pid"},
		"pids":        {"const { pid, argv } = process;", "@argv @pid"},
		"pid-esm":     {"exports.imported = import('process-esm').catch(() => {});", ""},
		"uptime":      {"exports.start = Date.now() / 1000 - process.uptime();", "@uptime"},
		"uptime-kept": {"exports.up = process.uptime; exports.later = () => process.uptime();", ""},
		"signal-exit": {"exports.whole = typeof process.pid === 'number';", ""},
		"pid-later":   {"exports.pid = () => process.pid; process.emitWarning('node writes it');", ""},
		"main":        {"require.main === module || require.main.require; exports.file = require.main.filename;", "@require.main"},
		"caller":      {"exports.root = require('path').dirname(module.parent.filename);", "@caller"},
		"caller-asks": {"exports.root = module.parent.require('path');", "@caller"},
		"caller-ends": {"let last = module; while (last.parent) last = last.parent; exports.paths = last.paths;", "@caller"},
		"called":      {"if (!module.parent || module.parent === require.main) throw 1; require('there-again'); exports.later = () => module.parent.filename;", ""},
		"compares":    {"exports.alone = require.main === module || process.mainModule === module || require.main.children.length;", ""},
		"unreadable":  {fs + try("fs.readFileSync(-1)") + try("fs.readFileSync({ href: 1 })") + try("fs.readFileSync(null)") + "const { cwd } = process; process.cwd = () => { throw 1; };" + try("fs.existsSync('x')") + "process.cwd = cwd;", "./x"},
		"prepares":    {"Error.prepareStackTrace = (error, sites) => sites; process.env.X; process.pid; delete Error.prepareStackTrace;", "@pid"},
	}
	files := map[string]string{"node_modules/there-again/index.js": "module.parent.filename;", "node_modules/named/package.json": `{"type":"module","exports":"./x.js"}`, "node_modules/process-esm/index.js": "", "node_modules/process-esm/package.json": `{"type":"module","exports":"./x.js"}`, "node_modules/process-esm/x.js": "import process from 'node:process'; process.platform;",
		"node_modules/named/x.js": "import { existsSync } from 'fs'; existsSync('named-import');"}
	var packages []drivertest.Probed
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		files["node_modules/"+name+"/index.js"] = cases[name].source
		told := ""
		if slices.Contains([]string{"callback", "promises", "streams"}, name) {
			told = "thread"
		}
		packages = append(packages, drivertest.Probed{Name: name, Source: cases[name].source, Told: told})
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		found := h.Probe(t, packages)
		for name, c := range cases {
			if name == "globs" && h.Runtime.ID == "node20" { // which has no such function
				continue
			}
			if got := strings.Join(found[name].Asks, " "); got != c.asks {
				t.Errorf("%s asks for %q, want %q", name, got, c.asks)
			}
		}
	})
}
