package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Who attacks from inside, in each language: a handler, and a package that a zygote imports. What they try is
// in testdata/attacks, the same in each language; they load it as a library.

// attacker is a language in which attacks are tried.
type attacker struct {
	name, program  string   // program is what its runtimes need
	flags          []string // to compile its packages with
	linked         []string // to compile with a handler's library that needs the bystander
	adapter        string   // a source of testdata/attacks that is a part of its handler's library
	packageAdapter string   // of its packages'
	// publish serves packages, of which it has the libraries by their names, tells workers of it that start
	// from now on, and returns an address.
	publish func(t *testing.T, libraries map[string]string) string
	// handler is a function whose handler runs the attacks that its event names, and says what came of each.
	handler func(library string) files
	// carrier depends on packages, of which the last one attacks, and says what came of that.
	carrier func(packages ...string) files
	// needs is the manifest of a function that depends on packages from the address.
	needs func(address string, packages ...string) files
}

// The packages. The first two attack: one in a zygote below a root zygote, the other in one below the third
// one's. One leaves a process, and one takes more than its share.
const mischief, latecomer, bystander, survivor, glutton = "mischief", "latecomer", "bystander", "survivor", "glutton"

const fresh = "reuse: false\ntimeout_ms: 240000\nmemory_mb: 256\n" // every event has an instance of its own

// leaving is the attack of which each language finds more than C does.
const leaving = "leave a module or a global"

func (f files) and(more files) files {
	for name, text := range more {
		f = f.with(name, text)
	}
	return f
}

// publish makes an index of each language with the packages, and returns what each attacker's publish
// returns.
func (a *arena) publish(t *testing.T, build compile) map[string]string {
	t.Helper()
	addresses := map[string]string{"native": t.TempDir()}
	for _, l := range attackers {
		if l.publish == nil || !a.needs(packaged|dependent) {
			continue
		}
		libraries := map[string]string{}
		for _, one := range []struct{ name, other, attacks string }{
			{mischief, bystander, a.inside(module) + a.left(module)}, {latecomer, mischief, a.inside(later) + a.left(later)},
			{glutton, mischief, a.names(limitAttacks, module)}, {bystander, mischief, ""}, {survivor, mischief, ""},
		} {
			flags := []string{fmt.Sprintf("-DAT_IMPORT=%q", one.attacks), "-Wl,-soname,lib" + one.name + ".so.1", "-DPACKAGE=" + one.name}
			if one.name == survivor {
				flags = append(flags, fmt.Sprintf("-DSURVIVOR=%q", a.survivor()))
			}
			libraries[one.name] = build(t, l.packageAdapter, one.other, append(flags, l.flags...)...)
		}
		addresses[l.name] = l.publish(t, libraries)
	}
	return addresses
}

// attack has everybody of a language try what they can, and notes what came of it.
func (l attacker) attack(t *testing.T, a *arena, build compile) {
	handles := l.handler(build(t, l.adapter, mischief))
	for _, what := range []string{"sleeper", "handler"} {
		more := map[string]string{"sleeper": "env:\n  SECRET: " + canary + "\n", "handler": fresh}[what]
		a.worker.deploy(t, l.name+"-"+what, handles.with("pipsqueak.yaml", handles["pipsqueak.yaml"]+more))
	}
	l.ask(t, a, "sleeper", handler, "", a.left(handler)) // it stays there, idle, with what it leaves
	if l.publish != nil && a.needs(packaged|dependent) {
		l.attackAsPackage(t, a, build)
	}
	l.ask(t, a, "handler", handler, a.inside(handler), a.left(handler))
	for range 4 { // a child may have been forked ahead, before anything was left
		l.ask(t, a, "handler", handler, a.left(handler), "")
	}
	for one := range strings.Lines(a.names(limitAttacks, handler)) {
		l.ask(t, a, "handler", handler, one, "")
	}
	if l.publish != nil && a.wanted(forgery) {
		answer := a.worker.run(t, l.name+"-handler", `"`+forgery.name+`\n"`)
		a.outcomes[cell{forgery.name, l.name, handler}] = outcome{strings.Contains(string(answer.body), "forged"), answer.String()}
		l.ask(t, a, "handler", handler, "", "") // is well
	}
	if l.name == "native" && a.needs(builder) {
		a.build(t, build)
	}
}

