package main

import (
	"encoding/json"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestHandlerForms has the forms that a handler of AWS Lambda may have: where it is, how it is exported, and
// how it answers.
func TestHandlerForms(t *testing.T) {
	files := map[string]string{
		"app/main.js":  "exports.run = (event) => ['app/main', event];",
		"app/b.c.js":   "exports.run = (event) => ['b.c', event];",
		"app.dots.js":  "exports.run = (event) => ['app.dots', event];",
		"app/dots.js":  "exports.run = (event) => ['app/dots', event];",
		"named.mjs":    "export async function handler(event) { return ['named', event]; }\nexport default () => 0;",
		"default.mjs":  "export default async (event) => ['default', event];",
		"object.mjs":   "export default { handler(event) { return ['object', event, this.handler === undefined]; } };",
		"alone.js":     "module.exports = async (event) => ['alone', event];",
		"compiled.js":  "Object.defineProperty(exports, '__esModule', { value: true });\nexports.default = (event) => ['compiled', event];",
		"done.js":      "exports.handler = (event, context) => { setInterval(() => {}, 1000); setTimeout(() => context.done(null, ['done', event]), 2); };",
		"succeed.js":   "exports.handler = (event, context) => { Promise.resolve(['succeed', event]).then(context.succeed, context.fail); };",
		"fail.js":      "exports.handler = (event, context) => { Promise.reject(new RangeError('no')).then(context.succeed, context.fail); };",
		"failed.js":    "exports.handler = (event, context) => { context.fail(); };",
		"text.js":      "exports.handler = (event, context, callback) => { callback('text'); };",
		"twice.js":     "exports.handler = (event, context, callback) => { context.succeed(1); context.succeed(2); callback(null, 3); };",
		"returns.js":   "exports.handler = (event, context, callback) => { setTimeout(callback, 2, null, ['returns', event]); return 5; };",
		"rest.js":      "exports.handler = (...all) => { ((event, context, callback) => { setTimeout(callback, 2, null, ['rest', event]); })(...all); };",
		"arguments.js": "exports.handler = function () { arguments[1].succeed(['arguments', arguments[0]]); };",
		"both.js":      "exports.handler = async (event, context, callback) => { callback(null, 'called'); await null; return 'returned'; };",
		"quick.js":     "exports.handler = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, 1); };",
		"one.js":       "exports.handler = (event) => { setInterval(() => {}, 1000); };",
		"nothing.js":   "exports.handler = (event, context) => { setTimeout(() => {}, 2); };",
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		root := h.Root(t)
		for handler, want := range map[string]string{
			"app.main.run": `R["app/main",7]`, "app/main.run": `R["app/main",7]`, "app/b.c.run": `R["b.c",7]`, "app.dots.run": `R["app.dots",7]`,
			"named.handler": `R["named",7]`, "named.default": "R0", "default.handler": `R["default",7]`, "object.handler": `R["object",7,false]`,
			"alone.handler": `R["alone",7]`, "compiled.handler": `R["compiled",7]`,
			"done.handler": `R["done",7]`, "succeed.handler": `R["succeed",7]`, "twice.handler": "R1", "both.handler": `R"called"`,
			"returns.handler": `R["returns",7]`, "rest.handler": `R["rest",7]`, "arguments.handler": `R["arguments",7]`, "quick.handler": "R1",
			"one.handler": "Rnull", "nothing.handler": "Rnull",
			"fail.handler": "XRangeError: no", "failed.handler": "XError: context.fail was called", "text.handler": "Xstring: text",
		} {
			s := h.Instance(t, root, nil, func(load *core.HandlerLoad) { load.Handler = handler })
			for range 2 {
				got := drivertest.Ask(t, s, "7")
				if got[0] == 'X' {
					var told core.Exception
					if err := json.Unmarshal([]byte(got[1:]), &told); err != nil {
						t.Fatal(err)
					}
					got = "X" + told.Type + ": " + told.Message
				}
				if got != want {
					t.Errorf("%s: %s, want %s", handler, got, want)
				}
			}
		}
	})
}
