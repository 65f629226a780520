package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a function find around it: directory, user, host, programs, processes?

// What programs expect of the place that a function runs in. What is the same for each language is in the
// conformance kit.

// pythonPlace asks in Python's own words, in the handler's file and in an event.
const pythonPlace = `
import getpass, grp, multiprocessing, os, pty, pwd, socket, subprocess, sys, tempfile, time

def look():
    with open("/dev/stdout", "w") as out, open("/dev/fd/2", "a") as err, open("/dev/stdin") as empty:
        out.write("by name\n")
        err.write("by number\n")
        nothing = empty.read()
    controller, terminal = pty.openpty()
    os.write(terminal, b"x")
    lock = multiprocessing.Lock()  # in /dev/shm
    for directory in ("/run", "/var/tmp", "/var/run", "/dev/shm", tempfile.gettempdir()):
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    return [os.getcwd(), nothing, os.read(controller, 1).decode(), os.ttyname(terminal), getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir, grp.getgrgid(os.getgid()).gr_name,
            os.path.expanduser("~"), socket.gethostbyname(socket.gethostname()), socket.getfqdn(), time.tzname[0], lock.acquire(),
            os.path.isfile(sys.executable), subprocess.check_output([sys.executable, "-c", "import sys; print(sys.version_info[:3])"], text=True) == str(sys.version_info[:3]) + "\n"]

at_import = look()

def handler(event, context):
    return [at_import, look(), os.environ["AWS_LAMBDA_LOG_GROUP_NAME"], os.environ["_HANDLER"], os.environ["AWS_REGION"], os.environ["USER"]]
`

func TestPlace(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "the-place", handlerFile(pythonPlace).with("open_here.txt", "x"))
	one := `["/function","","x","/dev/pts/0","function","/tmp","function","/tmp","127.0.1.1","pipsqueak","UTC",true,true,true]`
	want := fmt.Sprintf(`[%s,%s,"the-place","handler.handler","us-east-1","function"]`, one, strings.Replace(one, "pts/0", "pts/1", 1))
	if a := w.run(t, "the-place", `{}`); string(a.body) != want {
		t.Errorf("the place is %v\nand not %s", a, want)
	}
	logs := w.ask(t, http.MethodGet, "/v1/functions/the-place/logs", nil)
	if strings.Count(string(logs.body), "by name") != 2 || strings.Count(string(logs.body), "by number") != 2 {
		t.Errorf("what was written to /dev/stdout and /dev/fd/2 is not in the logs: %s", logs.body)
	}
}

// What a package notes of its place when a zygote imports it is the place of an instance.
func TestPlaceIsNoted(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "noted", "1.0", "", files{"noted.py": "import os, socket\nPLACE = [os.getcwd(), os.path.abspath('a'), socket.gethostname()]\n"})
	w := startWorker(t, t.TempDir())
	w.deploy(t, "noted", handlerFile("import noted\ndef handler(event, context): return noted.PLACE\n").with("requirements.txt", "noted\n").with("pipsqueak.yaml", "reuse: false\n"))
	w.starts(t, "noted", `{}`, `["/function","/function/a","pipsqueak"]`)
}

