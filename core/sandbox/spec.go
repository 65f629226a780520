package sandbox

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	profile "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Limits of every sandbox that no function can raise.
const (
	maxScratch = 512 << 20 // bytes of files in /tmp, as in AWS Lambda
	minScratch = 16 << 20  // of an instance, however little memory its function has
	maxPids    = 256       // processes and threads, without init
	cpuPeriod  = 100_000   // µs
	maxFiles   = 1024      // open descriptors
	// An installer unpacks and compiles: it gets more, and still not everything.
	installerMemory = 4 << 30
	installerPids   = 512
	installerFile   = 4 << 30 // bytes of one file
	installerShares = 128     // of a processor that others want too; an instance has 1024
)

// oomScore makes the kernel, when the machine is out of memory, take instances before zygotes and zygotes before the worker.
var oomScore = map[core.Role]int{core.RoleZygote: 200, core.RoleInstance: 700, core.RoleInstaller: 700}

// zygoteCapabilities are what a zygote's children need to move into their sandboxes: namespaces and mounts, the loopback,
// and to become somebody else without capabilities. They count in the zygote's own user namespace only.
var zygoteCapabilities = []string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"}

// systemDirs are the directories of the host that every sandbox shows, as links where the host has links (merged /usr).
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// systemFiles are what of /etc programs need to work. Nothing else of /etc is shown.
var systemFiles = []string{"/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/mime.types", "/etc/os-release",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/protocols", "/etc/services"}

// What each process that runs code of functions has for itself, besides /proc and the scratch.
const (
	terminalsDir = "/dev/pts"
	accountsFile = "/etc/passwd"
)

// groupID is the group of all processes that run code of functions. Each has a user of its own.
const groupID = 1000

// maskable tell of the host or its kernel and are of no use to a function.
var maskable = []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/sysrq-trigger"}

// newSpec describes a sandbox. The Spec is the one source of what is enforced: root directory, orders and limits are all
// derived from it. It is as the OCI runtime specification 1.2 has it, with these readings: the user namespace of a forked
// process is its zygote's, so mappings are only there for a sandbox that is entered by a launch; the process arguments are
// files returns the limit of descriptors of a process: its hard limit is the worker's, which it cannot raise.
func files() uint64 {
	limit := unix.Rlimit{Max: maxFiles}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // without an answer it is the usual
	return min(limit.Max, maxFiles)
}

// the driver's and left out; the root directory is made from the Spec's mounts over a skeleton of links and devices.
func (h *Host) newSpec(config core.SandboxConfig, uid uint32, cgroup string) (*specs.Spec, error) {
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
			User:            specs.User{UID: uid},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{},
			Rlimits: []specs.POSIXRlimit{
				// Not 0: a core_pattern with a pipe does not mind that, but at 1 the kernel writes none at all.
				{Type: "RLIMIT_CORE", Soft: 1, Hard: 1},
				{Type: "RLIMIT_NOFILE", Soft: files(), Hard: files()},
			},
		},
		Linux: &specs.Linux{
			Namespaces:  namespaces(),
			CgroupsPath: cgroup,
			Resources:   resources(config),
			Devices:     devices,
			Seccomp:     h.seccomp[config.Role],
		},
	}
	if config.Role != core.RoleZygote {
		spec.Process.User.GID = groupID
	}
	if config.Role == core.RoleInstaller {
		spec.Process.Cwd = "/"
		spec.Process.Rlimits = append(spec.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_FSIZE", Soft: installerFile, Hard: installerFile})
	}
	score := oomScore[config.Role]
	spec.Process.OOMScoreAdj = &score
	if config.Role == core.RoleZygote {
		spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: zygoteCapabilities, Effective: zygoteCapabilities, Permitted: zygoteCapabilities}
	} else {
		spec.Linux.MaskedPaths = h.masked
	}
	return spec, nil
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
		shares *uint64
		period uint64 = cpuPeriod
	)
	switch config.Role {
	case core.RoleZygote:
		memory = config.Limits.Memory
	case core.RoleInstance:
		memory, quota = config.Limits.Memory+config.Imports, cpuPeriod*core.InstanceProcessors
	case core.RoleInstaller:
		low := uint64(installerShares)
		// It can spread over processors that the worker is kept from, but not use more.
		memory, pids, shares, quota = installerMemory, installerPids, &low, cpuPeriod*int64(runtime.NumCPU())
	}
	pids++ // the first process
	r := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}}
	if memory > 0 {
		// Files in memory are charged where processes are. With room for all of them a full /tmp is an error of the write, and never the
		// end of the process.
		memory += scratch(config)
		r.Memory = &specs.LinuxMemory{Limit: &memory, Swap: &memory} // with swap, so none beyond the limit
	}
	if quota > 0 {
		r.CPU = &specs.LinuxCPU{Shares: shares, Quota: &quota, Period: &period}
	}
	return r
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
	out = append(out,
		specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}},
		specs.Mount{Destination: core.ScratchDir, Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.FormatInt(scratch(config), 10)}})
	if config.Role != core.RoleZygote {
		out = append(out,
			specs.Mount{Destination: terminalsDir, Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "ptmxmode=0666", "mode=0620"}},
			specs.Mount{Destination: accountsFile, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev"}})
	}
	return out, nil
}

