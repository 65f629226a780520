package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var handlerCases = []Case{
	{Name: "handler/is-imported", Clauses: []string{"E1", "E9"}, run: handlerImported},
	{Name: "handler/modules-before-it", Clauses: []string{"E9"}, run: handlerModules},
	{Name: "handler/module-of-the-zygote", Clauses: []string{"E9", "C15"}, run: handlerInherits},
	{Name: "handler/first-package-wins", Clauses: []string{"E9"}, run: handlerWhich},
	{Name: "handler/raises", Clauses: []string{"E10"}, run: handlerRaises},
	{Name: "handler/asks-for-the-end", Clauses: []string{"E10"}, run: handlerExits},
	{Name: "handler/module-raises", Clauses: []string{"E10"}, run: handlerModuleRaises},
	{Name: "handler/is-not-there", Clauses: []string{"E10"}, run: handlerMissing},
	{Name: "handler/unknown-keys", Clauses: []string{"E3"}, run: handlerUnknownKeys},
	{Name: "handler/absent-keys", Clauses: []string{"E3", "C11"}, run: handlerAbsentKeys},
	{Name: "handler/large-load", Clauses: []string{"E2", "E9"}, run: handlerLarge},
	{Name: "handler/in-single-bytes", Clauses: []string{"E1"}, run: handlerBytes},
	{Name: "handler/late", Clauses: []string{"E12"}, run: handlerLate},
	{Name: "handler/prints", Clauses: []string{"E8"}, run: handlerPrints},
	{Name: "handler/without-any", Clauses: []string{"E6"}, run: handlerNever},
}

func handlerImported(t *trial) {
	n := t.parked()
	r := t.imports(n, t.handlerLoad())
	if len(r.Modules) != 0 {
		t.errorf("nothing but a handler was to be imported, and the report has the modules %v", r.Modules)
	}
	t.must(n.wire.silent(), "after P")
	t.alive(n, "P")
}

// loadWith is how conform is imported with modules before it.
func (t *trial) loadWith(modules ...string) core.HandlerLoad {
	load := t.handlerLoad()
	load.Modules = t.load(modules...).Modules
	return load
}

func handlerModules(t *trial) {
	n := t.parked()
	r := t.imports(n, t.loadWith(modB, modA))
	if len(r.Modules) != 2 || r.Modules[t.module(modB)] < 0.04 || r.Took < r.Modules[t.module(modB)] {
		t.errorf("the report of %s (50 ms) and %s is %+v", modB, modA, r)
	}
	t.hasPrinted(n, "stdout", modB+"\n"+modA+"\n")
	t.alive(n, "importing modules")
}

func handlerInherits(t *trial) {
	n := t.fork(t.shared(), t.zygote(modA), core.RoleInstance)
	if r := t.imports(n, t.loadWith(modA)); len(r.Modules) != 1 {
		t.errorf("the report of a module that the zygote has imported is %+v", r)
	}
	t.alive(n, "importing what its zygote had")
	t.hasPrinted(n, "stdout", "")
}

func handlerWhich(t *trial) {
	dirs := t.packageDirs()
	for i := range dirs {
		n, load := t.parked(), t.loadWith(modWhich)
		load.Packages = []string{dirs[i], dirs[1-i]}
		t.imports(n, load)
		t.hasPrinted(n, "stdout", modWhich+" "+t.packages[i].Version+"\n")
	}
}

// fails has an instance import what cannot be, and returns what it tells.
func (t *trial) fails(n *node, load core.HandlerLoad) *core.Error {
	body, err := json.Marshal(load)
	t.must(err, "encoding a load")
	n.wire.send('H', body)
	a := t.answer(n)
	if a.kind != 'F' {
		t.fatalf("importing %s was answered by %s, and not by F", load.Handler, a)
	}
	told := new(core.Error)
	if err := json.Unmarshal(a.body, told); err != nil {
		t.fatalf("the failure %s cannot be read: %v", a, err)
	}
	t.ends(n, "F")
	return told
}

// other makes an instance's sandbox for another function than conform, and its load.
func (t *trial) other(name string) (*node, core.HandlerLoad) {
	f := t.function(name)
	s := t.box(core.RoleInstance, of(t.root()), func(c *core.SandboxConfig) { c.Code, c.Function = name, name })
	n, err := t.tryFork(t.shared(), t.root(), s)
	t.must(err, "Fork")
	load := t.handlerLoad()
	load.Function, load.Handler = name, f.handler
	return n, load
}

func handlerRaises(t *trial) {
	n, load := t.other(raises)
	t.raised("the import of a handler that raises", t.fails(n, load))
}

func handlerExits(t *trial) {
	n, load := t.other(exits)
	body, err := json.Marshal(load)
	t.must(err, "encoding a load")
	n.wire.send('H', body)
	a, err := n.wire.receive(4 * patience)
	if err != nil { // the language cannot hold it up: the process has ended, and its sandbox knows how
		if exit := t.ends(n, "a handler that ends the process"); exit.Known && exit.Code == 0 && exit.Signal == 0 {
			t.errorf("the process ended with status 0 while it imported")
		}
		return
	}
	told := new(core.Error)
	if err := json.Unmarshal(a.body, told); a.kind != 'F' || err != nil {
		t.fatalf("a handler that asks for the end of the process when it is imported is answered by %s", a)
	}
	t.mustFail("a handler that asks for the end of the process", told, core.FaultHandler, core.KindException, core.KindExit)
	t.ends(n, "F")
}