// A package that looks at its place when it is imported finds that of an instance: cold, beside a zygote that
// has imported it for another function, and warm.
func TestPythonLooksAtItsPlace(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "reader", "1.0", "", files{"reader.py": `
import os, sys
value = open("config/x").read() if os.path.exists("config/x") else "none"
here, arguments = os.getcwd(), sys.argv[1:]
`})
	index.addWheel(t, "keeper", "1.0", "", files{"keeper.py": "import os\nid = os.getpid()\n"})
	w := startWorker(t, t.TempDir())
	const answers = "import reader\ndef handler(event, context): return [reader.value, reader.here, reader.arguments]\n"
	const moves = `
import os, sys
def move():
    os.makedirs("/tmp/config", exist_ok=True)
    with open("/tmp/config/x", "w") as f: f.write("moved")
    os.chdir("/tmp")
    sys.argv += ["x"]
`
	reader := func(code string) files { return handlerFile(code).with("requirements.txt", "reader\n") }
	for _, f := range []struct {
		name, want, apart string
		files             files
	}{
		{"none", `["none","/function",[]]`, "", reader(answers)},
		{"first", `["first","/function",[]]`, "looks for ./config in the working directory", reader(answers).with("config/x", "first")},
		{"second", `["second","/function",[]]`, "looks for ./config in the working directory", reader(answers).with("config/x", "second")},
		{"moves", `["moved","/tmp",["x"]]`, "which the function's files change", reader("from moves import move\nmove()\n"+answers).with("moves.py", moves)},
		{"keeper", `true`, "reads the pid of its process", handlerFile("import os, keeper\ndef handler(event, context): return keeper.id == os.getpid()\n").
			with("requirements.txt", "keeper\n")},
	} {
		for kind, reuse := range map[string]string{f.name: "reuse: false\n", f.name + "-warm": "reuse: true\n"} {
			w.deploy(t, kind, f.files.with("pipsqueak.yaml", reuse))
			w.probed(t, kind)
			for i := range 3 {
				if a := w.run(t, kind, `{}`); string(a.body) != f.want {
					t.Errorf("%s, start %d: %v", kind, i, a)
				}
			}
			told := fmt.Sprint(decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/"+kind, nil)).Apart)
			if !strings.Contains(told, f.apart) || f.apart == "" && told != "map[]" {
				t.Errorf("%s: what is apart is %s, want %q", kind, told, f.apart)
			}
		}
		if f.apart == "" {
			forkStart(t, w, f.name, `{}`)
		}
	}
}

// starts invokes a function cold, forked from a zygote with its packages, and warm, and checks each answer.
func (w *worker) starts(t *testing.T, name, event, want string) {
	t.Helper()
	w.probed(t, name)
	if a := w.run(t, name, event); string(a.body) != want {
		t.Errorf("%s, first: %v", name, a)
	}
	if a := forkStart(t, w, name, event); string(a.body) != want {
		t.Errorf("%s, in a fork: %v", name, a)
	}
}

// A program that a handler starts in its own language has the function's packages, however it is started, and
// so has one that a package starts: when the file is imported and in an event, cold and in a fork. Programs
// of packages are found by their names.
func TestPythonPrograms(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "outer", "1.0", "Requires-Dist: inner\n", files{"outer/__init__.py": "import inner\nWORD = inner.WORD\ndef word(_): return WORD\ndef main(): print('program', WORD)\n",
		"outer/__main__.py": "import outer\nprint('main', outer.WORD)\n", "outer-1.0.dist-info/entry_points.txt": "[console_scripts]\nouter-program = outer:main\n"})
	index.addWheel(t, "inner", "1.0", "", files{"inner.py": "WORD = 'found'", "inner-1.0.data/scripts/inner-program": "#!python\nimport sys, outer\nprint('written', outer.WORD, sys.argv[1:])\n"})
	index.addWheel(t, "starter", "1.0", "Requires-Dist: outer\n", files{"starter.py": `
import subprocess, sys
flags = subprocess._args_from_interpreter_flags()  # which multiprocessing and joblib start their own processes with
commands = [[sys.executable, "-c", "import string, sys, outer; print(outer.WORD, string.digits, [p for p in sys.path if 'pipsqueak' in p])"],
            [sys.executable, *flags, "-c", "import outer; print(outer.WORD)"], [sys.executable, "-m", "outer"], ["outer-program"], ["inner-program", "x"]]
def run():
    told = [subprocess.run(command, capture_output=True, text=True) for command in commands]
    return "".join(one.stdout + one.stderr[-500:] for one in told)
first = run()
`})
	// Named as a module of the standard library, which is found first, as behind a virtual environment.
	index.addWheel(t, "shadow", "1.0", "", files{"string.py": "raise Exception('the standard library is hidden')"})
	w := startWorker(t, t.TempDir())
	w.deploy(t, "programs", handlerFile(`
import multiprocessing
import outer, starter
first = starter.run()
def handler(event, context):
    pools = []
    for kind in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(kind).Pool(1) as pool:
            pools += pool.map(outer.word, [1])
    return [starter.first, first, starter.run(), pools]
`).with("requirements.txt", "outer\nshadow\nstarter\n").with("pipsqueak.yaml", "reuse: false\n"))
	const said = `"found 0123456789 []\nfound\nmain found\nprogram found\nwritten found ['x']\n"`
	w.starts(t, "programs", `{}`, "["+said+","+said+","+said+`,["found","found","found"]]`)
}

