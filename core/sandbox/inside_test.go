package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// everyRole starts a process of each role.
func everyRole(t *testing.T, h *house) map[core.Role]child {
	t.Helper()
	zygote := h.launch(t, h.config(core.RoleZygote))
	return map[core.Role]child{core.RoleZygote: zygote, core.RoleInstaller: h.launch(t, h.config(core.RoleInstaller)),
		core.RoleInstance: h.fork(t, zygote, h.config(core.RoleInstance))}
}

// The Spec is what is enforced: each part of it is compared with what the process sees of itself.
func TestSpecIsEnforced(t *testing.T) {
	h := newHouse(t)
	for role, c := range everyRole(t, h) {
		t.Run(string(role), func(t *testing.T) {
			spec := c.spec
			compareNamespaces(t, c, spec)
			compareProcess(t, c, spec)
			compareMounts(t, c, spec)
			compareResources(t, c, spec)
			for _, path := range spec.Linux.MaskedPaths {
				if text := c.ask(t, "cat "+path); text != "empty" && text != "error: Is a directory" {
					t.Errorf("%s shows %q", path, text)
				}
				if text := c.ask(t, "ls "+path); text != "empty" && text != "error: Not a directory" {
					t.Errorf("%s shows %q", path, text)
				}
			}
			if (len(spec.Linux.MaskedPaths) > 0) == (role == core.RoleZygote) {
				t.Errorf("masked paths %v", spec.Linux.MaskedPaths)
			}
			if got := strings.TrimSpace(c.ask(t, "cat /proc/sys/kernel/hostname")); got != spec.Hostname {
				t.Errorf("host name %q and not %q", got, spec.Hostname)
			}
			if len(spec.Linux.Seccomp.Architectures) != 1 {
				t.Errorf("architectures %v, of which the filter allows one", spec.Linux.Seccomp.Architectures)
			}
		})
	}
}

func compareNamespaces(t *testing.T, c child, spec *specs.Spec) {
	t.Helper()
	files := map[specs.LinuxNamespaceType]string{specs.UserNamespace: "user", specs.PIDNamespace: "pid", specs.MountNamespace: "mnt",
		specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.NetworkNamespace: "net", specs.CgroupNamespace: "cgroup", specs.TimeNamespace: "time"}
	own := map[string]bool{}
	for _, ns := range spec.Linux.Namespaces {
		own[files[ns.Type]] = true
	}
	for _, file := range files {
		mine, err := os.Readlink("/proc/self/ns/" + file)
		if err != nil {
			t.Fatal(err)
		}
		inside := strings.Contains(c.ask(t, "ls /proc/self/ns"), " "+mine)
		if inside == own[file] {
			t.Errorf("%s namespace: the host's %t, in the Spec %t", file, inside, own[file])
		}
	}
}

// words returns the fields after the name in /proc/self/status.
func words(t *testing.T, c child, name string) []string {
	t.Helper()
	for line := range strings.Lines(c.ask(t, "cat /proc/self/status")) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			return strings.Fields(rest)
		}
	}
	return nil
}

