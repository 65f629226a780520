package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// starts returns instances of a function of every kind of start: from a root zygote, from one that has
// imported the modules, and from one below that.
func starts(t *testing.T, h *drivertest.House, changes func(*core.HandlerLoad), modules ...string) map[string]func() string {
	t.Helper()
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, theFiles, modules...)
	if err != nil {
		t.Fatal(err)
	}
	below, _, err := h.Zygote(t, zygote, theFiles)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func() string{
		"cold":  func() string { return drivertest.Ask(t, h.Instance(t, root, theFiles, changes), `{}`) },
		"fork":  func() string { return drivertest.Ask(t, h.Instance(t, zygote, theFiles, changes), `{}`) },
		"below": func() string { return drivertest.Ask(t, h.Instance(t, below, theFiles, changes), `{}`) },
	}
}

// TestNames has modules of the same names in the function, in the standard library and in packages. Each
// start finds what a plain interpreter in a virtual environment finds: the function's, then the language's,
// then the packages'.
func TestNames(t *testing.T) {
	h := newHouse(t, map[string]string{
		"calendar.py": "own = True\n", "json/__init__.py": "own = True\n", "os.py": "own = True\n", "time.py": "own = True\n", "queue/data.txt": "", "six.py": "own = True\n",
		"handler.py": `
import __main__, builtins, calendar, email.utils, importlib, json, os, queue, six, sys, time, typing, shared.one, shared.two
main = __main__.__file__
def handler(event, context):
    own = {m.__name__: getattr(m, "own", False) for m in (calendar, json, os, queue, six, time, typing)}
    return own | {"package": typing.__file__.startswith("/packages"), "path": sys.path[0], "exit": callable(exit) and callable(quit), "argv": sys.argv,
                  "main": __import__("__main__").__file__, "again": main, "hole": importlib.import_module("holes").hole}
`})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"typing.py": "raise RuntimeError('of a package')\n", "six.py": "own = False\n", "shared/one.py": "", "shared/two.py": "",
		"loaded.py": "import calendar, queue, six, shared.one\n", "added.pth": "# more\ninside\nimport sys; sys.hole = 'pth'\n", "inside/holes.py": "import sys\nhole = sys.hole\n"})
	for name, answer := range starts(t, h, func(*core.HandlerLoad) {}, "loaded", "email.utils", "typing") {
		got := result[map[string]any](t, answer())
		for key, want := range map[string]any{"calendar": true, "json": true, "os": false, "time": false, "queue": false, "six": true, "typing": false, "package": false, "path": "/function", "exit": true,
			"main": "/function/handler.py", "again": "/function/handler.py", "hole": "pth"} {
			if got[key] != want {
				t.Errorf("%s: %s is %v, want %v", name, key, got[key], want)
			}
		}
		if argv := fmt.Sprint(got["argv"]); argv != "[]" {
			t.Errorf("%s: argv is %s", name, argv)
		}
	}
}

