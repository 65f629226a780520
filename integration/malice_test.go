package integration

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What can a package do that is imported in a zygote? These tests deploy one that tries all it can, and ask afterwards what it got, and
// what somebody else finds of it. What it tries is in testdata/malice/mischief.c, the same in each language, in the very process that imports it.

// hostile is a language with a malicious package.
type hostile struct {
	language string
	program  string   // that its runtimes need
	source   string   // in testdata/malice
	flags    []string // to compile it with
	place    string   // of the package inside a sandbox
	// serve serves two packages as a registry of the language does, the malicious one with the library and an innocent one, "bystander",
	// tells workers of that registry, and returns its address.
	serve  func(t *testing.T, library string) string
	worker func(t *testing.T, registry string) *worker
	// carrier depends on the malicious package, and returns {"where": pid that imported it, "attempts"}; victim depends on the other,
	// and returns a list of what it finds of the malicious one. @REGISTRY@ in them stands for the address.
	carrier, victim files
}

// attempts are what the malicious package tries.
var attempts = []string{
	"read the directories of the host that its mounts come from", "read a function's code", "read the host's secrets", "read the environment of the worker",
	"read the memory of another process", "trace another process", "signal another process", "write into its own package", "write beside the packages",
	"make its own package writable", "read packages that it was not given", "write to the driver's files", "write to the system", "write to the kernel's settings",
	"open a device", "make a device", "reach a server of the host", "reach an abstract socket of the host", "reach a socket in the file system",
	"reach another machine", "look up a name", "open a packet socket", "become root", "join the namespaces of another process", "make a user namespace",
	"chroot out", "mount a disk", "move to another cgroup", "loosen its memory limit", "be spared by the OOM killer before the worker", "raise its limits",
	"load a kernel module", "load a BPF program", "watch the machine's performance", "use the kernel's keys", "handle page faults",
}

func TestMalice(t *testing.T) {
	for _, h := range hostiles {
		t.Run(h.language, func(t *testing.T) {
			system(t)
			requires(t, Runtime(h.program))
			t.Run("attempts", h.test)
			t.Run("survivor", h.testSurvivor)
		})
	}
}

