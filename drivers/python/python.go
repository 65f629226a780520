package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// interpretersVariable lists the interpreters to serve, separated by colons, the preferred one first. One of a virtual
// environment stands for the interpreter that it was made from: a function has its own packages and sees no others.
const interpretersVariable = "PIPSQUEAK_PYTHON"

const defaultInterpreter = "/usr/bin/python3"

// Where the driver's files are inside a sandbox.
const (
	loopDir  = "/pipsqueak/python"
	toolsDir = "/pipsqueak/tools"
)

// preload is what sees the environment variables that C code reads.
const preload = "preload.so"

// zygoteEnv is the whole environment of a zygote. Numerical libraries start a thread for each core when they are imported,
// and a process with threads cannot fork: they get one.
var zygoteEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir,
	"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "NUMEXPR_NUM_THREADS=1", "VECLIB_MAXIMUM_THREADS=1",
	"LD_PRELOAD=" + loopDir + "/" + preload}

// python implements core.Driver through the zygote kit, and core.Installer itself.
type python struct {
	*zygote.Driver
	log *slog.Logger

	mu           sync.Mutex
	interpreters map[core.RuntimeID]interpreter // as last described
	sources      sources                        // as last described
}

// interpreter is what a CPython says of itself.
type interpreter struct {
	Executable string   `json:"executable"`
	Version    string   `json:"version"`
	Short      string   `json:"short"`    // "3.11"
	Prefixes   []string `json:"prefixes"` // where it and its standard library are installed
	Sites      []string `json:"sites"`    // where packages of the host are
}

func newDriver(log *slog.Logger) *python {
	p := &python{log: log}
	p.Driver = zygote.New(zygote.Language{Describe: p.describe, Command: p.command, Env: zygoteEnv, Log: log})
	return p
}

func (p *python) describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "python", Version: version, Capabilities: []string{core.CapabilityInstall, core.CapabilityInvoke, core.CapabilityLock, core.CapabilityCompile, core.CapabilityHandover, core.CapabilityScan}}
	libexec, err := zygote.Libexec()
	if err != nil {
		return d, err
	}
	files, err := zygote.Files("python")
	if err != nil {
		return d, err
	}
	tools, problems := installerTools(libexec)
	uv := uvVersion(ctx, filepath.Join(libexec, "uv"))
	d.Problems = append(d.Problems, problems...)
	var from sources
	interpreters := map[core.RuntimeID]interpreter{}
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
			from, err = operatorSources(ctx, path, files[1].Source)
			if err != nil {
				return d, fmt.Errorf("where packages come from: %w", err)
			}
			tools = append(tools, from.mounts...)
			d.Problems = append(d.Problems, from.problems...)
		}
		interpreters[id] = i
		d.Runtimes = append(d.Runtimes, core.Runtime{
			ID: id, Version: i.Version, Path: path, Tools: tools,
			Mounts: append(i.mounts(), files...),
			Hidden: i.Sites,
			Handlers: []core.HandlerFile{
				{File: "handler.py", Handler: "handler.handler"},
				{File: "lambda_function.py", Handler: "lambda_function.lambda_handler"},
				{File: "f.py", Handler: "f.f"},
			},
			Extensions: []string{".py"},
			Archives:   archives,
			Manifests:  []string{"uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml"},
			Registries: from.registries,
			Programs: []core.Program{
				{Name: "Python", Version: i.Version, Tested: []string{"3.11.2"}},
				{Name: "uv", Version: uv, Tested: []string{"0.13.9"}},
			},
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interpreters, p.sources = interpreters, from
	return d, nil
}

// uvVersion returns nothing when it does not say.
func uvVersion(ctx context.Context, path string) string {
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	said, _ := cmd.Output()                                                    // that there is none, installerTools has said
	version, _, _ := strings.Cut(strings.TrimPrefix(string(said), "uv "), " ") // "uv 0.13.9 (x86_64-unknown-linux-gnu)"
	return strings.TrimSpace(version)
}

// installerTools returns what an installer's sandbox has to show, and what is missing of it.
func installerTools(libexec string) (tools []core.Mount, problems []string) {
	for _, tool := range []struct{ name, lack string }{
		{"uv", "functions with packages cannot be deployed"},
		{"attestations", "attestations of packages are not checked"},
	} {
		if path := filepath.Join(libexec, tool.name); exists(path) {
			tools = append(tools, core.Mount{Source: path, Target: toolsDir + "/" + tool.name})
		} else {
			problems = append(problems, path+" is missing: "+tool.lack+"; `make deps build` puts it there")
		}
	}
	return tools, problems
}

func (p *python) command(runtime core.RuntimeID) ([]string, error) {
	i, err := p.interpreter(runtime)
	if err != nil {
		return nil, err
	}
	return append(i.plain(), loopDir+"/zygote.py", zygote.LibraryPath), nil
}

func (p *python) interpreter(id core.RuntimeID) (interpreter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.interpreters[id]
	if !ok {
		return i, core.Errorf(core.KindUnsupported, core.FaultCaller, "this machine has no runtime %s", id)
	}
	return i, nil
}

// plain starts the interpreter as people do, for what it is started with it gives to processes that packages start: -X utf8 for the same
// encoding everywhere; -B for there is no place to write byte code to.
func (i interpreter) plain() []string {
	return []string{i.Executable, "-B", "-X", "utf8"}
}

// command starts the interpreter apart from all that is not its own: -I ignores the environment and the user's packages, -S the host's
// packages.
func (i interpreter) command() []string {
	return append(i.plain(), "-I", "-S")
}

// mounts are the interpreter's directories that are not among the system directories, which every sandbox shows.
func (i interpreter) mounts() []core.Mount {
	var out []core.Mount
	for _, prefix := range i.Prefixes {
		if prefix != "/usr" && !strings.HasPrefix(prefix, "/usr/") {
			out = append(out, core.Mount{Source: prefix, Target: prefix})
		}
	}
	return out
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

func inspect(ctx context.Context, path string) (interpreter, error) {
	var i interpreter
	cmd := exec.CommandContext(ctx, path, "-I", "-S", "-c", question)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return i, errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(out, &i); err != nil {
		return i, err
	}
	for _, prefix := range i.Prefixes {
		if own := strings.Split(prefix+"/", "/")[1]; own == "tmp" || own == "proc" || own == "dev" {
			return i, fmt.Errorf("its files are in %s, and every sandbox has a /%s of its own; move them", prefix, own)
		}
	}
	return i, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
