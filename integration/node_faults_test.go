package integration

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Which answers do handlers of Node.js get that fail?

// nodeFaulty does what its event says.
const nodeFaulty = `
class Unusual extends Error { constructor(m) { super(m); this.name = 'Unusual'; } }
function deep(n) { if (n === 0) throw new Unusual('on purpose: \u2603'); deep(n - 1); }
exports.handler = async ({ do: what }) => {
  switch (what) {
    case 'throw': return deep(2);
    case 'throw text': throw 'text';
    case 'throw null': throw null;
    case 'reject': return Promise.reject(new Unusual('rejected'));
    case 'recurse': return exports.handler({ do: what });
    case 'timer': setTimeout(() => deep(0), 5); return new Promise((done) => setTimeout(done, 500));
    case 'unhandled': Promise.reject(new Unusual('nobody')); return 1;
    case 'never': return new Promise(() => {});
    case 'exit': process.exit(3);
    case 'exit later': setTimeout(() => process.exit(4), 5); return new Promise((done) => setTimeout(done, 1000));
    case 'abort': process.abort();
    case 'sleep': return new Promise((done) => setTimeout(done, 60000));
    case 'spin': for (;;) ;
    case 'circle': { const a = {}; a.a = a; return a; }
    case 'bigint': return 1n;
    case 'function': return () => 1;
    case 'large': return 'x'.repeat(50 << 20);
    case 'memory': { const all = []; for (;;) all.push(new Array(1000).fill(all.length)); }
    case 'buffers': { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); }
    default: return what;
  }
};
`

func TestNodeFaults(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	w.deploy(t, "node-faulty", files{"index.js": nodeFaulty, "pipsqueak.yaml": "memory_mb: 400\ntimeout_ms: 5000\n"})
	for _, c := range []struct {
		do          string
		kind        core.Kind
		status      int
		kindOf, say string
	}{
		{"throw", core.KindException, 500, "Unusual", "on purpose: ☃"},
		{"throw text", core.KindException, 500, "string", "text"},
		{"throw null", core.KindException, 500, "null", "null"},
		{"reject", core.KindException, 500, "Unusual", "rejected"},
		{"recurse", core.KindException, 500, "RangeError", "call stack"},
		{"timer", core.KindException, 500, "Unusual", "on purpose"},
		{"unhandled", core.KindException, 500, "Unusual", "nobody"},
		{"never", core.KindException, 500, "Error", "never settled"},
		{"exit", core.KindExit, 502, "", "3"},
		{"exit later", core.KindExit, 502, "", "4"},
		{"abort", core.KindExit, 502, "", ""},
		{"sleep", core.KindTimeout, 504, "", ""},
		{"spin", core.KindTimeout, 504, "", ""},
		{"circle", core.KindInvalid, 502, "", "circular"},
		{"bigint", core.KindInvalid, 502, "", "BigInt"},
		{"function", core.KindInvalid, 502, "", "function"},
		{"large", core.KindTooLarge, 502, "", "52428802"},
		{"memory", core.KindMemory, 502, "", ""},
		{"buffers", core.KindMemory, 502, "", ""},
	} {
		t.Run(c.do, func(t *testing.T) {
			a := w.run(t, "node-faulty", `{"do":"`+c.do+`"}`)
			f := a.expectError(t, c.kind, core.FaultHandler, c.status)
			if !strings.Contains(f.Message, c.say) && (f.Exception == nil || !strings.Contains(f.Exception.Message, c.say)) {
				t.Errorf("%v does not say %q", a, c.say)
			}
			if c.kindOf != "" && (f.Exception == nil || f.Exception.Type != c.kindOf) {
				t.Errorf("%v, want an exception of type %s", a, c.kindOf)
			}
			if got := result[string](t, w, "node-faulty", `{"do":"go on"}`); got != "go on" {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
	f := w.run(t, "node-faulty", `{"do":"throw"}`).expectError(t, core.KindException, core.FaultHandler, 500)
	if stack := strings.Join(f.Exception.Stack, "\n"); !strings.HasSuffix(stack, "deep (/function/index.js:3:39)") || strings.Contains(stack, "/pipsqueak/") || strings.Contains(stack, "node:") {
		t.Errorf("the stack is\n%s", stack)
	}
}

func TestNodeBadImports(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	w := shared(t)
	for name, c := range map[string]struct {
		files  files
		kind   core.Kind
		status int
		say    string
	}{
		"syntax":      {files{"index.js": "// a line\nconst x = ;\n"}, core.KindException, 500, "index.js:2"},
		"syntax esm":  {files{"index.mjs": "// a line\nconst x = ;\n"}, core.KindException, 500, "index.mjs:2"},
		"import":      {files{"index.js": "require('no-such-package');"}, core.KindException, 500, "no-such-package"},
		"import esm":  {files{"index.mjs": "import 'no-such-package';"}, core.KindException, 500, "no-such-package"},
		"throws":      {files{"index.js": "\nnull.x;"}, core.KindException, 500, "index.js:2"},
		"exits":       {files{"index.js": "process.exit(7);"}, core.KindException, 500, "process.exit(7)"},
		"never":       {files{"index.mjs": "await new Promise(() => {});"}, core.KindException, 500, "never come"},
		"no symbol":   {files{"index.js": "exports.handle = 1;"}, core.KindInvalid, 502, `\"handler\"`},
		"no function": {files{"index.js": "exports.handler = 1;"}, core.KindInvalid, 502, "not a function"},
	} {
		t.Run(name, func(t *testing.T) {
			id := "node-bad-" + strings.ReplaceAll(name, " ", "-")
			w.force(t, id, c.files)
			a := w.run(t, id, `{}`)
			a.expectError(t, c.kind, core.FaultHandler, c.status)
			if !strings.Contains(string(a.body), c.say) {
				t.Errorf("%v does not say %q", a, c.say)
			}
		})
	}
}
