package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

// runtimeID has the version of pipsqueak.h, which is what a compiled function depends on.
const runtimeID core.RuntimeID = "native1"

// Where the driver's files are inside a sandbox.
const (
	runtimeDir    = "/pipsqueak/native" // with the host, and include/
	installerPath = "/pipsqueak/tools/installer"
	bootstrap     = "bootstrap" // a function that is a program of its own
)

// zygoteEnv is the whole environment of a zygote. Numerical libraries start a thread for each core when they are loaded, and
// a process with threads cannot fork: they get one. The path of libraries is explained in runtime/load.h; a function's own environment
// takes its place.
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
	n.Driver = zygote.New(zygote.Language{Describe: n.describe, Command: command, Env: zygoteEnv, Log: log})
	return n
}

func (n *native) describe(ctx context.Context) (core.Description, error) {
	d := core.Description{Language: "native", Version: version,
		Capabilities: []string{core.CapabilityInstall, core.CapabilityLock, core.CapabilityBuild, core.CapabilityInvoke, core.CapabilityScan}}
	libexec, err := zygote.Libexec()
	if err != nil {
		return d, err
	}
	dir := filepath.Join(libexec, "native")
	if host := filepath.Join(dir, "host"); !exists(host) {
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
	libc := versionOf(ctx, "/usr/bin/getconf", "GNU_LIBC_VERSION") // a shared object has to be compiled for it
	d.Runtimes = []core.Runtime{{
		ID: runtimeID, Version: "1, glibc " + libc, Path: filepath.Join(dir, "host"),
		Mounts: []core.Mount{{Source: dir, Target: runtimeDir}},
		Tools:  append(tools, core.Mount{Source: self, Target: installerPath}),
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
		Toolchain:  toolchain(self, dir),
		Programs: []core.Program{
			{Name: "glibc", Version: libc, Tested: []string{"2.36"}},
			{Name: "cc", Version: versionOf(ctx, "cc", "-dumpfullversion"), Tested: []string{"12.2.0"}},
			{Name: "apt", Version: versionOf(ctx, "apt-get", "--version"), Tested: []string{"2.6.1"}},
		},
	}}
	return d, nil
}

// toolchain returns what a build works with: this driver with its headers, the compilers, what the
// administrator has put beside the system's, and the list of what is installed. Of another machine nothing is
// used again.
func toolchain(self, dir string) []string {
	paths := []string{self, dir, "/etc/machine-id", "/var/lib/dpkg/status", "/usr/local/bin", "/usr/local/include", "/usr/local/lib"}
	for _, tool := range []string{"cc", "c++", "make", "cmake", "ld"} {
		paths = append(paths, "/usr/bin/"+tool)
	}
	return paths
}

var aVersion = regexp.MustCompile(`\d+(\.\d+)+`)

// versionOf returns the first version that a program says, or nothing.
func versionOf(ctx context.Context, command ...string) string {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return ""
	}
	return aVersion.FindString(string(out))
}

func command(runtime core.RuntimeID) ([]string, error) {
	if runtime != runtimeID {
		return nil, core.Errorf(core.KindUnsupported, core.FaultCaller, "this machine has no runtime %s", runtime)
	}
	return []string{runtimeDir + "/host"}, nil
}