// scratch is how many bytes a sandbox can have in files. An instance can have as many as in memory, as far as AWS Lambda gives them.
func scratch(config core.SandboxConfig) int64 {
	switch config.Role {
	case core.RoleInstaller:
		return installerMemory
	case core.RoleInstance:
		return min(max(config.Limits.Memory, minScratch), maxScratch)
	}
	return maxScratch
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
		// A mount follows links on both sides; the file behind /etc/localtime or /etc/resolv.conf may lie anywhere.
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue
		}
		out = append(out, bind(core.Mount{Source: real, Target: p}))
	}
	return out
}

// maskedPaths are those that this kernel has: to look for the others takes each start longer.
func maskedPaths() []string {
	return slices.DeleteFunc(slices.Clone(maskable), func(p string) bool {
		_, err := os.Lstat(p)
		return err != nil
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

// zygoteCalls are what a zygote and its children at the gate call besides. What CAP_SYS_ADMIN would be good for beyond that
// is not among them: a zygote runs third-party code, so it can make no mount writable that it has been given read-only (its
// mounts are not locked, for they come from the host's user namespace), make no user namespace, where it would have all
// capabilities, and reach neither bpf nor the file system drivers.
var zygoteCalls = []specs.LinuxSyscall{
	{Names: []string{"move_mount", "pivot_root", "sethostname", "umount2"}, Action: specs.ActAllow},
	{Names: []string{"mount"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{lacks(3, unix.MS_REMOUNT)}},
	{Names: []string{"unshare"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{lacks(0, unix.CLONE_NEWUSER)}},
	{Names: []string{"setns"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 1, Value: unix.CLONE_NEWPID, Op: specs.OpEqualTo}}},
	{Names: []string{"setns"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 1, Value: unix.CLONE_NEWNET, Op: specs.OpEqualTo}}},
}

// lacks is the condition that none of the bits is in the argument.
func lacks(argument uint, bits uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: argument, Value: bits, Op: specs.OpMaskedEqual}
}

// seccompProfiles returns the profile of each role: the one that container engines use by default for a container without
// capabilities, and for a zygote also zygoteCalls.
func seccompProfiles() (map[core.Role]*specs.LinuxSeccomp, error) {
	out := map[core.Role]*specs.LinuxSeccomp{}
	for _, role := range []core.Role{core.RoleZygote, core.RoleInstance, core.RoleInstaller} {
		p, err := profile.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
		if err != nil {
			return nil, fmt.Errorf("seccomp profile for a %s: %w", role, err)
		}
		if role == core.RoleZygote {
			p.Syscalls = append(p.Syscalls, zygoteCalls...)
		}
		p.Architectures = p.Architectures[:1] // the machine's own; the others would be its 32-bit ones
		out[role] = p
	}
	return out, nil
}

// belowSystemDir reports whether a path lies on a system directory's mount, and so exists only if the host has it.
func belowSystemDir(p string) bool {
	return slices.ContainsFunc(systemDirs, func(dir string) bool { return strings.HasPrefix(p, dir+"/") })
}

func clean(p string) string { return path.Clean("/" + p) }