func compareProcess(t *testing.T, c child, spec *specs.Spec) {
	t.Helper()
	uid, gid := strconv.Itoa(int(spec.Process.User.UID)), strconv.Itoa(int(spec.Process.User.GID))
	bits := func(names []string) string {
		var set uint64
		for _, name := range names {
			set |= 1 << capabilityBits[name]
		}
		return fmt.Sprintf("%016x", set)
	}
	caps := spec.Process.Capabilities
	filters := map[core.Role]string{core.RoleZygote: "1", core.RoleInstaller: "1", core.RoleInstance: "2"}
	for name, want := range map[string][]string{
		"Uid": {uid, uid, uid, uid}, "Gid": {gid, gid, gid, gid}, "Groups": {},
		"CapInh": {bits(caps.Inheritable)}, "CapPrm": {bits(caps.Permitted)}, "CapEff": {bits(caps.Effective)}, "CapBnd": {bits(caps.Bounding)},
		"CapAmb": {bits(caps.Ambient)}, "NoNewPrivs": {"1"}, "Seccomp": {"2"}, "Seccomp_filters": {filters[c.config.Role]},
		"SigBlk": {"0000000000000000"}, "SigIgn": {"0000000000000000"}, "Umask": {"0022"},
	} {
		if got := words(t, c, name); !slices.Equal(got, want) {
			t.Errorf("%s is %v and not %v", name, got, want)
		}
	}
	if got := strings.TrimSpace(c.ask(t, "cat /proc/self/oom_score_adj")); got != strconv.Itoa(*spec.Process.OOMScoreAdj) {
		t.Errorf("oom_score_adj is %s and not %d", got, *spec.Process.OOMScoreAdj)
	}
	limits := c.ask(t, "cat /proc/self/limits")
	for _, r := range spec.Process.Rlimits {
		name := map[string]string{"RLIMIT_CORE": "Max core file size", "RLIMIT_NOFILE": "Max open files", "RLIMIT_FSIZE": "Max file size"}[r.Type]
		_, rest, _ := strings.Cut(limits, name)
		if got := strings.Fields(rest); name == "" || got[0] != strconv.FormatUint(r.Soft, 10) || got[1] != strconv.FormatUint(r.Hard, 10) {
			t.Errorf("%s: %v and not %d, %d", r.Type, got[:2], r.Soft, r.Hard)
		}
	}
	fds := strings.Count(c.ask(t, "ls /proc/self/fd"), "\n")
	if want := map[core.Role]int{core.RoleZygote: 7, core.RoleInstaller: 5, core.RoleInstance: 6}[c.config.Role]; fds != want {
		// With the directory itself, and a zygote's own pid namespace and its children's init once it has forked.
		t.Errorf("%d descriptors, not %d:\n%s", fds, want, c.ask(t, "ls /proc/self/fd"))
	}
}

func compareMounts(t *testing.T, c child, spec *specs.Spec) {
	t.Helper()
	type mount struct{ kind, options, optional string }
	seen := map[string]mount{}
	for line := range strings.Lines(c.ask(t, "cat /proc/self/mountinfo")) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		seen[fields[4]] = mount{fields[dash+1], fields[5], strings.Join(fields[6:dash], " ")}
	}
	root := seen["/"]
	if root.kind != "tmpfs" || !slices.Contains(strings.Split(root.options, ","), "ro") || !strings.Contains(root.options, "nosuid") {
		t.Errorf("the root is %+v", root)
	}
	delete(seen, "/")
	for _, m := range spec.Mounts {
		got, found := seen[m.Destination]
		if !found {
			t.Errorf("%s is not mounted", m.Destination)
			continue
		}
		options := strings.Split(got.options, ",")
		for _, want := range m.Options {
			if want != "rbind" && !strings.Contains(want, "=") && !slices.Contains(options, want) {
				t.Errorf("%s is mounted %s, without %s", m.Destination, got.options, want)
			}
		}
		if m.Type != "bind" && got.kind != m.Type {
			t.Errorf("%s is a %s and not a %s", m.Destination, got.kind, m.Type)
		}
		if slices.Contains(m.Options, "ro") {
			err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, filepath.Join(m.Destination, "new"), unix.O_CREAT|unix.O_WRONLY, 0o600)
			if !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.EACCES) {
				t.Errorf("making a file in %s: %v", m.Destination, err)
			}
		}
		delete(seen, m.Destination)
	}
	for _, path := range spec.Linux.MaskedPaths {
		delete(seen, path)
	}
	for path, m := range seen {
		below := slices.ContainsFunc(spec.Mounts, func(s specs.Mount) bool {
			return slices.Contains(s.Options, "rbind") && strings.HasPrefix(path, s.Destination+"/")
		})
		if !below || !slices.Contains(strings.Split(m.options, ","), "ro") {
			t.Errorf("%s is mounted (%+v) and not in the Spec", path, m)
		}
	}
}