func handlerModuleRaises(t *trial) {
	t.raised("a module that raises", t.fails(t.parked(), t.loadWith(modRaises)))
}

func handlerMissing(t *trial) {
	load := t.handlerLoad()
	i := strings.LastIndexByte(load.Handler, '.')
	if i < 0 {
		t.skip("handlers of this runtime have no symbol")
	}
	load.Handler = load.Handler[:i] + ".is_not_there"
	e := t.failure("a handler that is not there", t.fails(t.parked(), load), core.FaultHandler, core.KindInvalid)
	if !strings.Contains(e.Message, "is_not_there") {
		t.errorf("the message %q does not name it", e.Message)
	}
	load.Handler = "no_such_file" + load.Handler[i:]
	t.mustFail("a file that is not there", t.fails(t.parked(), load), core.FaultHandler, core.KindInvalid, core.KindException)
}

func handlerUnknownKeys(t *trial) {
	n := t.parked()
	body, err := json.Marshal(t.handlerLoad())
	t.must(err, "encoding a load")
	n.wire.send('H', append([]byte(`{"kit":{"unknown":[1,2,null]},"zz":true,`), body[1:]...))
	if a := t.answer(n); a.kind != 'P' {
		t.fatalf("a load with unknown keys is answered by %s", a)
	}
	n.wire.send('E', bytes.Replace(n.wire.eventBody([]byte(`"x"`), time.Now().Add(time.Minute)), []byte(`"depth":3`), []byte(`"kit":[7]`), 1))
	if a := t.answer(n); a.kind != 'R' || string(a.body) != `"x"` {
		t.errorf("an event with unknown keys in its meta is answered by %s", a)
	}
}

func handlerAbsentKeys(t *trial) {
	n := t.parked()
	n.wire.send('H', fmt.Appendf(nil, `{"function":"f","version":1,"memory":1000000,"handler":%q}`, t.handlerLoad().Handler))
	if a := t.answer(n); a.kind != 'P' {
		t.fatalf("a load without env, packages and modules is answered by %s", a)
	}
	var env map[string]string
	if t.result(n, do{"do": "env"}, &env); len(env) != 0 {
		t.errorf("without env in its load an instance has the environment %q", env)
	}
}

func handlerLarge(t *trial) {
	n, load := t.parked(), t.handlerLoad()
	load.Env = map[string]string{}
	for i := range 20 {
		load.Env[fmt.Sprintf("LARGE_%d", i)] = strings.Repeat(string(rune('a'+i)), 50_000)
	}
	t.imports(n, load)
	var env map[string]string
	if t.result(n, do{"do": "env"}, &env); !maps.Equal(given(env), load.Env) {
		t.errorf("of 1 MB of environment %d variables arrived whole", len(env))
	}
}

func handlerBytes(t *trial) {
	n := t.parked()
	body, err := json.Marshal(t.handlerLoad())
	t.must(err, "encoding a load")
	for _, f := range [][]byte{frame('H', body), frame('E', n.wire.eventBody([]byte(`{"do":"echo","value":"ü"}`), time.Now().Add(time.Minute)))} {
		for i := range f {
			n.wire.write(f[i : i+1])
			if i < 12 {
				time.Sleep(time.Millisecond) // so that they are not read together
			}
		}
		if a := t.answer(n); a.kind != 'P' && (a.kind != 'R' || string(a.body) != `"ü"` && string(a.body) != `"\u00fc"`) {
			t.errorf("a frame in single bytes is answered by %s", a)
		}
	}
}

// handlerLate gives the instance time to do what makes it faster later.
func handlerLate(t *trial) {
	late, early := t.parked(), t.parked()
	t.imports(early, t.loadWith(modA))
	time.Sleep(300 * time.Millisecond)
	t.hasPrinted(late, "stdout", "")
	t.hasPrinted(late, "stderr", "")
	t.imports(late, t.loadWith(modA))
	t.hasPrinted(late, "stdout", modA+"\n")
	look := func(n *node) (out string) {
		var env map[string]string
		var count int
		var found struct {
			Out string `json:"out"`
		}
		t.result(n, do{"do": "env"}, &env)
		t.result(n, do{"do": "state"}, &count)
		t.result(n, do{"do": "run", "command": "ls -A /tmp | wc -l"}, &found)
		return fmt.Sprint(env, count, found.Out)
	}
	if a, b := look(late), look(early); a != b {
		t.errorf("an instance that waited sees %s, and one that did not %s", a, b)
	}
}

func handlerPrints(t *trial) {
	n := t.instance()
	t.result(n, do{"do": "print", "out": "one\ntwo", "err": "three"}, nil)
	t.hasPrinted(n, "stdout", "one\ntwo")
	t.hasPrinted(n, "stderr", "three")
	t.result(n, do{"do": "print", "out": "é🐭\n"}, nil)
	t.hasPrinted(n, "stdout", "one\ntwoé🐭\n")
}

func handlerNever(t *trial) {
	n := t.parked()
	n.wire.conn.Close()
	t.ends(n, "the end of its endpoint")
}
