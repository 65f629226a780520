package main

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

var misbehaving = []drivertest.Probed{
	{Name: "good", Source: "module.exports = Buffer.alloc(8 << 20, 1)"},
	{Name: "above", Source: "require('good')", Requires: []string{"good==1"}},
	{Name: "worker", Source: "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true })", Told: `^starts \d+ threads? .*at import$`},
	{Name: "above-worker", Source: "require('worker')", Requires: []string{"worker==1"}, Told: `^imports worker, which starts \d+ threads? .*at import$`},
	{Name: "reads-later", Source: "require('fs').readFile(__filename, () => {})", Told: `^starts \d+ threads? .*at import$`},
	{Name: "child", Source: "require('child_process').spawn('sleep', ['3600'])", Told: `^leaves 1 process running |ended`},
	{Name: "listens", Source: "require('net').createServer().listen(8080, '127.0.0.1')", Told: `^leaves open .*tcp 127.0.0.1:8080 listening`},
	{Name: "timer", Source: "setInterval(() => {}, 1000)"},
	{Name: "seeded", Source: "let state = Number(process.hrtime.bigint() % 1000003n); exports.random = () => (state = state * 48271 % 2147483647)", Told: "gives the same random numbers"},
	{Name: "flips", Source: "for (const letter of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') exports['random' + letter] = () => Math.floor(Math.random() * 2)"},
	{Name: "flips-alike", Source: "let state = Number(process.hrtime.bigint() % 1000003n); exports.random = () => (state = state * 48271 % 2147483647) & 1", Told: "gives the same random numbers"},
	{Name: "fixed", Source: "let state = 1; exports.random = () => (state = state * 48271 % 2147483647)"},
	{Name: "faker", Source: "let state = Number(process.hrtime.bigint() % 1000003n); exports.seed = (n) => { state = n }; exports.random = () => (state = state * 48271 % 2147483647)"},
	{Name: "pool", Source: "const pool = require('crypto').randomFillSync(new Uint8Array(256)); let at = 0; module.exports = { nanoid: () => String(pool[at++]) + pool[at++] + pool[at++] }"},
	{Name: "object-ids", Source: "const key = Math.random(); let next = Math.floor(Math.random() * 2 ** 24); exports.ObjectId = class { constructor() { this.id = `${Date.now()} ${key} ${next++}`; } toHexString() { return this.id; } }", Told: "gives the same random numbers"},
	{Name: "objectid", Source: "const key = Math.random(); function Id() { this.at = new Date(); } Id.prototype.toString = function () { return `${+this.at} ${key} ${process.pid}`; }; module.exports = () => new Id()", Told: "gives the same random numbers"},
	{Name: "short-ulid", Source: "const key = Math.random(); exports.create = (prefix = '') => `${prefix}${key}`", Told: "gives the same random numbers"},
	{Name: "counts", Source: "const key = Math.random(); let next = 0; exports.generateRequestId = () => `${key}-${next++}`", Told: "gives the same random numbers"},
	{Name: "secret", Source: "const key = Math.random(), { randomBytes } = require('crypto'); exports.sign = () => `${key}`; exports.newId = () => randomBytes(8).toString('hex'); exports.newToken = (a) => a.b + key"},
	{Name: "flake", Source: "exports.SnowflakeId = class { toString() { return `${Date.now()}-7-${process.pid}`; } }"},
	{Name: "endless", Source: "exports.makeId = () => { for (;;); }; exports.newToken = () => process.exit(3); exports.createUuid = async () => { throw 1; }; exports.newNonce = () => Promise.reject(new Error('no'))"},
	{Name: "asks", Source: "process.env.MODE; 'FLAG' in process.env; const { COLOR, ...rest } = { COLOR: process.env.COLOR }; Object.hasOwn(process.env, 'OWN'); process.env.SETS = '1'"},
	{Name: "asks-all", Source: "({ ...process.env })"},
	{Name: "debug", Source: "Object.keys(process.env).filter((key) => /^debug_/i.test(key)); process.env.DEBUG"},
	{Name: "asks-node", Source: "import(\"node:fs\"); require(\"module\").createRequire(__filename)(\"./index.js\")"},
	{Name: "asks-later", Source: "exports.mode = () => process.env.MODE"},
	{Name: "raises", Source: "throw new TypeError('no')", Told: "TypeError: no"},
	{Name: "exits", Source: "process.exit(3)", Told: `process.exit\(3\)`},
	{Name: "crashes", Source: "process.abort()", Told: "ended"},
}

const debugReads = "DEBUG DEBUG_COLORS DEBUG_DEPTH DEBUG_HIDE_DATE DEBUG_SHOW_HIDDEN" //nolint:misspell // as the package spells it

// TestProbe has packages that do at import what a zygote must not have done, and finds it.
func TestProbe(t *testing.T) {
	files := map[string]string{}
	for _, p := range misbehaving {
		files["node_modules/"+p.Name+"/index.js"] = p.Source
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		found := h.Probe(t, misbehaving)
		for name, want := range map[string]string{"asks": "COLOR FLAG MODE OWN", "asks-all": "*", "debug": debugReads, "asks-later": "", "asks-node": "", "good": ""} {
			if got := strings.Join(found[name].Reads, " "); got != want {
				t.Errorf("%s reads %q, want %q", name, got, want)
			}
		}
		if p := found["good"]; p.Private < 8<<20 || found["above"].Memory < p.Private || found["above"].Took < p.Own {
			t.Errorf("good %+v\nabove %+v", p, found["above"])
		}
	})
}

// TestIdentities has names of functions and classes, and finds which make identities.
func TestIdentities(t *testing.T) {
	for names, want := range map[string]bool{
		"ObjectId ObjectID objectid uuid UUID uuidv4 uuid7 guid ulid ULID cuid cuid2 ksuid KSUID xid nanoid nanoId shortid shortId":                     true,
		"generateId createId newId new_id makeId genId uniqueId makeRequestId newSessionId generateSecret generateSecretKey randomUUID":                 true,
		"token nonce generateToken newNonce createToken v4 random":                                                                                      true,
		"getId threadId useId processId userId validId isUuid parseUUID fromUuid Tokenizer tokens void valid grid Identity key create default parseInt": false,
		"ulid:create ksuid:generate shortid:default @x/cuid2:default object-id:make":                                                                    true,
		"ulid:parse report:create uuid-tools:check":                                                                                                     false,
	} {
		for _, name := range strings.Fields(names) {
			pack, name, there := strings.Cut(name, ":")
			if !there {
				pack, name = "", pack
			}
			var got bool
			ask(t, "loop/drawn.js", "console.log(module.default.gives(...process.argv.slice(-2)));", &got, name, pack)
			if got != want {
				t.Errorf("%s of %q makes identities: %t, want %t", name, pack, got, want)
			}
		}
	}
}
