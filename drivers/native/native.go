package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/zygote"
)

// runtimeID has the version of pipsqueak.h, because compiled functions depend on it.
const runtimeID core.RuntimeID = "native1"

// Where the driver's files are inside a sandbox.
const (
	loopDir       = "/pipsqueak/native/loop"    // in every sandbox
	includeDir    = "/pipsqueak/native/include" // in an installer's alone, as the next one
	installerPath = "/pipsqueak/tools/installer"
	bootstrap     = "bootstrap" // a function that is a program of its own
)

// zygoteEnv is the whole environment of a zygote. Numerical libraries start a thread for each core when they
// are loaded, and a process with threads cannot fork, so they get one thread. runtime/loop/load.h explains
// the path of libraries. In an instance, the function's own environment replaces this one.
var zygoteEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir,
	"LD_LIBRARY_PATH=/proc/self/cwd", "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"}

// native implements core.Driver through the zygote kit, and core.Installer and core.Builder itself.
type native struct {
	*zygote.Driver
	log      *slog.Logger
	archives debian.Memory
}

func newDriver(log *slog.Logger) *native {
	n := &native{log: log}
	n.Driver = zygote.New(zygote.Language{Describe: n.describe, Command: command, Env: zygoteEnv, Watches: true, Log: log})
	return n
}

func (n *native) describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "native", Version: version,
		Capabilities: []string{core.CapabilityFork, core.CapabilityInstall, core.CapabilityLock, core.CapabilityBuild, core.CapabilityInvoke, core.CapabilityStream, core.CapabilityGone, core.CapabilityScan}}
	files, err := zygote.Show("native/loop", "native/include")
	if err != nil {
		return d, err
	}
	loop, include := files[0], files[1]
	host := filepath.Join(loop.Source, "host")
	if !interpreter.Exists(host) {
		d.Problems = append(d.Problems, host+" is missing: `make build` puts it there")
		return d, nil
	}
	self, err := os.Executable()
	if err != nil {
		return d, err
	}
	var registries []string
	tools, err := debian.Tools()
	if err != nil {
		d.Problems = append(d.Problems, err.Error())
	} else {
		d.Capabilities = append(d.Capabilities, core.CapabilityDebian)
		registries = debian.Registries()
	}
	for _, tool := range []string{"cc", "c++", "make"} {
		if _, err := exec.LookPath(tool); err != nil {
			d.Problems = append(d.Problems, fmt.Sprintf("there is no %s: functions that need it can be deployed compiled only; install gcc, g++ and make", tool))
		}
	}
	libc := interpreter.Version(ctx, "/usr/bin/getconf", "GNU_LIBC_VERSION") // a shared object has to be compiled for it
	d.Runtimes = []core.Runtime{{
		ID: runtimeID, Version: "1, glibc " + libc, Path: host,
		Mounts: []core.Mount{loop},
		Tools:  append(tools, include, core.Mount{Source: self, Target: installerPath}),
		Handlers: []core.HandlerFile{
			{File: bootstrap, Handler: bootstrap}, // first: what has been built is not built again
			{File: "CMakeLists.txt", Handler: defaultHandler},
			{File: "Makefile", Handler: defaultHandler},
			{File: "handler.c", Handler: defaultHandler},
			{File: "handler.cc", Handler: defaultHandler},
			{File: "handler.cpp", Handler: defaultHandler},
			{File: "handler.so", Handler: defaultHandler},
		},
		Extensions: append(append([]string{}, sources...), ".so"),
		Archives:   []string{debian.Archives},
		Registries: registries,
		Overlay:    debian.Marker,
		// Programs may use any of the kernel, and a bootstrap may be a whole database. LeakSanitizer traces
		// the process that it looks at.
		SystemCalls: []string{"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
			"get_mempolicy", "mbind", "set_mempolicy", "ptrace"},
		Toolchain: toolchain(self, host, include.Source),
		Programs: []core.Program{
			{Name: "glibc", Version: libc, Tested: []string{"2.36"}},
			{Name: "cc", Version: interpreter.Version(ctx, "cc", "-dumpfullversion"), Tested: []string{"12.2.0"}},
			{Name: "apt", Version: interpreter.Version(ctx, "apt-get", "--version"), Tested: []string{"2.6.1"}},
		},
	}}
	return d, nil
}

// toolchain returns everything that a build works with: this driver with its headers, the compilers, files
// that the administrator has put beside the system's, and the list of installed packages. A build by another
// toolchain is never used again.
func toolchain(self, host, include string) []string {
	paths := []string{self, host, include, "/etc/machine-id", "/var/lib/dpkg/status", "/usr/local/bin", "/usr/local/include", "/usr/local/lib"}
	for _, tool := range []string{"cc", "c++", "make", "cmake", "ld"} {
		paths = append(paths, "/usr/bin/"+tool)
	}
	return paths
}

func command(runtime core.RuntimeID) ([]string, error) {
	if runtime != runtimeID {
		return nil, core.Errorf(core.KindUnsupported, core.FaultCaller, "this machine has no runtime %s", runtime)
	}
	return []string{loopDir + "/host"}, nil
}
