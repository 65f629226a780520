package sandbox

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Limits of every sandbox that no function can raise.
const (
	maxScratch = 512 << 20 // bytes of files in /tmp, as in AWS Lambda
	minScratch = 16 << 20  // of an instance, however little memory its function has
	// A zygote has what packages write at their import, which no instance sees.
	zygoteScratch = 64 << 20
	zygoteMemory  = 512 << 20 // unless its config says how much
	maxPids       = 256       // processes and threads, without init
	cpuPeriod     = 100_000   // µs
	// Buffers of TCP and UDP may take one part of so many of the memory, and so many bytes at least: cgroup
	// v1 counts them apart from it.
	socketShare = 8
	minSockets  = 8 << 20
	maxFiles    = 1024     // open descriptors
	maxSignals  = 256      // that wait, and timers
	maxLocked   = 64 << 10 // bytes of memory that may be locked
	// An installer unpacks and compiles: it gets more, and still not everything.
	installerMemory = 4 << 30
	installerPids   = 512
	installerFile   = 4 << 30 // bytes of one file
)

// oomScore makes the kernel, when the machine is out of memory, take instances before zygotes and zygotes
// before the worker.
var oomScore = map[core.Role]int{core.RoleZygote: 200, core.RoleInstance: 700, core.RoleInstaller: 700}

// systemDirs are the directories of the host that every sandbox shows, as links where the host has links
// (merged /usr).
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// systemFiles are the files of /etc that programs need to work. Nothing else of /etc is shown.
var systemFiles = []string{"/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/mime.types", "/etc/os-release",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/protocols", "/etc/services"}

// terminalsDir is a mount of each process that runs code of functions, besides /proc and the scratch.
const terminalsDir = "/dev/pts"

// maskable tell which host this is, of its devices and of what others do on it, and are of no use to a
// function. Each that is there takes a start 10 µs of a processor, so there are no more: docs/security.md
// says what else /proc tells.
var maskable = []string{"/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/diskstats", "/proc/fs", "/proc/interrupts", "/proc/latency_stats",
	"/proc/partitions", "/proc/sched_debug", "/proc/scsi", "/proc/sys/kernel/random/boot_id", "/proc/timer_list", "/proc/timer_stats"}

// newSpec describes a sandbox. The Spec is the one source of what is enforced: root directory, orders and
// limits are all derived from it. It is as the OCI runtime specification 1.2 has it, with these readings: the
// cgroup and the ids of a user namespace are chosen later; the process arguments are the driver's and left
// out; the root directory is made from the Spec's mounts over a skeleton of links and devices.
func (h *Host) newSpec(config core.SandboxConfig) (*specs.Spec, error) {
	mounts, err := h.mounts(config)
	if err != nil {
		return nil, err
	}
	spec := &specs.Spec{
		Version:  specs.Version,
		Hostname: core.HostName,
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Mounts:   mounts,
		Process: &specs.Process{
			Cwd:             core.CodeDir,
			User:            specs.User{UID: ownID, GID: ownID},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{},
			Rlimits: []specs.POSIXRlimit{
				// Not 0: a core_pattern with a pipe does not mind that, but at 1 the kernel writes none at
				// all.
				{Type: "RLIMIT_CORE", Soft: 1, Hard: 1},
				{Type: "RLIMIT_NOFILE", Soft: files(), Hard: files()},
				// What the worker was started with says nothing about functions, so each has its own:
				{Type: "RLIMIT_SIGPENDING", Soft: maxSignals, Hard: maxSignals},
				{Type: "RLIMIT_MSGQUEUE"}, // none: they count for the user who owns all namespaces
				{Type: "RLIMIT_MEMLOCK", Soft: maxLocked, Hard: maxLocked},
				{Type: "RLIMIT_RTPRIO"},
				{Type: "RLIMIT_NICE"},
			},
		},
		Linux: &specs.Linux{
			Namespaces: namespaces(),
			Resources:  resources(config),
			Devices:    devices,
		},
	}
	if config.Role == core.RoleInstaller {
		spec.Process.Cwd = "/"
		spec.Process.Rlimits = append(spec.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_FSIZE", Soft: installerFile, Hard: installerFile})
	}
	score := oomScore[config.Role]
	spec.Process.OOMScoreAdj = &score
	if config.Role != core.RoleZygote {
		spec.Linux.MaskedPaths = h.masked
	}
	return spec, nil
}

// files returns the limit of descriptors of a process: its hard limit is the worker's, which it cannot raise.
func files() uint64 {
	limit := unix.Rlimit{Max: maxFiles}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // without an answer it is the usual
	return min(limit.Max, maxFiles)
}

func namespaces() (out []specs.LinuxNamespace) {
	for _, t := range []specs.LinuxNamespaceType{specs.UserNamespace, specs.PIDNamespace, specs.MountNamespace, specs.IPCNamespace,
		specs.UTSNamespace, specs.NetworkNamespace, specs.CgroupNamespace} {
		out = append(out, specs.LinuxNamespace{Type: t})
	}
	return out
}

func resources(config core.SandboxConfig) *specs.LinuxResources {
	var (
		memory int64
		pids   int64 = maxPids
		quota  int64
		period uint64 = cpuPeriod
	)
	switch config.Role {
	case core.RoleZygote:
		memory, quota = cmp.Or(config.Limits.Memory, zygoteMemory), cpuPeriod*core.InstanceProcessors
	case core.RoleInstance:
		memory, quota = config.Limits.Memory+config.Imports, cpuPeriod*core.InstanceProcessors
	case core.RoleInstaller:
		// It can spread over processors that the worker is kept from, but not use more.
		memory, pids, quota = installerMemory, installerPids, cpuPeriod*int64(runtime.NumCPU())
	}
	pids++ // the first process
	// Files in memory are charged where processes are. With room for all of them a full /tmp is an error of
	// the write, and never the end of the process.
	memory += scratch(config)
	sockets := max(memory/socketShare, minSockets)
	return &specs.LinuxResources{
		Pids:   &specs.LinuxPids{Limit: &pids},
		Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory, KernelTCP: &sockets}, // with swap, so none beyond the limit
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
	}
}

// devices are those that the OCI specification asks of every container, less the terminals.
var devices = []specs.LinuxDevice{
	device("null", 1, 3), device("zero", 1, 5), device("full", 1, 7), device("random", 1, 8), device("urandom", 1, 9),
}

func device(name string, major, minor int64) specs.LinuxDevice {
	mode := os.FileMode(0o666)
	return specs.LinuxDevice{Path: "/dev/" + name, Type: "c", Major: major, Minor: minor, FileMode: &mode}
}

func (h *Host) mounts(config core.SandboxConfig) ([]specs.Mount, error) {
	layers, err := h.layersOf(config)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(overlaid(h.system, layers))
	for _, m := range config.Runtime.Mounts {
		out = append(out, bind(m))
	}
	for _, dir := range config.Runtime.Hidden {
		if _, err := os.Stat(dir); err != nil && belowSystemDir(dir) {
			continue // the host has none, and below its directories none can be made
		}
		out = append(out, specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: []string{"ro", "nosuid", "nodev", "noexec"}})
	}
	for _, p := range config.Packages {
		path, err := h.store.PackagePath(config.Runtime.ID, p.Digest)
		if err != nil {
			return nil, err
		}
		out = append(out, bind(core.Mount{Source: path, Target: core.PackageDir(p)}))
	}
	if config.Code != "" {
		path, err := h.store.CodePath(config.Code)
		if err != nil {
			return nil, err
		}
		out = append(out, bind(core.Mount{Source: path, Target: core.CodeDir}))
	}
	for _, m := range config.Mounts {
		out = append(out, bind(m))
	}
	if config.Storage.Source != "" {
		out = append(out, specs.Mount{Destination: config.Storage.Target, Type: storageType, Source: config.Storage.Source, Options: []string{"rw", "nosuid", "nodev"}})
	}
	out = append(out,
		specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}},
		specs.Mount{Destination: core.ScratchDir, Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatInt(scratch(config), 10)}})
	if config.Role != core.RoleZygote {
		out = append(out,
			specs.Mount{Destination: terminalsDir, Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "ptmxmode=0666", "mode=0620"}})
	}
	return out, nil
}

