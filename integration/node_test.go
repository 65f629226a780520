package integration

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do functions of Node.js work, from the archive to the answer?

// Node needs a Node.js that the driver serves: one that PIPSQUEAK_NODE names, as make does, or the system's.
var Node = coretest.Need{Name: "Node.js 20 or later", Met: func() error {
	if os.Getenv("PIPSQUEAK_NODE") != "" {
		return nil
	}
	out, err := exec.Command("/usr/bin/node", "--version").Output()
	if err != nil {
		return err
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 20 {
		return errors.New("it is " + string(out))
	}
	return nil
}}

const nodeEcho = "exports.handler = async (event) => event;\n"

func TestNodeHandlers(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	for name, c := range map[string]struct {
		files       files
		event, want string
	}{
		"commonjs":  {files{"index.js": nodeEcho}, `{"a":["ü",1.5,null]}`, `{"a":["ü",1.5,null]}`},
		"handler":   {files{"handler.cjs": nodeEcho}, `1`, `1`},
		"sync":      {files{"index.js": "exports.handler = (event) => event + 1;"}, `1`, `2`},
		"undefined": {files{"index.js": "exports.handler = async () => {};"}, `1`, `null`},
		"callback":  {files{"index.js": "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, event + 1), 5); };"}, `1`, `2`},
		"callback at the end": {files{"index.js": `
exports.handler = (event, context, callback) => { const list = [1]; setTimeout(() => list.push(2), 20); callback(null, list); callback(null, 3); };
`}, `1`, `[1,2]`},
		"callback at once": {files{"index.js": `exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, 3); };`}, `1`, `3`},
		"no callback": {files{"index.js": "exports.handler = (event, context, callback) => { setTimeout(() => {}, 5); };"}, `1`, `null`},
		"module":      {files{"index.mjs": "const one = await Promise.resolve(1);\nexport const handler = async (event) => event + one;"}, `1`, `2`},
		"type":        {files{"package.json": `{"type":"module"}`, "index.js": "import path from 'node:path';\nimport { two } from './lib.js';\nexport const handler = () => path.sep + two;", "lib.js": "export const two = 2;"}, `1`, `"/2"`},
		"dots":        {files{"pipsqueak.yaml": "handler: src.app.api.users.get\n", "src.app.js": "exports.api = { users: { prefix: 'u', get(e) { return this.prefix + e; } } };"}, `1`, `"u1"`},
		"variables":   {files{"pipsqueak.yaml": "env: {TZ: Asia/Tokyo, A: b}\n", "index.js": "exports.handler = () => [process.env.A, 'LD_PRELOAD' in process.env, new Date(0).getHours()];"}, `1`, `["b",false,9]`},
		"random":      {files{"pipsqueak.yaml": "runtime: node\n", "index.js": "exports.handler = () => [typeof Math.random(), process.pid, process.cwd().length > 0];"}, `1`, `["number",2,true]`},
		"vendored":    {files{"index.js": "exports.handler = () => require('own')(1) + require('other/lib/x.js');", "package.json": `{"dependencies":{"own":"9.9.9"}}`, ".pipsqueakignore": "!node_modules\n", "node_modules/own/index.js": "module.exports = (n) => n + 1;", "node_modules/other/lib/x.js": "module.exports = 40;"}, `1`, `42`},
	} {
		t.Run(name, func(t *testing.T) {
			id := "node-" + strings.ReplaceAll(name, " ", "-")
			w.deploy(t, id, c.files)
			for range 3 { // cold, warm, warm
				a := w.run(t, id, c.event)
				if a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != c.want {
					t.Errorf("%v, want %s", a, c.want)
				}
			}
		})
	}
}

func TestNodeContext(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	w.deploy(t, "node-context", files{"pipsqueak.yaml": "memory_mb: 200\ntimeout_ms: 5000\n", "index.js": `
let events = 0;
setInterval(() => {}, 1000); // does not keep an instance from answering
exports.handler = async (event, context) => {
  console.log('event', ++events);
  console.error('to stderr');
  return { ...context, left: context.getRemainingTimeInMillis(), events };
};
`})
	for n := 1; n <= 2; n++ {
		a := w.run(t, "node-context", `{}`)
		got := decode[map[string]any](t, a)
		if got["awsRequestId"] != a.header.Get("X-Request-Id") || got["functionName"] != "node-context" || got["functionVersion"] != "1" || got["memoryLimitInMB"] != "200" {
			t.Errorf("the context is %v", got)
		}
		if left := got["left"].(float64); left < 3000 || left > 5000 {
			t.Errorf("%v ms are left of 5000", left)
		}
		if got["events"] != float64(n) {
			t.Errorf("event %d is the instance's %v", n, got["events"])
		}
	}
	eventually(t, patience, "what was printed is in the logs", func() bool {
		text := string(w.ask(t, http.MethodGet, "/v1/functions/node-context/logs", nil).body)
		return strings.Contains(text, "event 2") && strings.Contains(text, "to stderr")
	})
}

// Packages of every kind, in one function: two versions of one, of which a package requires the older; ES
// modules only; a scope; a subpath.
func TestNodePackages(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	f := files{
		"package.json": `{"dependencies":{"ms":"2.1.3","debug":"2.6.9","nanoid":"5.0.7","lodash":"4.17.21","@sindresorhus/is":"4.6.0"}}`,
		"index.js": `
const debug = require('debug');
const ms = require('ms');
const fp = require('lodash/fp');
const is = require('@sindresorhus/is').default;
exports.handler = async () => {
  const { nanoid } = await import('nanoid');
  return [require('ms/package.json').version, ms('1s'), debug.humanize('2s'), fp.add(1)(2), is.string('x'), nanoid().length, fp.random(0, 1e9)];
};
`}
	fn := w.deploy(t, "node-packages", f.with("pipsqueak.yaml", "reuse: false\n"))
	found := map[string]int{}
	for _, p := range fn.Packages {
		found[p.Name]++
	}
	if found["ms"] != 2 || found["@sindresorhus+is"] != 1 || found["debug"] != 1 {
		t.Errorf("the packages are %v", fn.Packages)
	}
	if imports := strings.Join(fn.Imports, " "); imports != "debug@2.6.9+ce82ec902e61 ms@2.1.3 lodash@4.17.21/fp @sindresorhus/is@4.6.0" {
		t.Errorf("the imports are %s", imports)
	}
	drawn := map[float64]bool{}
	eventually(t, patience, "instances are forked from a zygote with everything", func() bool {
		a := w.run(t, "node-packages", `{}`)
		got := decode[[]any](t, a)
		if text, _ := json.Marshal(got[:6]); string(text) != `["2.1.3",1000,2000,3,true,21]` {
			t.Fatalf("%v", a)
		}
		if n := got[6].(float64); drawn[n] {
			t.Errorf("lodash drew %v twice", n)
		} else {
			drawn[n] = true
		}
		return core.Start(a.header.Get("Pipsqueak-Start")) == core.StartFork
	})
	// The same packages again, out of the store, for another function.
	began := time.Now()
	if again := w.deploy(t, "node-packages-too", f); again.Packages.Key() != fn.Packages.Key() {
		t.Errorf("another function gets %v", again.Packages)
	}
	t.Logf("deployed again in %v", time.Since(began))
	w.put(t, "node-none", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"this-package-does-not-exist-4711":"1.0.0"}}`}).
		expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
	w.put(t, "node-git", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"a":"1"}}`,
		"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},"node_modules/a":{"version":"1.0.0","resolved":"git+ssh://git@example.org/a.git#0"}}}`}).
		expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
	w.put(t, "node-stale", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"a":"2"}}`, "package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}}}}`}).
		expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
}