// ask runs the attacks that are named in an event of a function of the language, and notes what came of the
// first of them.
func (l attacker) ask(t *testing.T, a *arena, what string, by role, noted, more string) {
	t.Helper()
	event, err := json.Marshal(noted + more)
	coretest.Must(t, err)
	answer := a.worker.run(t, l.name+"-"+what, string(event))
	switch {
	case answer.status == http.StatusOK:
		a.note(t, l.name, by, noted, decode[map[string]string](t, answer))
	case strings.Count(noted, "\n") == 1 && strings.Contains(string(answer.body), `"memory_limit"`):
		a.note(t, l.name, by, noted, map[string]string{strings.TrimSpace(noted): "refused: killed at the limit of memory"})
	default:
		t.Errorf("%s-%s: %v", l.name, what, answer)
	}
}

// build has a build try what it can.
func (a *arena) build(t *testing.T, build compile) {
	t.Helper()
	wanted := a.inside(builder)
	program := build(t, "", mischief, "-DPROGRAM", fmt.Sprintf("-DAT_IMPORT=%q", wanted))
	a.worker.deploy(t, "built", files{"attacker*": program, "Makefile": "handler.so: handler.c\n\t./attacker > told.json\n\t$(CC) -shared -fPIC -o $@ $<\n", "handler.c": `
#include <pipsqueak.h>
#include <stdio.h>
PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    static char told[1 << 16];
    FILE *file = fopen("/function/told.json", "r");
    ps_result(context, told, file ? fread(told, 1, sizeof told, file) : 0);
}
`})
	a.note(t, "native", builder, wanted, result[map[string]string](t, a.worker, "built", `1`))
}

// attackAsPackage has packages try what they can.
func (l attacker) attackAsPackage(t *testing.T, a *arena, build compile) {
	t.Helper()
	imports := l.handler(build(t, l.adapter, mischief, l.linked...))
	if l.name == "ruby" { // a condition would hide from the planner what it requires
		imports = imports.with("handler.rb", "require 'bystander'\n"+imports["handler.rb"])
	}
	name := func(what string) string { return l.name + "-" + what }
	needs := func(f files, packages ...string) files {
		more := l.needs(a.addresses[l.name], packages...)
		return f.and(more).with("pipsqueak.yaml", more["pipsqueak.yaml"]+fresh)
	}
	a.worker.deploy(t, name("victim"), needs(imports, bystander))
	a.worker.probed(t, name("victim"))
	forkStart(t, a.worker, name("victim"), `""`)
	l.ask(t, a, "victim", handler, a.inside(dependent), "")
	type attacking struct {
		what     string
		by       role
		attacks  string
		packages []string
	}
	all := []attacking{{"first", module, a.inside(module), []string{mischief}}, {"later", later, a.inside(later), []string{bystander, latecomer}}}
	if limits := a.names(limitAttacks, module); limits != "" {
		all = append(all, attacking{"greedy", module, limits, []string{glutton}})
	}
	for _, one := range all {
		what := name(one.what)
		a.worker.deploy(t, what, needs(l.carrier(one.packages...), one.packages...))
		a.worker.probed(t, what)
		if apart := a.worker.function(t, what).Apart; len(apart) > 0 {
			t.Fatalf("%s: no zygote imports %v", what, apart)
		}
		forkStart(t, a.worker, what, `""`)
		a.note(t, l.name, one.by, one.attacks, told(t, a.worker, what))
		for range 3 { // a child may have been forked ahead, before the package was there
			l.ask(t, a, "victim", one.by, a.left(one.by), "")
		}
	}
	l.survive(t, a, name("survivor"), needs(l.carrier(survivor), survivor))
	l.generations(t, a.worker.snapshot(t))
}

// told returns what came of the attacks of a function's package, those included that begin when its zygote is
// forked.
func told(t *testing.T, w *worker, fn string) (attempts map[string]string) {
	t.Helper()
	eventually(t, patience, "a fork of "+fn+" comes after another one", func() bool {
		said := result[struct {
			Where           int
			Attempts, After map[string]string
		}](t, w, fn, `""`)
		if said.Where == 2 {
			t.Errorf("%s: the package was imported in an instance, and not in a zygote", fn)
		}
		attempts = said.Attempts
		maps.Copy(attempts, said.After)
		return !strings.HasSuffix(strings.Join(slices.Collect(maps.Values(said.After)), ""), "temporarily unavailable")
	})
	return attempts
}