// deploy deploys victim and then carrier, on a worker of their own. A survivor is the name of a process that the package is to leave.
func (h hostile) deploy(t *testing.T, survivor string, heard chan<- string) *worker {
	t.Helper()
	server := hear(t, "tcp", "127.0.0.1:0", heard)
	abstract := hear(t, "unix", fmt.Sprintf("@pipsqueak-malice-%d-%s", os.Getpid(), h.language), heard)
	_, port, err := net.SplitHostPort(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(t.TempDir(), "library")
	compile := exec.Command("cc", append(h.flags, "-O1", "-shared", "-fPIC", "-o", library, "-DSERVER_PORT="+port, fmt.Sprintf("-DABSTRACT=%q", strings.TrimPrefix(abstract.Addr().String(), "@")),
		fmt.Sprintf("-DPACKAGE=%q", h.place), fmt.Sprintf("-DSURVIVOR=%q", survivor), filepath.Join(repositoryRoot(t), "integration", "testdata", "malice", h.source))...)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	registry := h.serve(t, string(text))
	w := h.worker(t, registry)
	for name, f := range map[string]files{"victim": h.victim, "carrier": h.carrier} {
		f = maps.Clone(f)
		for file := range f {
			f[file] = strings.ReplaceAll(f[file], "@REGISTRY@", registry)
		}
		w.deploy(t, name, f)
		w.probed(t, name)
	}
	return w
}

// testSurvivor has the package leave a process when it is imported. No zygote keeps it, and none of its processes outlives the function.
func (h hostile) testSurvivor(t *testing.T) {
	name := fmt.Sprintf("survivor-%d", os.Getpid()%100000)
	w := h.deploy(t, name, make(chan string, 16))
	if apart := w.function(t, "carrier").Apart; len(apart) == 0 {
		t.Error("nothing was noticed of the process that importing it leaves")
	}
	w.run(t, "carrier", `{}`)
	if found := result[[]string](t, w, "victim", `{}`); len(found) > 0 {
		t.Errorf("a function that does not depend on it finds %q", found)
	}
	if out, errs, err := w.command(t, "", "remove", "carrier"); err != nil {
		t.Fatal(out, errs, err)
	}
	eventually(t, patience, "no process of the package is left", func() bool {
		all, _ := filepath.Glob("/proc/[0-9]*/comm")
		return !slices.ContainsFunc(all, func(path string) bool {
			text, err := os.ReadFile(path)
			return err == nil && strings.TrimSpace(string(text)) == name
		})
	})
}

func (h hostile) test(t *testing.T) {
	heard := make(chan string, 16)
	w := h.deploy(t, "", heard)
	forkStart(t, w, "victim", `{}`)
	forkStart(t, w, "carrier", `{}`)
	before := w.snapshot(t)
	told := result[struct {
		Where    int
		Attempts map[string]string
	}](t, w, "carrier", `{}`)
	if told.Where == 2 {
		t.Error("the package was imported in an instance, and not in a zygote: this test tests nothing")
	}
	for _, name := range attempts {
		switch outcome, tried := told.Attempts[name]; {
		case !tried:
			t.Errorf("the package did not try to %s", name)
		case !strings.HasPrefix(outcome, "refused: "):
			t.Errorf("the package could %s: %s", name, outcome)
		default:
			t.Logf("%-60s %s", name, outcome)
		}
	}
	for name := range told.Attempts {
		if !slices.Contains(attempts, name) {
			t.Errorf("nobody knows the attempt to %s", name)
		}
	}
	if found := result[[]string](t, w, "victim", `{}`); len(found) > 0 {
		t.Errorf("a function that does not depend on it finds %q", found)
	}
	select {
	case what := <-heard:
		t.Errorf("the host heard of it: %s", what)
	default:
	}
	for i, d := range w.snapshot(t).Drivers {
		if d.Restarts != before.Drivers[i].Restarts || d.PID != before.Drivers[i].PID {
			t.Errorf("the driver of %s was restarted", d.Language)
		}
	}
	if out, errs, err := w.command(t, "", "remove", "carrier"); err != nil {
		t.Fatal(out, errs, err)
	}
}

// hear listens, and tells of everybody who comes.
func hear(t *testing.T, network, address string, heard chan<- string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			text := make([]byte, 64)
			n, _ := conn.Read(text)
			heard <- fmt.Sprintf("%s: %q", listener.Addr(), text[:n])
			_ = conn.Close()
		}
	}()
	return listener
}

const fresh = "reuse: false\ntimeout_ms: 60000\n" // every event has an instance of its own

// usual starts a worker that was told of the registry by its environment.
func usual(t *testing.T, _ string) *worker {
	t.Helper()
	return startWorker(t, t.TempDir())
}

