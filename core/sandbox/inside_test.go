package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// everyRole starts a process of each role, from a thread with a timer slack that none of them is to have.
func everyRole(t *testing.T, h *rig) map[core.Role]child {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil {
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0) }()
		err = unix.Prctl(unix.PR_SET_TIMERSLACK, 1_000_000, 0, 0, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	zygote := h.launch(t, h.config(core.RoleZygote))
	return map[core.Role]child{core.RoleZygote: zygote, core.RoleInstaller: h.launch(t, h.config(core.RoleInstaller)),
		core.RoleInstance: h.fork(t, zygote, h.config(core.RoleInstance))}
}

// The Spec is what is enforced: each part of it is compared with what the process sees of itself.
func TestSpecIsEnforced(t *testing.T) {
	h := newRig(t)
	for role, c := range everyRole(t, h) {
		t.Run(string(role), func(t *testing.T) {
			spec := c.spec
			compareNamespaces(t, c, spec)
			compareProcess(t, c, spec)
			filters := map[core.Role]string{core.RoleZygote: "1", core.RoleInstaller: "1", core.RoleInstance: "2"}
			if got := words(t, c, "Seccomp_filters"); !slices.Equal(got, []string{filters[role]}) {
				t.Errorf("%v filters and not %s", got, filters[role])
			}
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
	const nothing = "0000000000000000"
	if !reflect.DeepEqual(*spec.Process.Capabilities, specs.LinuxCapabilities{}) {
		t.Errorf("the Spec has capabilities: %+v", spec.Process.Capabilities)
	}
	for name, want := range map[string][]string{
		"Uid": {uid, uid, uid, uid}, "Gid": {gid, gid, gid, gid}, "Groups": {},
		"CapInh": {nothing}, "CapPrm": {nothing}, "CapEff": {nothing}, "CapBnd": {nothing}, "CapAmb": {nothing}, "NoNewPrivs": {"1"}, "Seccomp": {"2"},
		"SigBlk": {nothing}, "SigIgn": {nothing}, "Umask": {"0022"},
	} {
		if got := words(t, c, name); !slices.Equal(got, want) {
			t.Errorf("%s is %v and not %v", name, got, want)
		}
	}
	if slack, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", c.pid)); err != nil || string(slack) != "50000\n" {
		t.Errorf("a timer slack of %q and not Linux's own, error %v", slack, err)
	}
	if got := strings.TrimSpace(c.ask(t, "cat /proc/self/oom_score_adj")); got != strconv.Itoa(*spec.Process.OOMScoreAdj) {
		t.Errorf("oom_score_adj is %s and not %d", got, *spec.Process.OOMScoreAdj)
	}
	limits := c.ask(t, "cat /proc/self/limits")
	for _, r := range spec.Process.Rlimits {
		name := map[string]string{"RLIMIT_CORE": "Max core file size", "RLIMIT_NOFILE": "Max open files", "RLIMIT_FSIZE": "Max file size",
			"RLIMIT_SIGPENDING": "Max pending signals", "RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_MEMLOCK": "Max locked memory", "RLIMIT_RTPRIO": "Max realtime priority",
			"RLIMIT_NICE": "Max nice priority"}[r.Type]
		_, rest, _ := strings.Cut(limits, name)
		if got := strings.Fields(rest); name == "" || got[0] != strconv.FormatUint(r.Soft, 10) || got[1] != strconv.FormatUint(r.Hard, 10) {
			t.Errorf("%s: %v and not %d, %d", r.Type, got[:2], r.Soft, r.Hard)
		}
	}
	fds := strings.Count(c.ask(t, "ls /proc/self/fd"), "\n")
	if want := map[core.Role]int{core.RoleZygote: 6, core.RoleInstaller: 5, core.RoleInstance: 6}[c.config.Role]; fds != want {
		// With the directory itself, and the file of its children's init once a zygote has forked.
		t.Errorf("%d descriptors, not %d:\n%s", fds, want, c.ask(t, "ls /proc/self/fd"))
	}
}

// onHost returns the Uid or Gid of a process as the host has it.
func onHost(t *testing.T, c child, which string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), which+":\t")
	return strings.Fields(rest)[0]
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
	resources, unified := spec.Linux.Resources, c.host.cgroups.unified
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	want := map[string]string{"pids/pids.max": number(*resources.Pids.Limit)}
	if unified {
		want["memory/memory.max"], want["memory/memory.swap.max"] = number(*resources.Memory.Limit), "0"
		want["cpu/cpu.max"] = number(*resources.CPU.Quota) + " " + number(int64(*resources.CPU.Period))
	} else {
		want["memory/memory.limit_in_bytes"], want["memory/memory.kmem.tcp.limit_in_bytes"] = number(*resources.Memory.Limit), number(*resources.Memory.KernelTCP)
		want["cpu/cpu.shares"], want["cpu/cpu.cfs_quota_us"], want["cpu/cpu.cfs_period_us"] = "1024", number(*resources.CPU.Quota), number(int64(*resources.CPU.Period))
		if c.host.cgroups.countsSwap {
			want["memory/memory.memsw.limit_in_bytes"] = number(*resources.Memory.Swap)
		}
	}
	for file, value := range want {
		controller, name, _ := strings.Cut(file, "/")
		text, err := os.ReadFile(filepath.Join(c.cgroup.manager.Path(controller), name))
		if got := strings.TrimSpace(string(text)); err != nil || got != value {
			t.Errorf("%s is %s, %v, and not %s", file, got, err, value)
		}
		if got := members(c.cgroup.manager.Path(controller)); !slices.Contains(got, c.pid) {
			t.Errorf("process %d is not in its %s cgroup, but %v", c.pid, controller, got)
		}
	}
	mark := map[bool]string{false: ":memory:", true: "0::"}[unified]
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.pid))
	if err != nil || !strings.Contains(string(text), mark+spec.Linux.CgroupsPath+"\n") {
		t.Errorf("the Spec's cgroup is %s, %v, and the process in\n%s", spec.Linux.CgroupsPath, err, text)
	}
	for line := range strings.Lines(c.ask(t, "cat /proc/self/cgroup")) {
		if strings.Contains(line, mark) && !strings.HasSuffix(line, ":/\n") {
			t.Errorf("the process sees where it is: %s", line)
		}
	}
}