func compareResources(t *testing.T, c child, spec *specs.Spec) {
	t.Helper()
	if c.host.cgroups.unified {
		t.Log("cgroup v2: the conversion has a test of its own")
		return
	}
	resources := spec.Linux.Resources
	want := map[string]string{"pids/pids.max": strconv.FormatInt(*resources.Pids.Limit, 10), "memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1"}
	if resources.Memory != nil {
		want["memory/memory.limit_in_bytes"] = strconv.FormatInt(*resources.Memory.Limit, 10)
		if c.host.cgroups.countsSwap {
			want["memory/memory.memsw.limit_in_bytes"] = strconv.FormatInt(*resources.Memory.Swap, 10)
		}
	}
	if resources.CPU != nil {
		want["cpu/cpu.shares"] = "1024"
		if resources.CPU.Shares != nil {
			want["cpu/cpu.shares"] = strconv.FormatUint(*resources.CPU.Shares, 10)
		}
		want["cpu/cpu.cfs_quota_us"], want["cpu/cpu.cfs_period_us"] = strconv.FormatInt(*resources.CPU.Quota, 10), strconv.FormatUint(*resources.CPU.Period, 10)
	}
	for file, value := range want {
		controller, name, _ := strings.Cut(file, "/")
		text, err := os.ReadFile(filepath.Join(c.host.cgroups.parents[controller], string(c.config.ID), name))
		if got := strings.TrimSpace(string(text)); err != nil || got != value {
			t.Errorf("%s is %s, %v, and not %s", file, got, err, value)
		}
		if got := members(filepath.Join(c.host.cgroups.parents[controller], string(c.config.ID))); !slices.Contains(got, c.pid) {
			t.Errorf("process %d is not in its %s cgroup, but %v", c.pid, controller, got)
		}
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.pid))
	if err != nil || !strings.Contains(string(text), "memory:"+spec.Linux.CgroupsPath+"\n") {
		t.Errorf("the Spec's cgroup is %s, %v, and the process in\n%s", spec.Linux.CgroupsPath, err, text)
	}
	for line := range strings.Lines(c.ask(t, "cat /proc/self/cgroup")) {
		if strings.Contains(line, ":memory:") && !strings.HasSuffix(line, ":/\n") {
			t.Errorf("the process sees where it is: %s", line)
		}
	}
}

// What system calls the kernel refuses, asked of the kernel: as TestVerdicts, but with the filters in place.
func TestKernelEnforcesTheFilters(t *testing.T) {
	h := newHouse(t)
	all := everyRole(t, h)
	zygote, instance := all[core.RoleZygote], all[core.RoleInstance]
	const remount = unix.MS_REMOUNT | unix.MS_BIND
	for _, r := range []struct {
		what             string
		number           uintptr
		args             []any
		zygote, instance error
	}{
		{"clone of a user namespace", unix.SYS_CLONE, []any{unix.CLONE_NEWUSER | int(unix.SIGCHLD), 0, 0, 0, 0}, unix.EPERM, unix.EPERM},
		{"clone3", unix.SYS_CLONE3, []any{0, 0}, unix.ENOSYS, unix.ENOSYS},
		{"unshare of a user namespace", unix.SYS_UNSHARE, []any{unix.CLONE_NEWUSER}, unix.EPERM, unix.EPERM},
		{"unshare of mounts", unix.SYS_UNSHARE, []any{unix.CLONE_NEWNS}, nil, unix.EPERM},
		{"a writable remount of packages", unix.SYS_MOUNT, []any{0, "/opt/probe", 0, remount, 0}, unix.EPERM, unix.EPERM},
		{"a mount without protection", unix.SYS_MOUNT, []any{0, "/usr", 0, remount | unix.MS_RDONLY, 0}, unix.EPERM, unix.EPERM},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, []any{-100, "/", 0, 0, 32}, unix.EPERM, unix.EPERM},
		{"open_tree", unix.SYS_OPEN_TREE, []any{-100, "/usr", 1}, unix.EPERM, unix.EPERM},
		{"a file system", unix.SYS_FSOPEN, []any{"tmpfs", 0}, unix.EPERM, unix.EPERM},
		{"a tmpfs", unix.SYS_MOUNT, []any{"tmpfs", "/tmp", "tmpfs", 0, 0}, nil, unix.EPERM},
		{"pivot_root", unix.SYS_PIVOT_ROOT, []any{"/nowhere", "/nowhere"}, unix.ENOENT, unix.EPERM},
		{"keyctl", unix.SYS_KEYCTL, []any{0, -3, 0}, unix.EPERM, unix.EPERM},
		{"bpf", unix.SYS_BPF, []any{0, 0, 0}, unix.EPERM, unix.EPERM},
		{"chroot", unix.SYS_CHROOT, []any{"/tmp"}, unix.EPERM, unix.EPERM},
		{"a device", unix.SYS_MKNODAT, []any{unix.AT_FDCWD, "/tmp/sda", unix.S_IFBLK | 0o600, 0x800}, unix.EPERM, unix.EPERM},
		{"uid 0", unix.SYS_SETUID, []any{0}, nil, unix.EPERM},
		{"more time", unix.SYS_SETPRIORITY, []any{0, 0, -5}, unix.EACCES, unix.EACCES},
		{"the host's processes", unix.SYS_KILL, []any{os.Getpid(), 0}, unix.ESRCH, unix.ESRCH},
	} {
		if err := zygote.call(t, r.number, r.args...); !errors.Is(err, r.zygote) {
			t.Errorf("%s: %v for a zygote, not %v", r.what, err, r.zygote)
		}
		if err := instance.call(t, r.number, r.args...); !errors.Is(err, r.instance) {
			t.Errorf("%s: %v for an instance, not %v", r.what, err, r.instance)
		}
	}
	// World-writable in the store, as an archive may have it: a mount must not become writable for whoever imports it.
	for role, c := range all {
		if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, "/opt/probe/probe", unix.O_WRONLY, 0); !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EACCES) {
			t.Errorf("%s writes to a package: %v", role, err)
		}
	}
	if err := instance.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, core.CodeDir+"/open", unix.O_WRONLY, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("an instance writes to its code: %v", err)
	}
	if err := instance.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/sys/kernel/hostname", unix.O_WRONLY, 0); err == nil {
		t.Error("an instance writes to /proc/sys")
	}
}

