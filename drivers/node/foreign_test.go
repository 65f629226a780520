package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// foreign does what the code of its event says.
const foreign = `
const Code = (async () => {}).constructor;
exports.handler = ({ code }, context) => new Code('require', 'context', code)(require, context);`

const untold = "(its text cannot be had)"

// TestForeignErrors throws what throws when it is looked at: the event is answered by an exception, and the
// instance lives.
func TestForeignErrors(t *testing.T) {
	eachVersion(t, map[string]string{"handler.js": foreign}, func(t *testing.T, h *drivertest.House) {
		s := h.Instance(t, h.Root(t), nil)
		for code, want := range map[string][2]string{ // type and message
			"class Sly extends Error { get message() { throw 1; } } throw new Sly();":                                     {"Error", untold},
			"class Sly extends Error { get stack() { throw 1; } } throw new Sly('a');":                                    {"Error", "a"},
			"class Sly extends Error { get name() { throw 1; } get cause() { throw 1; } } throw new Sly('a');":            {"Sly", "a"},
			"throw Object.defineProperty(new Error('a'), 'constructor', { get() { throw 1; } });":                         {"Error", "a"},
			"throw Object.defineProperty(new Error('a'), 'name', { value: Symbol('s') });":                                {"Symbol(s)", "a"},
			"throw Object.assign(new Error(), { message: { toJSON() { throw 1; } } });":                                   {"Error", untold},
			"throw new Proxy(new Error('a'), { get() { throw 1; }, getPrototypeOf() { throw 1; }, has() { throw 1; } });": {"object", untold},
			"throw new Proxy(new Error('a'), {});":                                                                        {"Error", "a"},
			"const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy;":                                   {"object", untold},
			"const { proxy, revoke } = Proxy.revocable(() => {}, {}); revoke(); throw proxy;":                             {"function", untold},
			"throw Symbol('s');":                    {"symbol", "Symbol(s)"},
			"throw undefined;":                      {"undefined", "undefined"},
			"throw 1n;":                             {"bigint", "1"},
			"throw Object.create(null);":            {"object", "{}"},
			"throw Object.create(Error.prototype);": {"Error", ""},
			"throw { toJSON() { throw 1; } };":      {"object", untold},
			"throw { toJSON() {}, [Symbol.toPrimitive]() { throw 1; } };":                                                                                                       {"object", untold},
			"throw Object.assign(() => {}, { toString() { throw 1; } });":                                                                                                       {"function", untold},
			"Error.prepareStackTrace = () => { throw 1; }; throw new TypeError('a');":                                                                                           {"TypeError", "a"},
			"Error.prepareStackTrace = () => [1]; throw new TypeError('a');":                                                                                                    {"TypeError", "a"},
			"Error.stackTraceLimit = 0; throw new TypeError('a');":                                                                                                              {"TypeError", "a"},
			"setTimeout(() => { throw new Proxy({}, { get() { throw 1; } }); }, 1); await new Promise(() => {});":                                                               {"object", untold},
			"Promise.reject({ get message() { throw 1; }, get stack() { throw 1; } }); await new Promise((done) => setTimeout(done, 5));":                                       {"object", untold},
			"process.once('uncaughtException', () => { throw new RangeError('b'); }); setTimeout(() => { throw 1; }, 1); await new Promise(() => {});":                          {"RangeError", "b"},
			"return { get then() { throw new TypeError('a'); } };":                                                                                                              {"TypeError", "a"},
			"await { then() { throw new TypeError('a'); } };":                                                                                                                   {"TypeError", "a"},
			"process.removeAllListeners(); setTimeout(() => { throw new TypeError('a'); }, 1); await new Promise(() => {});":                                                    {"TypeError", "a"},
			"process.removeAllListeners(); await new Promise(() => {});":                                                                                                        {"Error", "the promise of the handler was never settled, and nothing is left to do that could"},
			"const { emit } = process; process.emit = (...args) => emit.apply(process, args); setTimeout(() => { throw new TypeError('a'); }, 1); await new Promise(() => {});": {"TypeError", "a"},
		} {
			asked, _ := json.Marshal(map[string]string{"code": code})
			got := drivertest.Ask(t, s, string(asked))
			var told core.Exception
			if err := json.Unmarshal([]byte(got[1:]), &told); err != nil || got[0] != 'X' || told.Type != want[0] || told.Message != want[1] {
				t.Errorf("%s\n%s, want %q", code, got, want)
			}
			if got := drivertest.Ask(t, s, `{"code":"return 1"}`); got != "R1" {
				t.Errorf("after %s\n%s", code, got)
			}
		}
		for code, want := range map[string]string{
			"const { proxy, revoke } = Proxy.revocable({}, {}); setImmediate(revoke); return [proxy];": `R[{}]`,
			"return { toJSON() { throw new TypeError('a'); } };":                                       "(a Object) cannot be written as JSON: a",
			"return { toJSON() { throw { get message() { throw 1; } }; } };":                           "cannot be written as JSON: ",
			"return { get a() { throw 1; }, get constructor() { throw 2; } };":                         "(a object) cannot be written as JSON: 1",
			"return 1n;": "(a bigint) cannot be written as JSON",
		} {
			asked, _ := json.Marshal(map[string]string{"code": code})
			if got := drivertest.Ask(t, s, string(asked)); !strings.Contains(got, want) {
				t.Errorf("%s\n%s, want %s", code, got, want)
			}
		}
	})
}

