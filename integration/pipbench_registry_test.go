package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do unmodified clients, and Pipsqueak's workers, install artificial packages from pipbench's registry?

// registryOf serves a directory of artificial packages while the test runs, and returns its address.
func registryOf(t *testing.T, dir string) string {
	t.Helper()
	command := exec.Command(filepath.Join(programs(t), "pipbench"), "registry", dir, "--listen", "127.0.0.1:0")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		t.Fatalf("the registry says %q, %v", line, err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		if err := command.Wait(); err != nil {
			t.Errorf("the registry ended with %v", err)
		}
	})
	return address
}

// ordinary runs a client with few variables of its own, in a directory with a home.
func ordinary(t *testing.T, dir string, environment []string, name string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir = dir
	command.Env = append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir}, environment...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, arguments, err, out)
	}
	return string(out)
}

// requiring returns a package that requires others, a few at least and no more than it takes to see that they
// come.
func requiring(t *testing.T, all []artificialPackage) artificialPackage {
	t.Helper()
	i := slices.IndexFunc(all, func(p artificialPackage) bool { return p.Closure >= 4 && p.Closure <= 9 })
	if i < 0 {
		t.Fatal("no package has a closure of 4 to 9")
	}
	return all[i]
}

// allowing has a function allow those packages to run code that do when they are installed.
func (f files) allowing(all []artificialPackage) files {
	var names []string
	for _, p := range all {
		if p.Builds {
			names = append(names, p.Name, moduleName(p.Name))
		}
	}
	return f.with("pipsqueak.yaml", "allow_scripts: ["+strings.Join(names, ", ")+"]\n")
}

// answers deploys a function and checks that it answers with the value of a package, cold and again.
func answers(t *testing.T, w *worker, f files, p artificialPackage) {
	t.Helper()
	fn := w.deploy(t, "artificial", f)
	if len(fn.Packages) != p.Closure && len(fn.Packages) != 2*p.Closure {
		t.Errorf("%d packages were installed, want %d", len(fn.Packages), p.Closure)
	}
	_, value := p.latest()
	for range 2 {
		if got := w.run(t, "artificial", `{}`); got.status != 200 || strings.TrimSpace(string(got.body)) != fmt.Sprintf("%q", value) {
			t.Errorf("the function answers %v, want %s", got, value)
		}
	}
}

