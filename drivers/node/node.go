package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/zygote"
)

// Where the driver's files are inside a sandbox.
const (
	loopDir    = "/pipsqueak/node/loop"    // in every sandbox
	installDir = "/pipsqueak/node/install" // in an installer's alone, as the next one and toolsDir
	scanDir    = "/pipsqueak/node/scan"
	addon      = "pipsqueak.node"
	preload    = "preload.so"
	prefixDir  = "/pipsqueak/nodejs" // of the binary, when the system's directories do not have it
	toolsDir   = "/pipsqueak/tools"
)

// zygoteEnv is the whole environment of a zygote.
var zygoteEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir, "LD_PRELOAD=" + loopDir + "/" + preload,
	"APP_ROOT_PATH=" + core.CodeDir} // as in instances (instance.js)

// node implements core.Driver through the zygote kit, and core.Installer and core.Builder itself.
type node struct {
	*zygote.Driver
	log   *slog.Logger
	found interpreter.Found[nodejs]

	mu     sync.Mutex
	config config // of npm, as last described
}

// systemCalls are those with which V8 protects the code that it has compiled.
var systemCalls = []string{"pkey_alloc", "pkey_free", "pkey_mprotect"}

func newDriver(log *slog.Logger) *node {
	n := &node{log: log}
	n.Driver = zygote.New(zygote.Language{Describe: n.describe, Command: n.command, Env: zygoteEnv, Watches: true, Log: log})
	return n
}

func (n *node) describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "node", Version: version, Capabilities: []string{core.CapabilityFork, core.CapabilityInstall, core.CapabilityBuild, core.CapabilityInvoke, core.CapabilityStream, core.CapabilityConcurrency, core.CapabilityGone, core.CapabilityLock, core.CapabilityScan}}
	libexec, err := launch.Libexec()
	if err != nil {
		return d, err
	}
	files, err := zygote.Show("node/loop", "node/install", "node/scan")
	if err != nil {
		return d, err
	}
	loop, tools := files[0], files[1:]
	if !interpreter.Exists(filepath.Join(loop.Source, addon)) || !interpreter.Exists(filepath.Join(loop.Source, preload)) {
		d.Problems = append(d.Problems, loop.Source+" is not complete: no function of Node.js can run; `make build` puts it there")
		return d, nil
	}
	found, problems := find(ctx)
	d.Problems = append(d.Problems, problems...)
	if len(found) == 0 {
		d.Problems = append(d.Problems, fmt.Sprintf("there is no Node.js of version %d or later; install one, or name one in %s", oldest, binariesVariable))
	}
	if esbuild := filepath.Join(libexec, "esbuild"); interpreter.Exists(esbuild) {
		tools = append(tools, core.Mount{Source: esbuild, Target: toolsDir + "/esbuild"})
	} else {
		d.Problems = append(d.Problems, esbuild+" is missing: functions with packages or in TypeScript cannot be deployed; `make build` puts it there")
	}
	config, err := readConfig(os.Environ(), "/usr/etc/npmrc", "/etc/npmrc", filepath.Join(interpreter.Home(), ".npmrc"))
	if err != nil {
		d.Problems = append(d.Problems, err.Error())
	}
	switch {
	case config.cafile == "":
	case !interpreter.Exists(config.cafile):
		d.Problems = append(d.Problems, fmt.Sprintf("npm's cafile %s does not exist: packages cannot be fetched; put it there, or take it out of npm's configuration", config.cafile))
	default:
		tools = append(tools, core.Mount{Source: config.cafile, Target: toolsDir + "/ca.pem"})
	}
	binaries := map[core.RuntimeID]nodejs{}
	for _, b := range found {
		id := core.RuntimeID(fmt.Sprintf("node%d", b.Major))
		binaries[id] = b
		runtime := core.Runtime{ID: id, Version: b.Version, Path: b.Executable, Mounts: b.mounts(), Handlers: handlers(), Extensions: extensions, Tools: tools,
			Archives: archives, Manifests: manifests, Registries: config.registries, SystemCalls: systemCalls,
			Programs: []core.Program{{Name: "Node.js", Version: b.Version, Tested: []string{"20.20.2", "22.23.3", "24.21.0"}}}}
		runtime.Toolchain = []string{b.Executable, loop.Source, tools[0].Source, filepath.Join(libexec, "esbuild")} // of what is bundled and linked
		runtime.Mounts = append(runtime.Mounts, loop)
		if problem := b.withoutNPM(); problem != "" {
			d.Problems = append(d.Problems, b.Executable+problem+": functions with a package.json cannot be deployed; install npm")
		}
		if b.npm != "" {
			runtime.Tools = append(slices.Clone(tools), core.Mount{Source: b.npm, Target: toolsDir + "/npm"})
			runtime.Programs = append(runtime.Programs, core.Program{Name: "npm", Version: npmVersion(b.npm), Tested: []string{"8.19.4", "9.2.0", "9.9.4", "10.9.9", "11.19.1", "11.21.2", "12.2.2"}})
		}
		d.Runtimes = append(d.Runtimes, runtime)
	}
	n.found.Set(binaries)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.config = config
	return d, nil
}

// manifests are the files that decide which packages a function has: those of its own directories too, which
// may be workspaces.
var manifests = []string{"**/package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"}

// extensions of a handler's file, in the order in which they are looked for: TypeScript is last, for what has
// been compiled is beside it.
var extensions = []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}

// handlers are where a handler may be that nothing names: the last ones are web applications.
func handlers() (all []core.HandlerFile) {
	for _, handler := range []string{"index.handler", "handler.handler", "app.app", "server.app"} {
		file, _, _ := strings.Cut(handler, ".")
		for _, extension := range extensions {
			all = append(all, core.HandlerFile{File: file + extension, Handler: handler})
		}
	}
	return all
}

func (n *node) command(runtime core.RuntimeID) ([]string, error) {
	b, err := n.found.Get(runtime)
	if err != nil {
		return nil, err
	}
	// Without threads V8 collects and compiles in the one that there is. Functions keep the byte code that
	// they have been compiled to: V8 would throw it away after some collections, of which a zygote makes
	// many, and each child would compile them again. Without the memory reducer, whose timer runs out 8 s
	// after a zygote's last collection, and then in each of its children.
	return []string{b.inside(), "--single-threaded", "--v8-pool-size=0", "--no-flush-bytecode", "--no-memory-reducer", "--no-wasm-async-compilation", loopDir + "/zygote.js", loopDir + "/" + addon}, nil
}

// mounts are the directories of the binary, unless it is in one that every sandbox shows. Node.js runs
// wherever it is put, so it may be installed in a home or in /tmp.
func (b nodejs) mounts() []core.Mount {
	if b.shown() {
		return nil
	}
	return []core.Mount{{Source: b.prefix(), Target: prefixDir}}
}

// inside is the binary as a sandbox has it.
func (b nodejs) inside() string {
	if b.shown() {
		return b.Executable
	}
	return prefixDir + strings.TrimPrefix(b.Executable, b.prefix())
}

// shown reports whether the binary is in a directory that every sandbox shows.
func (b nodejs) shown() bool { return interpreter.Shown(b.prefix()) }