// One file of an installer cannot fill a disk.
func TestInstallerFileIsBounded(t *testing.T) {
	h := newHouse(t)
	for role, c := range everyRole(t, h) {
		if err := c.call(t, unix.SYS_OPENAT, unix.AT_FDCWD, "/tmp/large", unix.O_CREAT|unix.O_WRONLY, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.call(t, unix.SYS_TRUNCATE, "/tmp/large", installerFile); err != nil {
			t.Errorf("%s cannot have a file of %d bytes: %v", role, installerFile, err)
		}
		// The first process of a pid namespace, as an installer is, outlives SIGXFSZ.
		err := c.call(t, unix.SYS_TRUNCATE, "/tmp/large", installerFile+1)
		if refused := errors.Is(err, unix.EFBIG); refused != (role == core.RoleInstaller) {
			t.Errorf("%s with a file of a byte more: %v", role, err)
		}
	}
}

// Siblings are dumpable, and still out of each other's reach, by any number and by each way.
func TestSiblingsDoNotReachEachOther(t *testing.T) {
	h := newHouse(t)
	root := h.launch(t, h.config(core.RoleZygote))
	a, b := h.fork(t, root, h.config(core.RoleInstance)), h.fork(t, root, h.config(core.RoleInstance))
	if words(t, a, "Uid")[0] == words(t, b, "Uid")[0] {
		t.Error("two siblings have the same uid")
	}
	for line := range strings.Lines(a.ask(t, "ls /proc")) {
		if name, _, _ := strings.Cut(line, " "); strings.Trim(name, "0123456789") == "" && name != "1" && name != "2" {
			t.Errorf("a sibling sees process %s", name)
		}
	}
	var fork int // the number of a child as the zygote has it
	s := h.create(t, h.config(core.RoleInstance))
	_, theirs := pair(t)
	if _, err := fmt.Sscan(root.ask(t, "fork into", theirs, h.dial(t, s.config.ID)), &fork); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Entered(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{a.pid, b.pid, s.pid, fork, 3, 4, 5} {
		for what, err := range map[string]error{
			"ptrace":     a.call(t, unix.SYS_PTRACE, unix.PTRACE_SEIZE, pid, 0, 0),
			"kill":       a.call(t, unix.SYS_KILL, pid, 0),
			"pidfd_open": a.call(t, unix.SYS_PIDFD_OPEN, pid, 0),
			"prlimit":    a.call(t, unix.SYS_PRLIMIT64, pid, 7, 0, 0),
		} {
			if !errors.Is(err, unix.ESRCH) {
				t.Errorf("%s of process %d: %v", what, pid, err)
			}
		}
	}
	// The zygote sees its children. It has given up what it would need to look into them.
	if err := root.call(t, unix.SYS_PTRACE, unix.PTRACE_SEIZE, fork, 0, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("a zygote traces its child: %v", err)
	}
	if text := root.ask(t, fmt.Sprintf("cat /proc/%d/environ", fork)); !strings.HasPrefix(text, "error") {
		t.Error("a zygote reads its child's environment")
	}
}