func TestPipbenchRegistryPython(t *testing.T) {
	dir, all := pipbench(t, "python", "--count", "60", "--seed", "4", "--scale", "0.001")
	address := registryOf(t, dir)
	p := requiring(t, all)
	_, value := p.latest()
	home := t.TempDir()
	says := "import " + moduleName(p.Name) + " as p; print(p.value)"
	for client, command := range map[string][]string{
		"uv":  {filepath.Join(programs(t), "libexec/uv"), "pip", "install", "--python", "v/bin/python", p.Name},
		"pip": {"v/bin/python", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", p.Name},
	} {
		t.Run(client, func(t *testing.T) {
			dir := filepath.Join(home, client)
			coretest.Must(t, os.Mkdir(dir, 0o755))
			if client == "uv" {
				ordinary(t, dir, nil, command[0], "venv", "--python", "/usr/bin/python3", "v")
			} else {
				ordinary(t, dir, nil, "/usr/bin/python3", "-m", "venv", "v")
			}
			command[0] = strings.Replace(command[0], "v/bin", dir+"/v/bin", 1)
			ordinary(t, dir, []string{"UV_DEFAULT_INDEX=" + address + "/python/simple", "PIP_INDEX_URL=" + address + "/python/simple"}, command[0], command[1:]...)
			if said := ordinary(t, dir, nil, dir+"/v/bin/python", "-c", says); strings.TrimSpace(said) != value {
				t.Errorf("%s says %q, want %s", p.Name, said, value)
			}
			installed, err := filepath.Glob(dir + "/v/lib/python3*/site-packages/pb_*.dist-info")
			coretest.Must(t, err)
			if len(installed) != p.Closure {
				t.Errorf("%d packages are installed, want %d", len(installed), p.Closure)
			}
		})
	}
	t.Run("pipsqueak", func(t *testing.T) {
		system(t)
		t.Setenv("UV_DEFAULT_INDEX", address+"/python/simple")
		code := "import " + moduleName(p.Name) + "\ndef handler(event, context):\n    return " + moduleName(p.Name) + ".value\n"
		answers(t, startWorker(t, t.TempDir()), handlerFile(code).with("requirements.txt", p.Name+"\n").allowing(all), p)
	})
}

const nodeCost = `
const statm = () => 4096 * require('fs').readFileSync('/proc/self/statm', 'utf8').split(' ')[1];
const names = process.argv.slice(1);
for (const name of names.slice(1)) require(name); // one at least, so that Node.js has what it needs for the first
statm();
const memory = statm(), used = process.cpuUsage();
const value = require(names[0]).value;
const after = process.cpuUsage(used);
console.log((after.user + after.system) / 1000, statm() - memory, value);
`

func TestPipbenchRegistryNode(t *testing.T) {
	coretest.Requires(t, Node, PackageManagers)
	dir, all := pipbench(t, "node", "--count", "80", "--seed", "5", "--scale", "0.01")
	address := registryOf(t, dir)
	chosen := append([]artificialPackage{requiring(t, all)}, costly(all, 8)...)
	dependencies := map[string]string{all[0].Name: "*"}
	for _, p := range chosen {
		dependencies[p.Name] = "*"
	}
	text, err := json.Marshal(map[string]any{"name": "root", "dependencies": dependencies})
	coretest.Must(t, err)
	for _, tool := range []string{"npm", "pnpm"} {
		t.Run(tool, func(t *testing.T) {
			m := managers(tool)[len(managers(tool))-1]
			node := testedNodes[0]
			project := filepath.Join(t.TempDir(), "project")
			coretest.Must(t, os.Mkdir(project, 0o755))
			writeFile(t, filepath.Join(project, "package.json"), string(text))
			m.run(t, &npmIndex{Server: &httptest.Server{URL: address + "/node"}}, project, "install")
			var c costs
			for _, p := range chosen {
				if p.Name == all[0].Name {
					continue
				}
				// The optimising compiler takes some 4 MB once in a process, as soon as a few dozen files are
				// loaded, of any package.
				arguments := []string{"--no-opt", "-e", nodeCost, p.Name, all[0].Name}
				if tool == "npm" { // pnpm shows a project only what it requires itself
					for _, r := range p.Requires {
						arguments = append(arguments, r.Package)
					}
				} else if p.Closure > 1 {
					continue
				}
				command := exec.Command(node, arguments...)
				command.Dir = project
				c.measure(t, p, command)
			}
			if tool == "npm" {
				c.check(t, 6)
			}
		})
	}
	t.Run("pipsqueak", func(t *testing.T) {
		system(t)
		t.Setenv("NPM_CONFIG_REGISTRY", address+"/node/")
		p := chosen[0]
		answers(t, startWorker(t, t.TempDir()), files{"index.js": fmt.Sprintf("const p = require('%s');\nexports.handler = async () => p.value;\n", p.Name),
			"package.json": fmt.Sprintf(`{"name": "f", "dependencies": {%q: "*"}}`, p.Name)}, p)
	})
}

const rubyCost = `
def statm = File.read("/proc/self/statm").split[1].to_i * 4096
ARGV.drop(1).each { |name| require name }
statm
memory, used = statm, Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID)
require ARGV[0]
used = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) - used
puts used * 1000, statm - memory, Object.const_get(ARGV[0].split("_").map { |word| word[0].upcase + word[1..] }.join)::VALUE
`

func TestPipbenchRegistryRuby(t *testing.T) {
	rubySystem(t)
	dir, all := pipbench(t, "ruby", "--count", "40", "--seed", "6", "--scale", "0.01")
	address := registryOf(t, dir)
	chosen := append([]artificialPackage{requiring(t, all)}, costly(all, 8)...)
	gemfile := fmt.Sprintf("source %q\n", address+"/ruby/")
	seen := map[string]bool{}
	for _, p := range chosen {
		if !seen[p.Name] {
			gemfile += fmt.Sprintf("gem %q\n", moduleName(p.Name))
		}
		seen[p.Name] = true
	}
	project := t.TempDir()
	writeFile(t, filepath.Join(project, "Gemfile"), gemfile)
	environment := []string{"BUNDLE_PATH=" + project + "/gems"}
	ordinary(t, project, environment, "bundle", "install")
	var c costs
	for _, p := range chosen {
		arguments := []string{"exec", "ruby", "-e", rubyCost, moduleName(p.Name)}
		for _, r := range p.Requires {
			arguments = append(arguments, moduleName(r.Package))
		}
		command := exec.Command("bundle", arguments...)
		command.Dir = project
		command.Env = append(os.Environ(), environment...)
		c.measure(t, p, command)
	}
	c.check(t, 6)
	t.Run("pipsqueak", func(t *testing.T) {
		t.Setenv("PIPSQUEAK_GEM_SOURCE", address+"/ruby/")
		p := chosen[0]
		constant := ""
		for word := range strings.SplitSeq(p.Name, "-") {
			constant += strings.ToUpper(word[:1]) + word[1:]
		}
		answers(t, startWorker(t, t.TempDir()), rubyFile("require '"+moduleName(p.Name)+"'\ndef handler(event:, context:) = "+constant+"::VALUE\n").
			with("Gemfile", fmt.Sprintf("source %q\ngem %q\n", address+"/ruby/", moduleName(p.Name))).allowing(all), p)
	})
}

const nativeCost = `
import ctypes, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
for name in sys.argv[2:]:
    ctypes.CDLL(f"lib{name}.so.1")
resident()
before, began = resident(), time.thread_time_ns()
library = ctypes.CDLL(f"lib{sys.argv[1]}.so.1")
took, memory = (time.thread_time_ns() - began) / 1e6, resident() - before
value = getattr(library, sys.argv[1].replace("-", "_") + "_value")
value.restype = ctypes.c_char_p
print(took, memory, value().decode())
`

func TestPipbenchRegistryNative(t *testing.T) {
	system(t)
	dir, all := pipbench(t, "native", "--count", "40", "--seed", "7", "--scale", "0.001")
	address := registryOf(t, dir)
	chosen := []artificialPackage{requiring(t, all)}
	for _, p := range all {
		if p.Memory >= 1e6 || p.Import >= 5 {
			chosen = append(chosen, p)
		}
	}
	// apt has sources, lists and a status of its own here; the machine's are left alone.
	apt := t.TempDir()
	sources := filepath.Join(apt, "sources")
	coretest.Must(t, os.Chmod(apt, 0o755))
	for _, one := range []string{sources, apt + "/state/lists/partial", apt + "/cache/archives/partial", apt + "/root"} {
		coretest.Must(t, os.MkdirAll(one, 0o755))
	}
	writeFile(t, filepath.Join(sources, "pipbench.sources"), ordinary(t, apt, nil, "/usr/bin/curl", "-sSf", address+"/native/pipbench.sources"))
	options := []string{"-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + sources, "-o", "Dir::State=" + apt + "/state", "-o", "Dir::Cache=" + apt + "/cache",
		"-o", "APT::Sandbox::User=root", "-o", "Dir::State::status=/var/lib/dpkg/status"}
	get := func(arguments ...string) {
		t.Helper()
		ordinary(t, apt, nil, "apt-get", append(slices.Clone(options), arguments...)...)
	}
	get("update")
	install := []string{"install", "--yes", "--no-install-recommends", "--download-only"}
	for _, p := range chosen {
		install = append(install, "lib"+p.Name+"-dev")
	}
	get(install...)
	debs, err := filepath.Glob(apt + "/cache/archives/*.deb")
	coretest.Must(t, err)
	for _, one := range debs {
		ordinary(t, apt, nil, "dpkg-deb", "--extract", one, apt+"/root")
	}
	triplet := strings.TrimSpace(ordinary(t, apt, nil, "cc", "-print-multiarch"))
	lib := apt + "/root/usr/lib/" + triplet
	p := chosen[0]
	number, value := p.latest()
	if said := ordinary(t, apt, []string{"PKG_CONFIG_PATH=" + lib + "/pkgconfig"}, "sh", "-c", "! command -v pkg-config >/dev/null && echo "+number+" || pkg-config --modversion "+p.Name); strings.TrimSpace(said) != number {
		t.Errorf("pkg-config says %q, want %s", said, number)
	}
	writeFile(t, apt+"/main.c", fmt.Sprintf("#include <stdio.h>\n#include <%s.h>\nint main(void) { puts(%s_value()); return 0; }\n", p.Name, moduleName(p.Name)))
	ordinary(t, apt, nil, "cc", "main.c", "-I"+apt+"/root/usr/include", "-L"+lib, "-Wl,-rpath-link,"+lib, "-l"+p.Name, "-o", "main")
	if said := ordinary(t, apt, []string{"LD_LIBRARY_PATH=" + lib}, apt+"/main"); strings.TrimSpace(said) != value {
		t.Errorf("the program says %q, want %s", said, value)
	}
	var c costs
	for _, p := range chosen {
		arguments := []string{"-c", nativeCost, p.Name}
		for _, r := range p.Requires {
			arguments = append(arguments, r.Package)
		}
		command := exec.Command("/usr/bin/python3", arguments...)
		command.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib)
		c.measure(t, p, command)
	}
	c.check(t, 1)
	t.Run("pipsqueak", func(t *testing.T) {
		data := t.TempDir()
		w, err := launch(aptAt(sources, filepath.Join(programs(t), "pipsqueak"), "serve", "--network", "none", "--listen", "127.0.0.1:0", "--data", data), data)
		coretest.Must(t, err)
		stopWith(t, w)
		handler := fmt.Sprintf("#include <%s.h>\n#include <pipsqueak.hpp>\nstatic std::string value(std::string_view, pipsqueak::context &) { return '\"' + std::string(%s_value()) + '\"'; }\nPIPSQUEAK_HANDLER(handler, value)\n",
			p.Name, moduleName(p.Name))
		answers(t, w, files{"handler.cc": handler, "pipsqueak.yaml": "debian: [lib" + p.Name + "-dev]\n"}, p)
	})
}