// TestDefects has parts of the runtime fail, from within its own realm, while an event is under way: the
// answer says whose fault that is, and the instance ends.
func TestDefects(t *testing.T) {
	const spoil = "const own = callback.constructor('return globalThis')(), fail = () => { throw new own.Error('defect'); };"
	files := map[string]string{"handler.js": `
const spoil = new Function('callback', 'context', 'how', "` + spoil + ` return eval(how)(own, fail);");
exports.handler = (how, context, callback) => { spoil(callback, context, how); };`}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		root := h.Root(t)
		for name, how := range map[string]string{
			"result":    "(own, fail) => { own.String.prototype.includes = fail; setTimeout(callback, 1, null, { a: null }); }",
			"promise":   "(own, fail) => { own.String.prototype.includes = fail; context.succeed([null]); }",
			"exception": "(own, fail) => { own.String.prototype.split = fail; callback(new Error('a')); }",
			"uncaught":  "(own, fail) => { own.String.prototype.split = fail; setTimeout(() => { throw new Error('a'); }, 1); }",
			"idle":      "(own, fail) => { own.String.prototype.includes = fail; setTimeout(() => {}, 1); }",
		} {
			asked, _ := json.Marshal(how)
			s := h.Instance(t, root, nil)
			if got := drivertest.Ask(t, s, string(asked)); !strings.HasPrefix(got, `L{"kind":"internal","message":"the runtime of Node.js failed while it ran an event: Error: defect`) {
				t.Errorf("%s: %s", name, got)
			}
			_ = s.Endpoint().SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := s.Endpoint().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%s: the instance goes on: %d bytes, %v", name, n, err)
			}
		}
	})
}

