package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Examine reports whether this machine can make sandboxes, and how well. As root it tries each part, as a
// Host would use it, in a directory of the caller's; the cgroups get that directory's name. It leaves
// nothing. Without root it reports only a part. It takes some ten milliseconds.
func Examine(ctx context.Context, dir string) []core.Finding {
	user := examineUser()
	found := []core.Finding{user, examineKernel(ctx), examineLimits(), examineSeccomp(), examineLandlock()}
	if user.Status == core.StatusFail {
		return append(found, core.Finding{Name: "sandbox", Status: core.StatusWarn,
			Detail: "namespaces, root directories and cgroups were not tried, for only root can", Fix: "sudo pipsqueak doctor"})
	}
	namespaces, proc := tryNamespaces(ctx)
	return append(found, examineCapabilities(), namespaces, proc, tryRoots(filepath.Join(dir, "trial")), tryCgroups(filepath.Base(dir)), tryStorage(filepath.Join(dir, "storage")))
}

func ok(name, format string, args ...any) core.Finding {
	return core.Finding{Name: name, Status: core.StatusOK, Detail: fmt.Sprintf(format, args...)}
}

func warn(name, fix, format string, args ...any) core.Finding {
	return core.Finding{Name: name, Status: core.StatusWarn, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(name, fix, format string, args ...any) core.Finding {
	return core.Finding{Name: name, Status: core.StatusFail, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// examineUser also tells the root of the machine from the root of a user namespace, who has all capabilities
// and may do little.
func examineUser() core.Finding {
	const name = "user"
	if uid := os.Geteuid(); uid != 0 {
		return fail(name, "start the worker as root (sudo)", "user %d; sandboxes are made by root", uid)
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return fail(name, "mount /proc", "/proc cannot be read: %v", err)
	}
	if first := strings.Fields(string(text)); len(first) < 3 || first[0] != "0" || first[1] != "0" || first[2] != "4294967295" {
		return fail(name, "start the worker outside of it: not rootless, in Docker with --userns=host", "root of a user namespace only, not of the machine")
	}
	return ok(name, "root")
}

// needed are the capabilities that a worker uses, each with what for: without any one of them a deploy or a
// start fails, and with these alone none does.
var needed = []struct {
	bit       int
	name, use string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "namespaces and mounts"},
	{unix.CAP_SETUID, "CAP_SETUID", "user ids of sandboxes"},
	{unix.CAP_SETGID, "CAP_SETGID", "group ids of sandboxes"},
	{unix.CAP_MKNOD, "CAP_MKNOD", "/dev of sandboxes"},
	{unix.CAP_CHOWN, "CAP_CHOWN", "files that installers made"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "files that installers made, and cgroups"},
}

func examineCapabilities() core.Finding {
	const name = "capabilities"
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fail(name, "start the worker as root of the machine", "they cannot be read: %v", err)
	}
	var missing, names []string
	for _, c := range needed {
		names = append(names, c.name)
		if have[c.bit/32].Effective>>(c.bit%32)&1 == 0 {
			missing = append(missing, fmt.Sprintf("%s (%s)", c.name, c.use))
		}
	}
	if len(missing) > 0 {
		return fail(name, "give them to the worker: --privileged or --cap-add in a container, CapabilityBoundingSet= in a systemd unit",
			"root, but without %s", strings.Join(missing, ", "))
	}
	return ok(name, "%s", strings.Join(names, " "))
}

// examineKernel calls what sandboxes are made with, with arguments that no kernel accepts: one that has the
// call says so.
func examineKernel(ctx context.Context) core.Finding {
	const name = "kernel"
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return fail(name, "use Linux 5.12 or later", "it does not say its version: %v", err)
	}
	release := "Linux " + unix.ByteSliceToString(uname.Release[:])
	_, pidfdErr := unix.PidfdOpen(-1, 0)
	_, treeErr := unix.OpenTree(-1, "", ^uint(0))
	var missing []string
	for _, call := range []struct {
		name, since string
		err         error
	}{
		{"open_tree", "5.2", treeErr},
		{"move_mount", "5.2", unix.MoveMount(-1, "", -1, "", -1)},
		{"pidfd_open", "5.3", pidfdErr},
		{"close_range", "5.9", unix.CloseRange(2, 1, 0)},
		{"mount_setattr", "5.12", unix.MountSetattr(-1, "", ^uint(0), &unix.MountAttr{})},
	} {
		if errors.Is(call.err, unix.ENOSYS) {
			missing = append(missing, call.name+" (Linux "+call.since+")")
		}
	}
	if _, err := os.Stat("/proc/sys/kernel/ns_last_pid"); err != nil {
		missing = append(missing, "ns_last_pid (CONFIG_CHECKPOINT_RESTORE)")
	}
	if len(missing) > 0 {
		return fail(name, "use Linux 5.12 or later, and a container without a seccomp profile", "%s without %s", release, strings.Join(missing, ", "))
	}
	var poorer []string
	if err := tryPassPidfd(); err != nil {
		poorer = append(poorer, "processes at the gate are known by number only, not by pidfd (Linux 6.5)")
	}
	if !tryExit(ctx) {
		poorer = append(poorer, "how a function's process ended stays unknown (Linux 6.15)")
	}
	if len(poorer) > 0 {
		return warn(name, "use Linux 6.15 or later", "%s: %s", release, strings.Join(poorer, "; "))
	}
	return ok(name, "%s", release)
}

func tryPassPidfd() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
}

