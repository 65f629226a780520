package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// This file tries for Examine what only root can.

// tryNamespaces has a process in all namespaces of a sandbox mount a new /proc, as every process does that
// enters one.
func tryNamespaces(ctx context.Context) (namespaces, proc core.Finding) {
	const namespacesName, procName = "namespaces", "/proc"
	const untried = "try again once the namespaces are fixed"
	var all uintptr
	var names []string
	for _, kind := range namespaceKinds {
		all |= kind.flag
		names = append(names, kind.name)
	}
	said, err := runIn(ctx, all, "mount", "-t", "proc", "proc", "/proc")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return ok(namespacesName, "%s", strings.Join(names, " ")), ok(procName, "a sandbox can have its own")
	case errors.Is(err, exec.ErrNotFound):
		return warn(namespacesName, "install mount (util-linux)", "not tried, for want of a program: %v", err),
			warn(procName, "install mount (util-linux)", "not tried")
	case errors.As(err, &exit):
		return ok(namespacesName, "%s", strings.Join(names, " ")), fail(procName,
			"unmask it: in Docker --privileged or --security-opt systempaths=unconfined, in Kubernetes procMount: Unmasked",
			"a sandbox cannot have its own (%s)%s", said, hiding())
	}
	return fail(namespacesName, "use a kernel with all namespaces, and a container that may make them (--privileged)",
		"%s", refusedNamespaces(ctx, err)), warn(procName, untried, "not tried")
}

// runIn runs a program in new namespaces, with a range of ids as sandboxes have it, and returns what it
// complains about.
func runIn(ctx context.Context, flags uintptr, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: firstID + (idRanges-1)*idRange, Size: idRange}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	err := cmd.Run()
	first, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
	return first, err
}

// refusedNamespaces reports which namespaces the machine refuses one by one; err is what it said to all
// together.
func refusedNamespaces(ctx context.Context, err error) string {
	var refused []string
	for _, kind := range namespaceKinds {
		if _, err := runIn(ctx, kind.flag, "true"); err != nil {
			refused = append(refused, fmt.Sprintf("%s (%v)", kind.name, errors.Unwrap(err)))
		}
	}
	if len(refused) == 0 {
		return fmt.Sprintf("each is there, but not all together: %v", err)
	}
	return "refused: " + strings.Join(refused, ", ")
}

// hiding reports what lies over parts of /proc, which is the usual reason why the kernel gives no other one.
func hiding() string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	var over []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], "/proc/") && !slices.Contains(over, fields[4]) {
			over = append(over, fields[4])
		}
	}
	if len(over) == 0 {
		return ""
	}
	return ": something is mounted over " + strings.Join(over, " ")
}

// tryRoots prepares and copies a root directory, and tries favordynmods in the mount namespace that only its
// thread sees.
func tryRoots(dir string) core.Finding {
	const name = "root directory"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fail(name, "make room in the directory", "%v", err)
	}
	defer os.RemoveAll(dir)
	system, links := systemMounts()
	r, err := openRoots(dir, links)
	if err == nil {
		defer func() { _ = r.close() }()
		var fd int
		fd, err = r.copyFor(&specs.Spec{Mounts: system, Linux: &specs.Linux{Devices: devices}}, rootKey{}, 0)
		closeFD(fd)
	}
	if err != nil {
		return fail(name, "let the worker mount and make devices: root of the machine, in a container --privileged", "%v", err)
	}
	if err := tryOverlay(r, system, dir+"-layer"); err != nil {
		return warn(name, "use a kernel with overlayfs, and in a container one whose own files are on no second overlay",
			"it can be made, but no functions with Debian packages can start: %v", err)
	}
	err = r.do(func() error { return favorDynamicMods(filepath.Join(dir, "mods"), filepath.Base(filepath.Dir(dir))) })
	if err != nil {
		return warn(name, "use Linux 6.0 or later with cgroup v1 compiled in",
			"it can be made; cgroups without favordynmods (%v): starts after a quiet moment take 5–19 ms longer", err)
	}
	return ok(name, "mounts and devices; cgroups with favordynmods")
}

// tryOverlay makes a root directory with a layer over the system's directories.
func tryOverlay(r *roots, system []specs.Mount, layer string) error {
	if err := os.MkdirAll(filepath.Join(layer, "usr"), 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(layer)
	spec := &specs.Spec{Mounts: overlaid(system, []string{layer}), Linux: &specs.Linux{Devices: devices}}
	key, err := keyOf(spec)
	if err != nil {
		return err
	}
	fd, err := r.copyFor(spec, key, 0)
	closeFD(fd)
	return err
}

// tryCgroups makes a cgroup with all limits, and removes it.
func tryCgroups(tree string) core.Finding {
	const name = "cgroup"
	version := "v1"
	fix := "have memory, pids and cpu mounted below /sys/fs/cgroup, writable; for a missing one boot with cgroup_enable=memory, or change to cgroup v2"
	if cgroups.IsCgroup2UnifiedMode() {
		version = "v2"
		fix = "have /sys/fs/cgroup writable with memory, pids and cpu in its cgroup.controllers; in Docker --privileged --cgroupns=host"
	} else if cgroups.IsCgroup2HybridMode() {
		version = "v1 (beside v2)"
	}
	t, err := openCgroups(tree, Bounds{})
	if err != nil {
		return fail(name, fix, "%s: %v", version, err)
	}
	config := core.SandboxConfig{Role: core.RoleInstance, Limits: core.DefaultLimits()}
	c, err := t.create(groupOf(config), "trial", resources(config))
	if err == nil {
		err = errors.Join(err, c.remove())
	}
	if err := errors.Join(err, t.clear()); err != nil {
		return fail(name, fix, "%s: %v", version, err)
	}
	return ok(name, "%s with %s", version, strings.Join(controllers, " "))
}

// tryStorage makes a storage and mounts it.
func tryStorage(dir string) core.Finding {
	const name, needed = "storage", "needed for storage: in pipsqueak.yaml: e2fsprogs, ext4 and loop devices (modprobe loop; in a container /dev/loop-control)"
	image := dir + ".ext4"
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20)); err != nil {
		return warn(name, "make room in the directory", "%v", err)
	}
	defer os.Remove(image)
	defer os.RemoveAll(dir)
	mkfs := exec.Command("mkfs.ext4", "-q", "-F", image)
	mkfs.Env = []string{"PATH=/usr/sbin:/sbin:/usr/bin:/bin"}
	if said, err := mkfs.CombinedOutput(); err != nil {
		return warn(name, needed, "functions can have no storage: mkfs.ext4: %v %.200s", err, said)
	}
	device, err := attachLoop(image)
	if err != nil {
		return warn(name, needed, "functions can have no storage: %v", err)
	}
	defer device.Close()
	if err := unix.Mount(device.Name(), dir, "ext4", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return warn(name, needed, "functions can have no storage: mounting an ext4: %v", err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		return warn(name, "unmount it by hand", "%s: %v", dir, err)
	}
	return ok(name, "mkfs.ext4 and loop devices")
}