// What /proc says of the machine, and of others on it. What programs need of it they find.
func TestProcDoesNotTellOfTheHost(t *testing.T) {
	h := newRig(t)
	all := everyRole(t, h)
	for _, c := range []child{all[core.RoleInstance], all[core.RoleInstaller]} {
		for _, file := range []string{"cmdline", "diskstats", "interrupts", "partitions", "sys/kernel/random/boot_id", "timer_list"} {
			if text := c.ask(t, "cat /proc/"+file); text != "empty" && !strings.HasPrefix(text, "error") {
				t.Errorf("%s sees in /proc/%s: %q", c.config.Role, file, text)
			}
		}
		if text := c.ask(t, "ls /proc/fs"); text != "empty" {
			t.Errorf("%s sees in /proc/fs: %q", c.config.Role, text)
		}
		for line := range strings.Lines(c.ask(t, "cat /proc/self/cgroup")) {
			if !strings.HasSuffix(line, ":/\n") {
				t.Errorf("%s sees where it is: %q", c.config.Role, line)
			}
		}
		for _, file := range []string{"stat", "meminfo", "cpuinfo", "loadavg", "uptime", "version", "vmstat", "filesystems", "self/mountinfo", "sys/kernel/osrelease",
			"sys/kernel/random/uuid", "sys/vm/overcommit_memory", "sys/net/core/somaxconn"} {
			if text := c.ask(t, "cat /proc/"+file); text == "empty" || strings.HasPrefix(text, "error") {
				t.Errorf("%s does not see /proc/%s: %s", c.config.Role, file, text)
			}
		}
	}
}