// tryExit reports whether the kernel tells the exit status of a process that somebody else has reaped.
func tryExit(ctx context.Context) bool {
	pidfd := -1
	cmd := exec.CommandContext(ctx, "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Run(); err != nil {
		return false
	}
	defer closeFD(pidfd)
	return pidfd >= 0 && exitOf(pidfd, exitWaitUntold).Known
}

// namespaceKinds are the namespaces of a sandbox.
var namespaceKinds = []struct {
	name string // in /proc/sys/user/max_<name>_namespaces
	flag uintptr
	// Every instance has one of its own of all but the user namespace, which is its zygote's.
	each bool
}{
	{"user", unix.CLONE_NEWUSER, false},
	{"pid", unix.CLONE_NEWPID, true},
	{"mnt", unix.CLONE_NEWNS, true},
	{"net", unix.CLONE_NEWNET, true},
	{"ipc", unix.CLONE_NEWIPC, true},
	{"uts", unix.CLONE_NEWUTS, true},
	{"cgroup", unix.CLONE_NEWCGROUP, true},
}

// What limits on namespaces are enough for: a thousand instances with room for zygotes, and some hundred
// zygotes with some installers.
const (
	enoughNamespaces     = 2000
	enoughUserNamespaces = 256
)

func examineLimits() core.Finding {
	const name = "namespace limits"
	var low, sysctls []string
	status := core.StatusOK
	for _, kind := range namespaceKinds {
		file := "/proc/sys/user/max_" + kind.name + "_namespaces"
		text, err := os.ReadFile(file)
		if err != nil {
			return warn(name, "mount /proc with all of /proc/sys", "%v", err)
		}
		limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
		enough := enoughUserNamespaces
		if kind.each {
			enough = enoughNamespaces
		}
		switch {
		case err != nil || limit >= enough:
			continue
		case limit == 0:
			status = core.StatusFail
		case status == core.StatusOK:
			status = core.StatusWarn
		}
		low = append(low, fmt.Sprintf("%d %s", limit, kind.name))
		sysctls = append(sysctls, fmt.Sprintf("user.max_%s_namespaces=%d", kind.name, enough))
	}
	if status == core.StatusOK {
		return ok(name, "enough for a thousand instances")
	}
	return core.Finding{Name: name, Status: status, Detail: "at most " + strings.Join(low, ", ") + " namespaces",
		Fix: "sysctl -w " + strings.Join(sysctls, " ")}
}

// examineSeccomp asks the kernel for the actions that filters use, and assembles the filters.
func examineSeccomp() core.Finding {
	const name = "seccomp"
	const fix = "use a kernel with CONFIG_SECCOMP_FILTER, on amd64 or arm64"
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	if err != nil {
		return fail(name, fix, "the kernel has none: %v", err)
	}
	if _, err := (&filters{known: map[string][]byte{}}).of(core.RoleInstance, true, nil); err != nil {
		return fail(name, fix, "%v", err)
	}
	if mode != 0 {
		return ok(name, "filters; this process is under one itself, which sandboxes inherit")
	}
	return ok(name, "filters")
}

// The versions of Landlock. Without the second one a file cannot be moved from one directory to another.
const (
	landlockNeeded = 2 // Linux 5.19
	landlockWhole  = 6 // Linux 6.12
)

// landlockVersion asks the kernel for its version of Landlock.
func landlockVersion() (uint32, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return uint32(version), nil
}

func examineLandlock() core.Finding { return landlockFinding(landlockVersion()) }

func landlockFinding(version uint32, err error) core.Finding {
	const name = "landlock"
	const fix = "use Linux 6.12 or later, with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= of its command line; in a container, allow its calls"
	switch {
	case err != nil:
		return warn(name, fix, "none (%v): only mounts keep functions from changing files", err)
	case version < landlockNeeded:
		return warn(name, fix, "version %d, which cannot be used: only mounts keep functions from changing files", version)
	case version < landlockWhole:
		return warn(name, fix, "version %d: files have a second wall, signals and abstract sockets have not", version)
	}
	return ok(name, "version %d, a second wall around the files of functions", version)
}