func TestNodePrograms(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	r := newNPMIndex(t)
	r.add("outer", "1.0.0", map[string]any{"dependencies": map[string]string{"inner": "1.0.0"}}, files{"index.js": "module.exports = require('inner');"})
	r.add("inner", "1.0.0", nil, files{"index.js": "module.exports = 'found';"})
	w := r.worker(t)
	w.deploy(t, "programs", files{"package.json": `{"dependencies":{"outer":"1.0.0"}}`, "pipsqueak.yaml": "reuse: false\n", "module.mjs": "import outer from 'outer'; console.log(outer);", "index.js": `
require('outer');
const { spawnSync } = require('child_process');
const fs = require('fs');
const run = () => {
  fs.writeFileSync('/tmp/elsewhere.js', "console.log(require('outer'))");
  return [['-e', "console.log(require('outer'))"], ['/tmp/elsewhere.js'], ['/function/module.mjs']].map((args) => {
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    return stdout + stderr.slice(-500);
  });
};
const first = run();
exports.handler = async () => [process.cwd(), ...first, ...run()];
`})
	found := `"found\n"`
	w.starts(t, "programs", `{}`, `["/function",`+strings.Join(slices.Repeat([]string{found}, 6), ",")+`]`)
}

func TestRubyPrograms(t *testing.T) {
	rubySystem(t)
	index := gemIndex(t, gems)
	t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "programs", rubyFile(`
require "open3"
require "rbconfig"
require "greeting"
def run = Open3.capture2e(RbConfig.ruby, "-e", 'require "greeting"; print Greeting.to("you"), Dir.pwd').first
FIRST = run
def handler(event:, context:) = [FIRST, run]
`).with("Gemfile", fmt.Sprintf("source %q\ngem 'greeting', '1.0.0'\n", index)).with("pipsqueak.yaml", "reuse: false\n"))
	w.starts(t, "programs", `{}`, `["HELLO YOU!/function","HELLO YOU!/function"]`)
}

// A program that a compiled handler starts finds the libraries of its Debian packages.
func TestNativePrograms(t *testing.T) {
	system(t)
	program(t, "c++")
	program(t, "apt-get")
	w := shared(t)
	w.deploy(t, "native-programs", files{"pipsqueak.yaml": "debian: [libcmark-dev]\nreuse: false\n",
		"Makefile": "all: handler.so tool\nhandler.so: handler.cc\n\t$(CXX) -shared -fPIC -o $@ $< -lcmark\ntool: tool.c\n\t$(CC) -o $@ $< -lcmark\n",
		"tool.c":   "#include <cmark.h>\n#include <stdio.h>\nint main(void) { puts(cmark_version_string()); return 0; }\n",
		"handler.cc": `#include <cmark.h>
#include <pipsqueak.hpp>
#include <cstdio>
static std::string run(std::string_view, pipsqueak::context &) {
    char line[100] = "";
    FILE *tool = popen("./tool 2>&1", "r");
    if (tool && fgets(line, sizeof line, tool)) {}
    if (tool) pclose(tool);
    return std::string(line) == std::string(cmark_version_string()) + "\n" ? "true" : "\"" + std::string(line).substr(0, 90) + "\"";
}
PIPSQUEAK_HANDLER(handler, run)
`})
	w.starts(t, "native-programs", `{}`, `true`)
}

// A warm instance answers on, whatever processes its handler has left behind, and no event is blamed for
// another's.
func TestOrphans(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "orphans", handlerFile(`
import os, subprocess
def handler(event, context):
    for _ in range(event):
        subprocess.run(["/bin/sh", "-c", "true & "], check=True)
    return os.getpid()
`))
	for range 3 {
		if got := result[int](t, w, "orphans", `150`); got != 2 {
			t.Errorf("the handler is process %d", got)
		}
	}
	if n := len(w.instances(t, "orphans")); n != 1 {
		t.Errorf("%d instances have served it", n)
	}
}