var hostiles = []hostile{nativeHostile, {
	language: "python", program: "python3", source: "mischief.c", place: "/packages/mischief-1.0/mischief",
	worker: usual,
	serve: func(t *testing.T, library string) string {
		index := newPythonIndex(t, "")
		index.addWheel(t, "bystander", "1.0", "", files{"bystander/__init__.py": "", "bystander/secret.py": ""})
		index.addWheel(t, "mischief", "1.0", "", files{"mischief/library.so": library, "mischief/__init__.py": `
import builtins, ctypes, json, os
library = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "library.so"))
library.mischief_attempts.restype = ctypes.c_char_p
where, attempts = int(os.readlink('/proc/self')), json.loads(library.mischief_attempts())
builtins.mischief = True
`})
		return index.URL
	},
	carrier: handlerFile("import mischief\n\ndef handler(event, context):\n    return {'where': mischief.where, 'attempts': mischief.attempts}\n").
		with("requirements.txt", "mischief\n").with("pipsqueak.yaml", fresh),
	victim: handlerFile(`
import bystander, builtins, ctypes, os, socket, sys

def handler(event, context):
    found = [name for name in list(sys.modules) + dir(builtins) if "mischief" in name] + [key for key in os.environ if "MISCHIEF" in key]
    found += [path for path in ("/tmp/mischief", "/dev/shm/mischief", "/var/tmp/mischief") if os.path.exists(path)]
    found += [name for name in os.listdir("/packages") if not name.startswith("bystander")]
    if ctypes.CDLL(None).shmget(0x4711, 0, 0) != -1:
        found.append("shared memory")
    if socket.gethostname() == "mischief":
        found.append("the name of the host")
    if os.nice(0) != 0:
        found.append("a lower priority")
    return found
`).with("requirements.txt", "bystander\n").with("pipsqueak.yaml", fresh),
}, {
	language: "node", program: "node", source: "node.c", place: "/packages/mischief-1.0.0/node_modules/mischief",
	worker: usual,
	serve: func(t *testing.T, library string) string {
		index := newNPMIndex(t)
		index.add("bystander", "1.0.0", nil, files{"index.js": "", "secret.js": ""})
		index.add("mischief", "1.0.0", nil, files{"library.node": library,
			"index.js": "exports.where = Number(require('fs').readlinkSync('/proc/self'));\nexports.attempts = JSON.parse(require('./library.node'));\nObject.prototype.mischief = 1;\nglobalThis.mischief = 1;\n"})
		t.Setenv("NPM_CONFIG_REGISTRY", index.URL+"/")
		return index.URL
	},
	carrier: files{"package.json": `{"dependencies": {"mischief": "1.0.0"}}`, "pipsqueak.yaml": fresh,
		"handler.js": "const { where, attempts } = require('mischief');\nexports.handler = async () => ({ where, attempts: { ...attempts } });\n"},
	victim: files{"package.json": `{"dependencies": {"bystander": "1.0.0"}}`, "pipsqueak.yaml": fresh, "handler.js": `
const fs = require('fs'), os = require('os');
require('bystander');
exports.handler = async () => {
  const found = [...Object.keys(require.cache), ...Object.keys(process.env).map((k) => k.toLowerCase())].filter((name) => name.includes('mischief'));
  if ('mischief' in globalThis || 'mischief' in {}) found.push('a global');
  found.push(...['/tmp/mischief', '/dev/shm/mischief', '/var/tmp/mischief'].filter((path) => fs.existsSync(path)));
  found.push(...fs.readdirSync('/packages').filter((name) => !name.startsWith('bystander')));
  if (os.hostname() === 'mischief') found.push('the name of the host');
  if (os.getPriority() !== 0) found.push('a lower priority');
  return found;
};
`},
}, {
	language: "ruby", program: "ruby", source: "mischief.c", place: "/packages/mischief-1.0.0/gem/lib",
	worker: usual,
	serve: func(t *testing.T, library string) string {
		index := gemIndex(t, []gem{{"bystander", "1.0.0", "", files{"lib/bystander.rb": "", "lib/secret.rb": ""}},
			{"mischief", "1.0.0", "", files{"lib/mischief.so": library, "lib/mischief.rb": `
require "fiddle"
require "json"
module Mischief
  LIBRARY = Fiddle.dlopen("#{__dir__}/mischief.so")
  WHERE = File.readlink('/proc/self').to_i
  ATTEMPTS = JSON.parse(Fiddle::Function.new(LIBRARY["mischief_attempts"], [], Fiddle::TYPE_VOIDP).call.to_s.force_encoding("UTF-8"))
end
class Object; def mischief = 1; end
`}}})
		t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
		return index
	},
	carrier: files{"Gemfile": "source '@REGISTRY@'\ngem 'mischief'\n", "pipsqueak.yaml": fresh,
		"handler.rb": "require 'mischief'\ndef handler(event:, context:) = { where: Mischief::WHERE, attempts: Mischief::ATTEMPTS }\n"},
	victim: files{"Gemfile": "source '@REGISTRY@'\ngem 'bystander'\n", "pipsqueak.yaml": fresh, "handler.rb": `
require "bystander"
require "socket"
def handler(event:, context:)
  found = ($LOADED_FEATURES + ENV.keys.map(&:downcase)).grep(/mischief/)
  found << "a method" if respond_to?(:mischief)
  found.concat(%w[/tmp/mischief /dev/shm/mischief /var/tmp/mischief].select { |path| File.exist?(path) })
  found.concat(Dir.children("/packages").reject { |name| name.start_with?("bystander") })
  found << "the name of the host" if Socket.gethostname == "mischief"
  found << "a lower priority" if Process.getpriority(Process::PRIO_PROCESS, 0) != 0
  found
end
`},
}}
