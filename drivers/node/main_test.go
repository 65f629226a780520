package main

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestMainModule has handlers find their own directory by require.main, as packages do, and as the working directory, and not be taken for a program that is to run: whatever the
// instance was forked from.
func TestMainModule(t *testing.T) {
	files := map[string]string{
		"handler.js": `
const { existsSync } = require('fs');
if (require.main === module || !module.parent) throw new Error('a server would start');
const atImport = [require.main.filename, require.main.path, require.main.paths[0], process.mainModule === require.main, require.main.require('./beside')];
const program = process.argv[1];
exports.handler = async () => [...atImport, process.cwd(), process.argv.length, existsSync(program), program === __filename, process.execArgv];`,
		"beside.js": "module.exports = require.main.filename;",
		"src/handler.mjs": `
import { createRequire } from 'module';
import { fileURLToPath, pathToFileURL } from 'url';
import { argv } from 'process';
if (import.meta.main || import.meta.url === 'file://' + argv[1] || import.meta.url === pathToFileURL(argv[1]).href || argv[1] === fileURLToPath(import.meta.url)) throw new Error('a server would start');
const { main } = createRequire(import.meta.url)('./asks.cjs');
export const handler = async () => [main.filename, main.path, argv.length];`,
		"src/asks.cjs": "exports.main = require.main;",
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		for i, zygote := range generations(t, h) {
			for handler, want := range map[string]string{
				"handler.handler":     `R["/function/handler.js","/function","/function/node_modules",true,"/function/handler.js","/function",2,true,false,[]]`,
				"src/handler.handler": `R["/function/src/handler.mjs","/function/src",2]`,
			} {
				if got := drivertest.Ask(t, h.Instance(t, zygote, nil, func(load *core.HandlerLoad) { load.Handler = handler }), "1"); got != want {
					t.Errorf("generation %d, %s: %s, want %s", i, handler, got, want)
				}
			}
		}
	})
}