// TestProgram has the program of an instance be its handler's file, for itself and for processes that it
// spawns: these import the handler's module once.
func TestProgram(t *testing.T) {
	h := newHouse(t, map[string]string{"app/__init__.py": "", "app/main.py": `
import __main__, inspect, multiprocessing, os, pickle
with open("/tmp/imports", "a") as file: file.write(f"{__name__}\n")
class Own: pass
def work(pipe): pipe.send([__name__, type(pickle.loads(pickle.dumps(Own()))) is Own])
def handler(event, context):
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    child = spawn.Process(target=work, args=(there,))
    child.start(); child.join()
    return [__main__.__file__, inspect.getmodule(handler).__name__, here.recv(), open("/tmp/imports").read().split(), sorted(name for name in vars(__main__))]
`})
	for name, answer := range starts(t, h, func(l *core.HandlerLoad) { l.Handler = "app/main.handler" }, "json") {
		const want = `R["/function/app/main.py","app.main",["app.main",true],["app.main","app.main"],["__annotations__","__builtins__","__cached__","__doc__","__file__","__loader__","__name__","__package__","__spec__"]]`
		if got := answer(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestForeignObjects has packages leave in the interpreter what nobody expects there, and handlers raise and
// return it.
func TestForeignObjects(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.py": `
import odd
class Text(str):
    def __len__(self): raise RuntimeError
class Meta(type):
    @property
    def __name__(cls): raise RuntimeError("no name")
class Unspeakable(Exception, metaclass=Meta):
    def __str__(self): raise RuntimeError("no text")
    def __getattribute__(self, name): raise RuntimeError(name)
class Odd(Exception):
    def __str__(self): return Text("odd text")
class Callable:
    def __getattr__(self, name): raise RuntimeError(name)
    def __call__(self, event, context):
        if event == 1: raise Unspeakable
        if event == 2: raise Odd
        if event == 3: return Callable()
        if event == 4: exec(compile("raise OSError(1, 'nobody has the source')", "/packages/odd.so", "exec"), {"__loader__": self, "__name__": "x"})
        if event == 5:
            error = SyntaxError("syntax"); error.filename = self; raise error
        return "fine"
handler = Callable()
`})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{"odd.py": `
import sys, types, random, gc
class Bare:
    __slots__ = ()
    def __getattribute__(self, name): raise RuntimeError(name)
class Module(types.ModuleType):
    def __getattribute__(self, name): raise RuntimeError(name)
class Class(types.ModuleType):
    __class__ = property(lambda self: 1 / 0)
    __dict__ = property(lambda self: 1 / 0)
class Generator(random.Random):
    __hash__ = None
    def seed(self, *a, **k): raise RuntimeError("no seed")
    def __eq__(self, other): raise RuntimeError
sys.modules["bare"], sys.modules["module"], sys.modules["class"], sys.modules["none"] = Bare(), Module("module"), Class("class"), None
sys.modules["numpy"] = sys.modules["numpy.random"] = sys.modules["ssl"] = sys.modules["tempfile"] = sys.modules["uuid"] = sys.modules["torch"] = Bare()
sys.modules["numexpr"] = sys.modules["multiprocessing.process"] = sys.modules["odd.inner"] = Bare()
try: Generator()
except RuntimeError: pass
g = Generator.__new__(Generator)
sys.stdout.close()
sys.stderr = None
`})
	for name, answer := range starts(t, h, func(l *core.HandlerLoad) { l.Modules = []string{"odd"} }, "odd") {
		if got := answer(); got != `R"fine"` {
			t.Errorf("%s: %s", name, got)
		}
	}
	root := h.Root(t)
	zygote, report, err := h.Zygote(t, root, theFiles, "odd")
	if err != nil || report.Threads != 1 {
		t.Fatal(report, err)
	}
	instance := h.Instance(t, zygote, theFiles)
	for event, want := range map[string]core.Exception{
		"1": {Type: "Unspeakable", Message: "(its text cannot be had: its __str__ raises)"}, "2": {Type: "Odd", Message: "odd text"}, "4": {Type: "PermissionError", Message: "[Errno 1] nobody has the source"},
		"5": {Type: "SyntaxError", Message: "syntax"},
	} {
		var got core.Exception
		answer := drivertest.Ask(t, instance, event)
		if err := json.Unmarshal([]byte(answer[1:]), &got); err != nil || answer[0] != 'X' || got.Type != want.Type || got.Message != want.Message || len(got.Stack) == 0 {
			t.Errorf("event %s: %s", event, answer)
		}
	}
	if got := drivertest.Ask(t, instance, "3"); got[0] != 'L' {
		t.Errorf("an object is answered by %s", got)
	}
	fresh, _, err := h.Zygote(t, root, theFiles)
	if err != nil {
		t.Fatal(err)
	}
	if report, err := h.Import(t.Context(), fresh.Door().ID, core.Load{Packages: []string{"/packages/files-1"}, Modules: []string{"odd"}, Watch: true, Draw: []string{"odd"}}); err != nil {
		t.Errorf("a probe of it: %+v %v", report, err)
	}
}

// TestOurs has the runtime fail by itself: nobody else is blamed.
func TestOurs(t *testing.T) {
	var got struct{ Error core.Error }
	ask(t, "import zygote; print(json.dumps(zygote.answer_to({'op': 'import', 'modules': 5})))", nil, &got)
	if got.Error.Kind != core.KindInternal || got.Error.Fault != core.FaultDriver || got.Error.Exception.Type != "TypeError" {
		t.Errorf("%+v", got.Error)
	}
}

// TestAsync has handlers that are coroutine functions, in a file of a directory; what one has opened in its
// loop is open for the next event.
func TestAsync(t *testing.T) {
	h := newHouse(t, map[string]string{"app/main.py": `
import asyncio
queue = None
async def run(event, context):
    global queue
    queue = queue or asyncio.Queue()
    await queue.put(event)
    await asyncio.sleep(0)
    if event == "raise": raise KeyError("in a coroutine")
    return [await queue.get(), asyncio.get_running_loop() is queue._loop if getattr(queue, "_loop", None) else True]
class C:
    async def alone(self, event): return event
alone = C().alone
`})
	root := h.Root(t)
	for handler, want := range map[string]string{"app.main.run": `R["a",true]`, "app/main.run": `R["a",true]`, "app.main.alone": `R"a"`} {
		instance := h.Instance(t, root, nil, func(l *core.HandlerLoad) { l.Handler = handler })
		for range 2 {
			if got := drivertest.Ask(t, instance, `"a"`); got != want {
				t.Errorf("%s: %s, want %s", handler, got, want)
			}
		}
		if got := drivertest.Ask(t, instance, `"raise"`); handler != "app.main.alone" && got[0] != 'X' {
			t.Errorf("%s: %s", handler, got)
		}
	}
}
