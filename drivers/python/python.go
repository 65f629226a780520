package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/zygote"
)

// interpretersVariable lists the interpreters to serve, separated by colons, the preferred one first. One of
// a virtual environment stands for the interpreter that it was made from: a function has its own packages and
// sees no others.
const interpretersVariable = "PIPSQUEAK_PYTHON"

const defaultInterpreter = "/usr/bin/python3"

// Where the driver's files are inside a sandbox.
const (
	loopDir    = "/pipsqueak/python/loop"    // in every sandbox
	installDir = "/pipsqueak/python/install" // in an installer's alone, as the next two
	scanDir    = "/pipsqueak/python/scan"
	toolsDir   = "/pipsqueak/tools"
)

// preload is the library that sees the environment variables that C code reads.
const preload = "preload.so"

// zygoteEnv is the whole environment of a zygote. Numerical libraries start a thread for each core when they
// are imported, and a process with threads cannot fork: they get one.
var zygoteEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir,
	"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "NUMEXPR_NUM_THREADS=1", "VECLIB_MAXIMUM_THREADS=1",
	"LD_PRELOAD=" + loopDir + "/" + preload}

// python implements core.Driver through the zygote kit, and core.Installer itself.
type python struct {
	*zygote.Driver
	log *slog.Logger

	found interpreter.Found[cpython]

	mu      sync.Mutex
	sources sources // as last described
}

// cpython is a CPython's description of itself.
type cpython struct {
	Executable string   `json:"executable"`
	Version    string   `json:"version"`
	Short      string   `json:"short"`    // "3.11"
	Prefixes   []string `json:"prefixes"` // where it and its standard library are installed
	Sites      []string `json:"sites"`    // where packages of the host are

	mounts []core.Mount // that a sandbox needs for it
}

func newDriver(log *slog.Logger) *python {
	p := &python{log: log}
	p.Driver = zygote.New(zygote.Language{Describe: p.describe, Command: p.command, Env: zygoteEnv, Watches: true, Log: log})
	return p
}

// handlers are the files in which a function may be without saying so.
var handlers = []core.HandlerFile{
	{File: "handler.py", Handler: "handler.handler"},
	{File: "lambda_function.py", Handler: "lambda_function.lambda_handler"},
	{File: "f.py", Handler: "f.f"},
	// Web applications, where their frameworks look for them.
	{File: "app.py", Handler: "app.app"},
	{File: "main.py", Handler: "main.app"},
	{File: "wsgi.py", Handler: "wsgi.application"},
	{File: "asgi.py", Handler: "asgi.application"},
}

func (p *python) describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "python", Version: version, Capabilities: []string{core.CapabilityFork, core.CapabilityInstall, core.CapabilityInvoke, core.CapabilityStream, core.CapabilityConcurrency, core.CapabilityGone, core.CapabilityLock, core.CapabilityCompile, core.CapabilityHandover, core.CapabilityScan}}
	libexec, err := launch.Libexec()
	if err != nil {
		return d, err
	}
	files, err := zygote.Show(launch.Library, "python/loop", "python/install", "python/scan")
	if err != nil {
		return d, err
	}
	loop, programs := files[:2], files[2:]
	tools, problems := installerTools(libexec)
	tools = append(tools, programs...)
	uv := interpreter.Version(ctx, filepath.Join(libexec, "uv"), "--version")
	d.Problems = append(d.Problems, problems...)
	var from sources
	interpreters := map[core.RuntimeID]cpython{}
	for _, path := range interpreterPaths() {
		i, err := inspect(ctx, path)
		if err != nil {
			d.Problems = append(d.Problems, fmt.Sprintf("%s: %v; install python3 or name another one in %s", path, err, interpretersVariable))
			continue
		}
		id := core.RuntimeID("python" + i.Short)
		if slices.ContainsFunc(d.Runtimes, func(r core.Runtime) bool { return r.ID == id }) {
			d.Problems = append(d.Problems, fmt.Sprintf("%s is a second %s and not used", path, id))
			continue
		}
		if len(d.Runtimes) == 0 {
			from, err = operatorSources(ctx, path, programs[0].Source)
			if err != nil {
				return d, fmt.Errorf("where packages come from: %w", err)
			}
			tools = append(tools, from.mounts...)
			d.Problems = append(d.Problems, from.problems...)
		}
		interpreters[id] = i
		d.Runtimes = append(d.Runtimes, core.Runtime{
			ID: id, Version: i.Version, Path: path, Tools: tools,
			Mounts: append(i.mounts, loop...),
			Hidden: i.Sites, Handlers: handlers,
			Extensions:  []string{".py"},
			Archives:    archives,
			Manifests:   []string{"uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml"},
			Registries:  from.registries,
			SystemCalls: []string{"get_mempolicy", "mbind", "set_mempolicy"}, // OpenBLAS, which comes with numpy, spreads its memory
			Programs: []core.Program{
				{Name: "Python", Version: i.Version, Tested: []string{"3.11.2"}},
				{Name: "uv", Version: uv, Tested: []string{"0.13.9"}},
			},
		})
	}
	p.found.Set(interpreters)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources = from
	return d, nil
}