// A lock file with a wrong digest is not installed.
func TestNodeIntegrity(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	a := shared(t).put(t, "node-integrity", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"isarray":"2.0.4"}}`,
		"package-lock.json": `{"lockfileVersion":3,"packages":{"":{"dependencies":{"isarray":"2.0.4"}},"node_modules/isarray":{"version":"2.0.4","integrity":"sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}}}`})
	if f := a.expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity); !strings.Contains(f.Message, "the lock sha512:0000") {
		t.Errorf("%s", f.Message)
	}
}

func TestNodeTypeScript(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	source := `
import ms from 'ms';
import { twice } from '~/lib/twice';

enum Colour { Red = 1, Green }
type Event = { n: number };

export const handler = async (event: Event): Promise<unknown> => {
  if (event.n < 0) throw new RangeError('negative');
  return [twice(event.n), Colour.Green, ms('1s')];
};
`
	f := files{"index.ts": source, "lib/twice.ts": "export const twice = (n: number): number => 2 * n;\n",
		"tsconfig.json": `{"compilerOptions":{"paths":{"~/*":["./*"]},"esModuleInterop":true}}`, "package.json": `{"dependencies":{"ms":"2.1.3"}}`}
	for name, manifest := range map[string]string{"node-ts": `{"dependencies":{"ms":"2.1.3"}}`, "node-ts-esm": `{"type":"module","dependencies":{"ms":"2.1.3"}}`} {
		fn := w.deploy(t, name, f.with("package.json", manifest))
		if imports := strings.TrimPrefix(strings.Join(fn.Imports, " "), "import:"); imports != "ms@2.1.3" {
			t.Errorf("%s imports %s", name, imports)
		}
		if a := w.run(t, name, `{"n":3}`); strings.TrimSpace(string(a.body)) != `[6,2,1000]` {
			t.Errorf("%s: %v", name, a)
		}
		failed := w.run(t, name, `{"n":-1}`).expectError(t, core.KindException, core.FaultHandler, 500)
		if stack := failed.Exception.Stack; len(stack) == 0 || !strings.Contains(stack[len(stack)-1], "/function/index.ts:9:") {
			t.Errorf("%s: the stack is %q", name, stack)
		}
	}
	// The same again is not bundled again, and is the same function.
	dir := t.TempDir()
	f.write(t, dir)
	for i, says := range []string{"", "the same as in version "} {
		out, said, err := w.command(t, "", "deploy", dir, "--name", "node-ts-again")
		if err != nil || !strings.Contains(out+said, says) {
			t.Errorf("deploy %d: %v %s%s, want %q", i+1, err, out, said, says)
		}
		fn, a := w.function(t, "node-ts-again"), w.run(t, "node-ts-again", `{"n":3}`)
		if imports := strings.Join(fn.Imports, " "); strings.TrimSpace(string(a.body)) != `[6,2,1000]` || !strings.HasSuffix(imports, "ms@2.1.3") {
			t.Errorf("version %d imports %s and answers %v", fn.Version, imports, a)
		}
	}
	a := w.put(t, "node-ts-bad", f.with("index.ts", "export const handler = async (event: any => event;\n"))
	if failed := a.expectError(t, core.KindBuild, core.FaultHandler, http.StatusUnprocessableEntity); !strings.Contains(failed.Message, "index.ts:1:") {
		t.Errorf("the message is %q", failed.Message)
	}
}

func TestNodeInvoke(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	w.deploy(t, "node-called", files{"index.js": "exports.handler = async (e) => { if (e === 'bad') throw new TypeError('called so'); await new Promise((d) => setTimeout(d, 50)); return { e }; };"})
	w.deploy(t, "node-caller", files{"index.js": `
exports.handler = async (event, context) => {
  const many = await Promise.all(Array.from({ length: 10 }, (_, n) => context.invoke('node-called', n)));
  const failed = await context.invoke('node-called', 'bad').catch((e) => [e.name, e.kind, e.exception.type, e.message.includes('called so')]);
  const none = await context.invoke('nobody-deployed-this', 1).catch((e) => e.kind);
  const self = event.deep ? [0, 0, 0, 'deep'] : await context.invoke('node-caller', { deep: true });
  return [many.map(({ e }) => e), failed, none, self[3]];
};`})
	a := w.run(t, "node-caller", `{}`)
	if want := `[[0,1,2,3,4,5,6,7,8,9],["InvokeError","exception","TypeError",true],"not_found","deep"]`; strings.TrimSpace(string(a.body)) != want {
		t.Errorf("%v, want %s", a, want)
	}
}

// The stack of an InvokeError is that of the call, as it is for an error that is thrown where the call is.
func TestNodeInvokeStack(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	w.deploy(t, "node-fails", files{"index.js": "exports.handler = async () => { throw new TypeError('called so'); };"})
	w.deploy(t, "node-asks", files{"index.js": `
async function ask(context, name, event) { return await context.invoke(name, event); }
async function outer(...all) { return await ask(...all); }
exports.handler = async ({ name, circle, fatal }, context) => {
  const event = {};
  if (circle) event.self = event;
  if (fatal) return outer(context, name, event);
  return outer(context, name, event).catch((e) => e.stack.split('\n').concat(Object.keys(e)));
};`})
	stack := `"    at ask (/function/index.js:2:65)","    at outer (/function/index.js:3:45)","    at exports.handler (/function/index.js:8:10)"`
	for event, want := range map[string]string{
		`{"name":"node-fails"}`:               `["InvokeError: invoking node-fails: the handler raised TypeError: called so",` + stack,
		`{"name":"nobody-deployed-this"}`:     `["InvokeError: `,
		`{"name":"node-fails","circle":true}`: `["InvokeError: the event for node-fails cannot be written as JSON: `,
	} {
		a := w.run(t, "node-asks", event)
		told := strings.TrimSpace(string(a.body))
		if !strings.HasPrefix(told, want) || !strings.Contains(told, stack) || !strings.Contains(told, `"name","function","kind","fault","retryable"`) {
			t.Errorf("%s: %s", event, told)
		}
	}
	failed := w.run(t, "node-asks", `{"name":"node-fails","fatal":true}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	if told := strings.Join(failed.Exception.Stack, "; "); !strings.HasSuffix(told, "outer (/function/index.js:3:45); ask (/function/index.js:2:65)") {
		t.Errorf("the stack is %s", told)
	}
}

// A package that cannot be imported without what it does not declare is none that a zygote imports. Functions
// of both kinds find it where npm would have put it, from the first event after the deploy on.
func TestNodeUndeclared(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("hidden", "1.0.0", nil, files{"index.js": "module.exports = 'found';"})
	r.add("forgets", "1.0.0", nil, files{"index.js": "module.exports = require('hidden');"})
	r.add("modern", "1.0.0", map[string]any{"type": "module", "exports": "./index.js"}, files{"index.js": "export { default } from 'hidden';"})
	manifest := `{"dependencies":{"hidden":"1.0.0","forgets":"1.0.0","modern":"1.0.0"}}`
	w := r.worker(t)
	for _, version := range []string{"node20", "node22", "node24"} {
		for name, code := range map[string]files{
			"common":  {"index.js": "const found = require('forgets');\nexports.handler = async () => found;"},
			"module":  {"index.mjs": "import found from 'forgets';\nexport const handler = async () => found;"},
			"imports": {"index.mjs": "import found from 'modern';\nexport const handler = async () => found;"},
			"dynamic": {"index.js": "exports.handler = async () => (await import('modern')).default;"},
		} {
			if version == "node20" && (name == "imports" || name == "dynamic") {
				continue // it has no hooks for imports
			}
			id := name + "-" + version
			w.deploy(t, id, code.with("package.json", manifest).with("pipsqueak.yaml", "runtime: "+version+"\n"))
			if got := result[string](t, w, id, `{}`); got != "found" {
				t.Errorf("%s: %s", id, got)
			}
			w.probed(t, id)
			if got := result[string](t, w, id, `{}`); got != "found" {
				t.Errorf("%s, once its packages were probed: %s", id, got)
			}
		}
	}
}