// How a handler ends itself is what is told.
func TestEndsByItself(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "ends", handlerFile("import os, signal\ndef handler(event, context):\n    signal.signal(signal.SIGUSR2, lambda *_: None)\n    os.kill(os.getpid(), event) if event else os.abort()\n    return 'on'\n"))
	for event, says := range map[string]string{"0": "signal 6 (aborted)", "15": "signal 15 (terminated)", "10": "signal 10 (user defined signal 1)"} {
		if f := w.run(t, "ends", event).expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway); !strings.Contains(f.Message, says) {
			t.Errorf("after signal %s: %s", event, f.Message)
		}
	}
	if got := result[string](t, w, "ends", "12"); got != "on" { // SIGUSR2
		t.Error(got)
	}
}

// memory_mb is for what the function does itself: what its packages take does not count, whether a zygote
// imports them or the instance.
func TestMemoryOfPackages(t *testing.T) {
	system(t)
	index := newPythonIndex(t, "")
	index.addWheel(t, "large", "1.0", "", files{"large.py": "held = bytearray(b'x') * (250 << 20)"})
	data := t.TempDir()
	w := startWorker(t, data)
	f := handlerFile("import large\ndef handler(event, context):\n    kept = bytearray(b'x') * (event << 20)\n    return len(large.held) >> 20\n").
		with("requirements.txt", "large\n").with("pipsqueak.yaml", "memory_mb: 64\nreuse: false\n")
	w.deploy(t, "large", f) // before anybody knows what the package takes
	w.probed(t, "large")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(data, "uses.json")); err != nil { // else its zygote were made at once
		t.Fatal(err)
	}
	w = startWorker(t, data)
	a := w.run(t, "large", `40`)
	if start := a.header.Get("Pipsqueak-Start"); start != "cold" || string(a.body) != "250" {
		t.Errorf("a %s start, in which the instance imports a package of 250 MB: %v", start, a)
	}
	w.run(t, "large", `400`).expectError(t, core.KindMemory, core.FaultHandler, http.StatusBadGateway)
	if a = forkStart(t, w, "large", `40`); string(a.body) != "250" {
		t.Errorf("a fork: %v", a)
	}
	w.run(t, "large", `400`).expectError(t, core.KindMemory, core.FaultHandler, http.StatusBadGateway)
}

// A full /tmp is an error of who writes, and ends nobody.
func TestFullScratch(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "full", handlerFile(`
import errno
kept = bytearray(b"x") * (40 << 20)
def handler(event, context):
    try:
        with open(event, "wb") as file:
            for _ in range(200):
                file.write(b"x" * (1 << 20))
    except OSError as error:
        return errno.errorcode[error.errno]
`).with("pipsqueak.yaml", "memory_mb: 64\n"))
	for _, path := range []string{"/tmp/a", "/var/tmp/b", "/dev/shm/c", "/run/d"} {
		if a := w.run(t, "full", `"`+path+`"`); string(a.body) != `"ENOSPC"` {
			t.Errorf("writing 200 MB to %s: %v", path, a)
		}
	}
}

// What libraries in C print by that language's own streams is in the log, once: of an import in a zygote, of
// an import and of an event in an instance.
func TestPrintsOfC(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("ruby"))
	w := shared(t)
	for name, f := range map[string]files{
		"prints-python": handlerFile("import ctypes\nprint_c = ctypes.CDLL(None).printf\nprint_c(b'of an import\\n')\ndef handler(event, context):\n    print_c(b'of an event\\n')\n    print_c(b'of half a line')\n"),
		"prints-ruby": rubyFile("require 'fiddle'\nPRINT = Fiddle::Function.new(Fiddle.dlopen(nil)['puts'], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)\nPRINT.call('of an import')\n" +
			"def handler(event:, context:)\n  PRINT.call('of an event')\n  PRINT.call('of half a line')\nend\n"),
	} {
		w.deploy(t, name, f.with("pipsqueak.yaml", "reuse: false\n"))
		log := func() string {
			return string(w.ask(t, http.MethodGet, "/v1/functions/"+name+"/logs", nil).body)
		}
		before := strings.Count(log(), "of an import")
		for range 3 {
			if a := w.run(t, name, `{}`); a.status != http.StatusOK {
				t.Fatal(a)
			}
		}
		eventually(t, patience, name+" has printed", func() bool { return strings.Count(log(), "of half a line") >= 3 })
		if got := log(); strings.Count(got, "of an event") != 3 || strings.Count(got, "of half a line") != 3 || strings.Count(got, "of an import") < before+3 {
			t.Errorf("%s has printed %s", name, got)
		}
	}
}