// installerTools returns the files that an installer's sandbox has to show, and reports the missing ones.
func installerTools(libexec string) (tools []core.Mount, problems []string) {
	for _, tool := range []struct{ name, lack string }{
		{"uv", "functions with packages cannot be deployed"},
		{"attestations", "attestations of packages are not checked"},
	} {
		if path := filepath.Join(libexec, tool.name); interpreter.Exists(path) {
			tools = append(tools, core.Mount{Source: path, Target: toolsDir + "/" + tool.name})
		} else {
			problems = append(problems, path+" is missing: "+tool.lack+"; `make deps build` puts it there")
		}
	}
	return tools, problems
}

func (p *python) command(runtime core.RuntimeID) ([]string, error) {
	i, err := p.found.Get(runtime)
	if err != nil {
		return nil, err
	}
	return append(i.plain(), loopDir+"/zygote.py", zygote.LibraryPath), nil
}

// plain starts the interpreter as people do, because processes that packages start get the same options: -X
// utf8 for the same encoding everywhere, and -B because there is no place to write byte code to.
func (i cpython) plain() []string {
	return []string{i.Executable, "-B", "-X", "utf8"}
}

// command starts the interpreter apart from all that is not its own: -I ignores the environment and the
// user's packages, -S the host's packages.
func (i cpython) command() []string {
	return append(i.plain(), "-I", "-S")
}

func interpreterPaths() []string {
	if list := os.Getenv(interpretersVariable); list != "" {
		return filepath.SplitList(list)
	}
	return []string{defaultInterpreter}
}

// question makes an interpreter describe itself.
const question = `
import json, os, site, sys
if sys.implementation.name != "cpython" or sys.version_info < (3, 9):
    sys.exit("is %s %d.%d; CPython 3.9 or later is needed" % (sys.implementation.name, *sys.version_info[:2]))
executable = os.path.realpath(sys.executable)  # of a virtual environment: the interpreter that it was made from
sites = site.getsitepackages([sys.prefix, sys.base_prefix]) if hasattr(site, "getsitepackages") else []
print(json.dumps({
    "executable": executable,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "short": "%d.%d" % sys.version_info[:2],
    "prefixes": sorted({sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(executable))}),
    "sites": sorted({s for s in sites if os.path.isdir(s)}),
}))
`

func inspect(ctx context.Context, path string) (cpython, error) {
	var i cpython
	if err := interpreter.Ask(ctx, &i, path, "-I", "-S", "-c", question); err != nil {
		return i, err
	}
	var err error
	i.mounts, err = interpreter.Mounts(i.Prefixes...)
	return i, err
}
