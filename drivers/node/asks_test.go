package main

import (
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