// survive has a package leave a process when it is imported: no zygote keeps that, and none of its processes
// outlives the function.
func (l attacker) survive(t *testing.T, a *arena, name string, f files) {
	t.Helper()
	if !a.wanted(survivorAttack) {
		return
	}
	a.worker.deploy(t, name, f)
	a.worker.probed(t, name)
	kept := len(a.worker.function(t, name).Apart) == 0
	a.worker.run(t, name, `""`)
	coretest.Must(t, a.worker.client().Remove(t.Context(), name))
	left := func() bool {
		all, _ := filepath.Glob("/proc/[0-9]*/comm")
		return slices.ContainsFunc(all, func(path string) bool {
			text, err := os.ReadFile(path)
			return err == nil && strings.TrimSpace(string(text)) == a.survivor()
		})
	}
	for deadline := time.Now().Add(patience / 2); left() && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		continue
	}
	came := outcome{how: "refused: it ended"}
	if kept || left() {
		came = outcome{fell: true, how: fmt.Sprintf("DONE: a zygote kept it: %v; it is there: %v", kept, left())}
	}
	a.outcomes[cell{survivorAttack.name, l.name, module}] = came
}

// generations checks that the first package is in a zygote right below a root zygote, and the later one in a
// zygote below another one.
func (l attacker) generations(t *testing.T, snapshot core.Snapshot) {
	t.Helper()
	parents, depths := map[core.NodeID]core.NodeID{}, map[string]int{}
	for _, n := range snapshot.Nodes {
		parents[n.ID] = n.Parent
	}
	for _, n := range snapshot.Nodes {
		if n.Role != core.RoleZygote || !strings.HasPrefix(string(n.Runtime), l.name) {
			continue
		}
		depth := 0
		for id := n.Parent; id != ""; id = parents[id] {
			depth++
		}
		for _, pack := range []string{mischief, latecomer} {
			if slices.ContainsFunc(n.Set, func(p core.Package) bool { return strings.Contains(p.Name, pack) }) {
				depths[pack] = max(depths[pack], depth)
			}
		}
	}
	if depths[mischief] != 1 || depths[latecomer] < 2 {
		t.Errorf("%s: the packages are in zygotes of the generations %v", l.name, depths)
	}
}