// spoilt is what packages and handlers do to what all code shares.
var spoilt = map[string]string{
	"json":       "globalThis.JSON = null;",
	"stringify":  "JSON.stringify = JSON.parse = () => { throw 1; };",
	"promise":    "const P = Promise; globalThis.Promise = class extends P { then() { throw 1; } };",
	"buffer":     "globalThis.Buffer = undefined;",
	"timers":     "globalThis.setImmediate = globalThis.setTimeout = () => {};",
	"date":       "Date.now = () => { throw 1; }; performance.now = () => { throw 1; };",
	"array":      "for (const name of ['map', 'filter', 'slice', 'reverse', 'includes', 'find', 'join']) Array.prototype[name] = () => { throw 1; };",
	"string":     "for (const name of ['split', 'slice', 'trim', 'startsWith', 'replace']) String.prototype[name] = () => { throw 1; };",
	"regexp":     "RegExp.prototype.exec = RegExp.prototype.test = () => { throw 1; };",
	"collection": "Map.prototype.get = Map.prototype.set = Set.prototype.add = () => { throw 1; };",
	"to-json":    "Array.prototype.toJSON = Error.prototype.toJSON = () => 'spoilt';",
	"pollution":  "Object.prototype.kind = Object.prototype.error = Object.prototype.stack = 'spoilt';",
	"frozen":     "for (const o of [Object, Array, Function, Promise, Error, JSON, Math, process]) Object.freeze(o.prototype ?? o); Object.freeze(process); Object.freeze(require('crypto'));",
	"files":      "const fs = require('fs'); for (const name of ['existsSync', 'readdirSync', 'readlinkSync', 'writeSync']) fs[name] = () => { throw 1; };",
	"exit":       "process.exit = process.abort = process.reallyExit = () => { throw 1; };",
	"listeners":  "process.removeAllListeners();",
	"env":        "process.env = { ...process.env, SPOILT: '1' };",
	"stdout":     "process.stdout.destroy(); process.stderr.destroy(); console.log('a');",
	"stdout-end": "process.stdout.end('a'); console.log('b');",
	"closed":     "const fs = require('fs'); fs.closeSync(1); fs.closeSync(2); console.log('a'); console.error('b');",
	"function":   "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1; };",
	"emitter":    "require('events').prototype.emit = () => { throw 1; };",
	"setters":    "for (const name of ['awsRequestId', 'functionName', 'invoke', 'fail']) Object.defineProperty(Object.prototype, name, { set() { throw 1; }, configurable: true });",
	"large":      "Buffer.byteLength = () => { throw 1; };",
}

// TestSpoilt has packages, in zygotes, and handlers spoil what the runtime and they share. Events are
// answered as if they had not.
func TestSpoilt(t *testing.T) {
	files := map[string]string{"handler.js": foreign}
	for name, code := range spoilt {
		files["node_modules/"+name+"/index.js"] = code
	}
	fails := `{"code":"throw new TypeError('a' + context.functionName + (context.getRemainingTimeInMillis() > 0))"}`
	answers := func(t *testing.T, s *sandbox.Sandbox, name string) {
		t.Helper()
		want := `R[1,{"a":"b"}]`
		if name == "env" { // a variable that a package sets at import stays
			want = `R[1,{"a":"b","s":"1"}]`
		}
		if got := drivertest.Ask(t, s, `{"code":"return [1, { a: process.env.A, s: process.env.SPOILT }]"}`); got != want && name != "to-json" {
			t.Error(got)
		}
		if got := drivertest.Ask(t, s, fails); !strings.Contains(got, `"type":"TypeError","message":"aftrue"`) {
			t.Error(got)
		}
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		root := h.Root(t)
		for name, code := range spoilt {
			t.Run(name, func(t *testing.T) {
				s := h.Instance(t, root, nil)
				asked, _ := json.Marshal(map[string]string{"code": code})
				if got := drivertest.Ask(t, s, string(asked)); got != "Rnull" {
					t.Errorf("it is answered by %s", got)
				}
				if name != "env" { // which is the handler's to have
					answers(t, s, name)
				}
				set := core.NewSet(core.Package{Name: name, Version: "1", Digest: name})
				zygote, _, err := h.Zygote(t, root, set, name)
				if err != nil {
					t.Fatal(err)
				}
				s = h.Instance(t, zygote, set)
				answers(t, s, name)
				if streams := `{"code":"return awslambda.streamifyResponse(async (e, stream) => { stream.end('a'); })(1, context)"}`; name == "string" || name == "collection" {
					if got := drivertest.Ask(t, s, streams); !strings.Contains(got, `"body":"YQ=="`) {
						t.Error(got)
					}
				}
			})
		}
	})
}