// scratch is how many bytes a sandbox can have in files. An instance can have as many as in memory, as far as
// AWS Lambda gives them.
func scratch(config core.SandboxConfig) int64 {
	switch config.Role {
	case core.RoleInstaller:
		return installerMemory
	case core.RoleInstance:
		return min(max(config.Limits.Memory, minScratch), maxScratch)
	}
	return zygoteScratch
}

func bind(m core.Mount) specs.Mount {
	options := []string{"rbind", "nosuid", "nodev", "ro"}
	if m.Writable {
		options[3] = "rw"
	}
	return specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options}
}

// existing returns read-only mounts of those paths that this host has, each at its own place.
func existing(paths []string) []specs.Mount {
	var out []specs.Mount
	for _, p := range paths {
		// A mount follows links on both sides; the file behind /etc/localtime or /etc/resolv.conf may lie
		// anywhere.
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue
		}
		out = append(out, bind(core.Mount{Source: real, Target: p}))
	}
	return out
}

// maskedPaths are those that this kernel has and shows to others than root; an empty directory tells nothing.
func maskedPaths() []string {
	return slices.DeleteFunc(slices.Clone(maskable), func(p string) bool {
		info, err := os.Lstat(p)
		if err != nil || info.Mode()&0o004 == 0 {
			return true
		}
		entries, err := os.ReadDir(p)
		return err == nil && len(entries) == 0
	})
}

// systemMounts are the mounts of every sandbox; systemLinks the links beside them.
func systemMounts() (mounts []specs.Mount, links map[string]string) {
	links = map[string]string{}
	for _, dir := range systemDirs {
		if target, err := os.Readlink(dir); err == nil {
			links[dir] = target
		} else if _, err := os.Stat(dir); err == nil {
			mounts = append(mounts, bind(core.Mount{Source: dir, Target: dir}))
		}
	}
	return append(mounts, existing(systemFiles)...), links
}

// belowSystemDir reports whether a path lies on a system directory's mount, and so exists only if the host
// has it.
func belowSystemDir(p string) bool {
	return slices.ContainsFunc(systemDirs, func(dir string) bool { return strings.HasPrefix(p, dir+"/") })
}

func clean(p string) string { return path.Clean("/" + p) }