var attackers = []attacker{{
	name: "python", program: "python3",
	publish: func(t *testing.T, libraries map[string]string) string {
		index := newPythonIndex(t, "")
		for name, library := range libraries {
			index.addWheel(t, name, "1.0", "", files{name + "/library.so": library, name + "/__init__.py": `
import builtins, ctypes, json, os
library = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "library.so"))
library.attacks_of_package.restype = ctypes.c_char_p
def tell():
    return json.loads(library.attacks_of_package())
if tell()["attempts"]:
    builtins.attack = True
`})
		}
		return index.URL
	},
	handler: func(library string) files {
		return files{"library.so": library, "handler.py": `
import builtins, ctypes, json, os, sys
if os.path.isdir("/packages/bystander-1.0"):
    import bystander
library = ctypes.CDLL("/function/library.so")
library.attacks.restype = ctypes.c_char_p
def handler(event, context):
    left = hasattr(builtins, "attack") or "mischief" in sys.modules or "latecomer" in sys.modules
    builtins.attack = True
    return json.loads(library.attacks(event.encode())) | ({"` + leaving + `": "DONE: it is there"} if left else {})
`}
	},
	carrier: func(packages ...string) files {
		return files{"handler.py": "import " + strings.Join(packages, ", ") + "\n\ndef handler(event, context):\n    return " + packages[len(packages)-1] + ".tell()\n"}
	},
	needs: func(_ string, packages ...string) files {
		return files{"requirements.txt": strings.Join(packages, "\n")}
	},
}, {
	name: "node", program: "node", adapter: "node.c", packageAdapter: "node.c",
	publish: func(t *testing.T, libraries map[string]string) string {
		index := newNPMIndex(t)
		for name, library := range libraries {
			index.add(name, "1.0.0", nil, files{"library.node": library, "index.js": `
const tell = require('./library.node');
module.exports = () => JSON.parse(tell());
if (Object.keys(module.exports().attempts).length > 0) Object.prototype.attack = globalThis.attack = 1;
`})
		}
		t.Setenv("NPM_CONFIG_REGISTRY", index.URL+"/")
		return index.URL
	},
	handler: func(library string) files {
		return files{"library.node": library, "handler.js": `
const attacks = require('/function/library.node');
if (require('fs').existsSync('/packages/bystander-1.0.0')) require('bystander');
exports.handler = async (event) => {
  const left = 'attack' in globalThis || 'attack' in {} || Object.keys(require.cache).some((name) => /mischief|latecomer/.test(name));
  globalThis.attack = 1;
  return { ...JSON.parse(attacks(event)), ...(left && { '` + leaving + `': 'DONE: it is there' }) };
};
`}
	},
	carrier: func(packages ...string) files {
		text := ""
		for _, p := range packages {
			text += "const " + p + " = require('" + p + "');\n"
		}
		return files{"handler.js": text + "exports.handler = async () => " + packages[len(packages)-1] + "();\n"}
	},
	needs: func(_ string, packages ...string) files {
		return files{"package.json": `{"dependencies": {"` + strings.Join(packages, `": "1.0.0", "`) + `": "1.0.0"}}`}
	},
}, {
	name: "ruby", program: "ruby",
	publish: func(t *testing.T, libraries map[string]string) string {
		var gems []gem
		for name, library := range libraries {
			text := strings.ReplaceAll(`
require "fiddle"
require "json"
module MODULE
  LIBRARY = Fiddle.dlopen("#{__dir__}/NAME.so")
  def self.tell = JSON.parse(Fiddle::Function.new(LIBRARY["attacks_of_package"], [], Fiddle::TYPE_VOIDP).call.to_s.force_encoding("UTF-8"))
end
class Object; def attack = 1; end if MODULE.tell["attempts"].any?
`, "MODULE", strings.ToUpper(name))
			text = strings.ReplaceAll(text, "NAME", name)
			gems = append(gems, gem{name, "1.0.0", "", files{"lib/" + name + ".so": library, "lib/" + name + ".rb": text}})
		}
		index := gemIndex(t, gems)
		t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
		return index
	},
	handler: func(library string) files {
		return files{"library.so": library, "handler.rb": `
require "fiddle"
require "json"
LIBRARY = Fiddle.dlopen("/function/library.so")
def handler(event:, context:)
  left = respond_to?(:attack) || $LOADED_FEATURES.grep(/mischief|latecomer/).any?
  Object.class_eval { def attack = 1 }
  said = Fiddle::Function.new(LIBRARY["attacks"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOIDP).call(event).to_s
  JSON.parse(said.force_encoding("UTF-8")).merge(left ? { "` + leaving + `" => "DONE: it is there" } : {})
end
`}
	},
	carrier: func(packages ...string) files {
		all := packages
		if len(packages) > 1 { // as the victim does, from whose zygote this one's is forked
			all = append([]string{"json"}, packages...)
		}
		return files{"handler.rb": "require '" + strings.Join(all, "'\nrequire '") + "'\ndef handler(event:, context:) = " + strings.ToUpper(packages[len(packages)-1]) + ".tell\n"}
	},
	needs: func(address string, packages ...string) files {
		return files{"Gemfile": "source '" + address + "'\ngem '" + strings.Join(packages, "'\ngem '") + "'\n"}
	},
}, {
	name: "native", program: "apt-get", adapter: "handler.c", flags: []string{"-DAT_LOAD"}, linked: []string{"-DLINKED"},
	publish: debianArchive,
	handler: func(library string) files { return files{"handler.so": library} },
	carrier: func(packages ...string) files {
		return files{"handler.cc": `
#include <pipsqueak.hpp>
extern "C" const char *attacks_of_` + packages[len(packages)-1] + `(void);
extern "C" const char *attacks_of_` + packages[0] + `(void);
static std::string tell(std::string_view, pipsqueak::context &)
{
    attacks_of_` + packages[0] + `();
    return attacks_of_` + packages[len(packages)-1] + `();
}
PIPSQUEAK_HANDLER(handler, tell)
`}
	},
	needs: func(_ string, packages ...string) files {
		return files{"pipsqueak.yaml": "debian: [lib" + strings.Join(packages, "1, lib") + "1]\n"}
	},
}, {
	name: "bootstrap", program: "python3",
	handler: func(library string) files {
		return files{"library.so": library, "pipsqueak.yaml": "runtime: native\n", "bootstrap*": `#!/usr/bin/python3
import ctypes, json, os, urllib.request
library = ctypes.CDLL("/function/library.so")
library.attacks.restype = ctypes.c_char_p
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as event:
        told = library.attacks(json.load(event).encode())
        urllib.request.urlopen(urllib.request.Request(api + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", data=told)).close()
`}
	},
}}