// What system calls the kernel refuses, asked of the kernel: as TestVerdicts, but with the filters in place.
func TestKernelEnforcesTheFilters(t *testing.T) {
	h := newRig(t)
	all := everyRole(t, h)
	zygote, instance := all[core.RoleZygote], all[core.RoleInstance]
	const remount = unix.MS_REMOUNT | unix.MS_BIND
	noDevice := unix.EPERM
	if h.landlock > 0 {
		noDevice = unix.EACCES // it is asked before the kernel looks for the capability
	}
	for _, r := range []struct {
		what             string
		number           uintptr
		args             []any
		zygote, instance error
	}{
		{"clone of a user namespace", unix.SYS_CLONE, []any{unix.CLONE_NEWUSER | int(unix.SIGCHLD), 0, 0, 0, 0}, unix.EPERM, unix.EPERM},
		{"clone3", unix.SYS_CLONE3, []any{0, 0}, unix.ENOSYS, unix.ENOSYS},
		{"unshare of a user namespace", unix.SYS_UNSHARE, []any{unix.CLONE_NEWUSER}, unix.EPERM, unix.EPERM},
		{"unshare of mounts", unix.SYS_UNSHARE, []any{unix.CLONE_NEWNS}, unix.EPERM, unix.EPERM},
		{"a writable remount of packages", unix.SYS_MOUNT, []any{0, "/opt/probe", 0, remount, 0}, unix.EPERM, unix.EPERM},
		{"a mount without protection", unix.SYS_MOUNT, []any{0, "/usr", 0, remount | unix.MS_RDONLY, 0}, unix.EPERM, unix.EPERM},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, []any{-100, "/", 0, 0, 32}, unix.EPERM, unix.EPERM},
		{"open_tree", unix.SYS_OPEN_TREE, []any{-100, "/usr", 1}, unix.EPERM, unix.EPERM},
		{"a file system", unix.SYS_FSOPEN, []any{"tmpfs", 0}, unix.EPERM, unix.EPERM},
		{"a tmpfs", unix.SYS_MOUNT, []any{"tmpfs", "/tmp", "tmpfs", 0, 0}, unix.EPERM, unix.EPERM},
		{"pivot_root", unix.SYS_PIVOT_ROOT, []any{"/nowhere", "/nowhere"}, unix.EPERM, unix.EPERM},
		{"keyctl", unix.SYS_KEYCTL, []any{0, -3, 0}, unix.EPERM, unix.EPERM},
		{"bpf", unix.SYS_BPF, []any{0, 0, 0}, unix.EPERM, unix.EPERM},
		{"a netfilter socket", unix.SYS_SOCKET, []any{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, unix.EPERM, unix.EPERM},
		{"a socket of MPTCP", unix.SYS_SOCKET, []any{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, unix.EPERM, unix.EPERM},
		{"a label of flows", unix.SYS_SETSOCKOPT, []any{0, unix.IPPROTO_IPV6, 32, 0, 0}, unix.EPERM, unix.EPERM},
		{"another option of IPv6", unix.SYS_SETSOCKOPT, []any{0, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0, 0}, unix.ENOTSOCK, unix.ENOTSOCK},
		{"typing into a terminal", unix.SYS_IOCTL, []any{0, unix.TIOCSTI, "x"}, unix.EPERM, unix.EPERM},
		{"a request of a terminal", unix.SYS_IOCTL, []any{0, unix.TCGETS, 0}, unix.ENOTTY, unix.ENOTTY},
		{"statmount", unix.SYS_STATMOUNT, []any{0, 0, 0, 0}, unix.ENOSYS, unix.ENOSYS},
		{"a call of the future", 999, []any{0}, unix.ENOSYS, unix.ENOSYS},
		{"io_uring", unix.SYS_IO_URING_SETUP, []any{1, 0}, unix.EPERM, unix.EPERM},
		{"fixed addresses", unix.SYS_PERSONALITY, []any{0x40000}, unix.EPERM, unix.EPERM},
		{"an attribute of the process that CAP_SYS_RESOURCE sets", unix.SYS_PRCTL, []any{unix.PR_SET_MM, 0, 0, 0, 0}, unix.EPERM, unix.EPERM},
		{"ptrace", unix.SYS_PTRACE, []any{unix.PTRACE_SEIZE, 2, 0, 0}, unix.EPERM, unix.EPERM},
		{"chroot", unix.SYS_CHROOT, []any{"/tmp"}, unix.EPERM, unix.EPERM},
		{"a device", unix.SYS_MKNODAT, []any{unix.AT_FDCWD, "/tmp/sda", unix.S_IFBLK | 0o600, 0x800}, unix.EPERM, noDevice},
		{"uid 0", unix.SYS_SETUID, []any{0}, unix.EPERM, unix.EPERM},
		{"another uid", unix.SYS_SETUID, []any{ownID + 1}, unix.EPERM, unix.EINVAL},
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
	// World-writable in the store, as an archive may have it: a mount must not become writable for whoever
	// imports it.
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
	h := newRig(t)
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
	h := newRig(t)
	root := h.launch(t, h.config(core.RoleZygote))
	a, b := h.fork(t, root, h.config(core.RoleInstance)), h.fork(t, root, h.config(core.RoleInstance))
	if onHost(t, a, "Uid") == onHost(t, b, "Uid") || onHost(t, a, "Gid") == onHost(t, b, "Gid") {
		t.Error("two siblings have the same user or group")
	}
	for line := range strings.Lines(a.ask(t, "ls /proc")) {
		if name, _, _ := strings.Cut(line, " "); strings.Trim(name, "0123456789") == "" && name != "1" && name != "2" {
			t.Errorf("a sibling sees process %s", name)
		}
	}
	var fork int // the number of a child as the zygote has it
	s := h.createBelow(t, root, h.config(core.RoleInstance))
	_, theirs := pair(t)
	if _, err := fmt.Sscan(root.ask(t, "fork into", theirs, h.dial(t, s.config.ID)), &fork); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Entered(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{a.pid, b.pid, s.pid, fork, 3, 4, 5} {
		if err := a.call(t, unix.SYS_PTRACE, unix.PTRACE_SEIZE, pid, 0, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("ptrace of process %d: %v", pid, err)
		}
		for what, err := range map[string]error{
			"kill":       a.call(t, unix.SYS_KILL, pid, 0),
			"pidfd_open": a.call(t, unix.SYS_PIDFD_OPEN, pid, 0),
			"prlimit":    a.call(t, unix.SYS_PRLIMIT64, pid, 7, 0, 0),
		} {
			if !errors.Is(err, unix.ESRCH) {
				t.Errorf("%s of process %d: %v", what, pid, err)
			}
		}
	}
}
