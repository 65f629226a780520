package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	v1 "github.com/opencontainers/cgroups/fs"
	v2 "github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// ownSuffix is what the worker's own cgroup has behind the name of the tree, beside which it lies.
const ownSuffix = "-worker"

// controllers are those that limit a sandbox.
var controllers = []string{"memory", "pids", "cpu"}

// cgroupTree is the cgroup below which the worker makes one for each node.
//
// On v1 it lies in the worker's own cgroup of each controller. On v2 it lies in the worker's own cgroup if
// that was delegated, otherwise at the top: a v2 cgroup cannot have both processes and controlled children,
// and only out of a cgroup that is all the worker's can it move the processes.
type cgroupTree struct {
	unified    bool
	countsSwap bool              // so that it can be limited: on v1 only if the kernel was told to
	parents    map[string]string // controller → directory; one entry named "" on v2
	delegated  string            // the worker's own cgroup on v2, if the tree lies there
	worker     []string          // the cgroups of the worker's process, one for each hierarchy; none when that stays where it was started
	back       bool              // in the end it goes back to those above
	groups     groups
}

// End kills the processes that an earlier worker of that name has left. Open reports those that do not end.
func End(name string) {
	if os.Geteuid() == 0 {
		_, _ = emptyCgroups(name)
	}
}

// emptyCgroups finds the place of the tree named name, and ends what an earlier worker of that name left in
// it.
func emptyCgroups(name string) (*cgroupTree, error) {
	t := &cgroupTree{unified: cgroups.IsCgroup2UnifiedMode(), parents: map[string]string{}, groups: groups{users: map[string]int{}}}
	if t.unified {
		if err := t.place(name); err != nil {
			return nil, err
		}
	} else {
		own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
		if err != nil {
			return nil, err
		}
		for _, controller := range controllers {
			mount, err := cgroups.FindCgroupMountpoint("", controller)
			if err != nil {
				return nil, fmt.Errorf("cgroup controller %s: %w", controller, err)
			}
			t.parents[controller] = filepath.Join(mount, own[controller], name)
		}
		t.worker = []string{t.parents["memory"] + ownSuffix, t.parents["cpu"] + ownSuffix}
		t.back = true
	}
	return t, t.clear()
}

// openCgroups makes the tree named name, empty, with the bounds of all that will be in it.
func openCgroups(name string, bounds Bounds) (*cgroupTree, error) {
	t, err := emptyCgroups(name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(t.make(bounds), t.moveWorker(bounds.Worker)); err != nil {
		return nil, errors.Join(fmt.Errorf("making the worker's cgroup: %w", err), t.clear())
	}
	return t, nil
}

func (t *cgroupTree) make(bounds Bounds) error {
	manager, err := t.manager("", "", &cgroups.Resources{})
	if err != nil {
		return err
	}
	if t.unified {
		err = t.makeUnified()
	} else {
		err = manager.Apply(-1)
	}
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(t.parents["memory"], "memory.memsw.limit_in_bytes"))
	t.countsSwap = t.unified || err == nil
	if err := manager.Set(t.memory(bounds.Sandboxes)); err != nil || bounds.Processes == 0 {
		return err
	}
	return manager.Set(&cgroups.Resources{PidsLimit: &bounds.Processes, SkipDevices: true})
}

// clear ends and removes everything in the tree, and the tree itself. Thereafter a delegated cgroup may have
// processes again.
func (t *cgroupTree) clear() error {
	began := time.Now()
	deadline := began.Add(5 * time.Second)
	for {
		busy := t.moveBack()
		for _, parent := range t.parents {
			busy = errors.Join(busy, clearCgroup(parent, time.Since(began) > time.Second))
		}
		if busy == nil && t.delegated != "" {
			return control(t.delegated, "-")
		}
		if busy == nil || time.Now().After(deadline) {
			return busy
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// clearCgroup kills the processes of a cgroup and its children and tries to remove them. Processes of an
// earlier worker have no other handle than their number; as members of our own cgroup they are ours. Keepers
// end by themselves after the program that they reap: they are killed only when asked to.
func clearCgroup(dir string, keepers bool) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	busy := error(nil)
	for _, dir := range slices.Backward(dirs) {
		for _, pid := range members(dir) {
			if !keepers && isKeeper(pid) {
				continue
			}
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
				unix.Close(fd)
			}
		}
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) && busy == nil {
			busy = fmt.Errorf("removing the cgroup %s: %w", dir, err)
		}
	}
	return busy
}

// isKeeper tells a process that stayed outside when the program that it has started went into its sandbox.
func isKeeper(pid int) bool {
	own, err := os.Readlink("/proc/self/ns/pid")
	its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return err == nil && err2 == nil && own == its
}

// members returns the processes of a cgroup, none when it is gone.
func members(dir string) []int {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// manager manages the cgroup of a node in a group, or that of the tree if both are empty.
func (t *cgroupTree) manager(group, node string, r *cgroups.Resources) (cgroups.Manager, error) {
	r.SkipDevices = true
	config := &cgroups.Cgroup{Resources: r}
	if t.unified {
		return v2.NewManager(config, filepath.Join(t.parents[""], group, node))
	}
	paths := map[string]string{}
	for controller, parent := range t.parents {
		if parent == t.parents["cpu"] { // with cpu, others that are mounted with it
			parent = t.groupDir(group)
		}
		paths[controller] = filepath.Join(parent, node)
	}
	return v1.NewManager(config, paths)
}

// cgroup is the cgroup of one node, or of instances of one version of a function one after the other: then it
// has the name of the first one.
type cgroup struct {
	manager             cgroups.Manager
	unified, countsSwap bool       // as its tree
	path                string     // as a Spec has it
	leave               func()     // its group
	dirs                []string   // one for each hierarchy
	procs               []*os.File // of each, to attach processes with
	pids, memory        string     // directories of the controllers of these names
	current             *os.File   // of the first, with the number of processes; nil before there is one
}

// path names the cgroup of a node as a Spec has it: below the mount point of each hierarchy, on v1 that of
// memory.
func (t *cgroupTree) path(group, node string) string {
	if t.unified {
		return strings.TrimPrefix(filepath.Join(t.groupDir(group), node), cgroupRoot)
	}
	return strings.TrimPrefix(filepath.Join(t.parents["memory"], node), cgroupRoot+"/memory")
}

// limits are the Spec's, as the cgroups package has them.
func (t *cgroupTree) limits(r *specs.LinuxResources) *cgroups.Resources {
	limits := t.memory(*r.Memory.Limit)
	limits.PidsLimit, limits.CpuQuota, limits.CpuPeriod = r.Pids.Limit, *r.CPU.Quota, *r.CPU.Period
	return limits
}

// create makes a cgroup with the Spec's limits in a group.
func (t *cgroupTree) create(group, node string, r *specs.LinuxResources) (*cgroup, error) {
	limits := t.limits(r)
	manager, err := t.manager(group, node, limits)
	if err != nil {
		return nil, err
	}
	if err := t.join(group); err != nil {
		return nil, err
	}
	c := &cgroup{manager: manager, unified: t.unified, countsSwap: t.countsSwap, path: t.path(group, node), leave: func() { t.leave(group) }}
	for _, dir := range manager.GetPaths() {
		c.dirs = append(c.dirs, dir)
	}
	c.pids, c.memory = manager.Path("pids"), manager.Path("memory")
	if t.unified {
		err = os.Mkdir(manager.Path(""), 0o755) // the manager would give all controllers to all cgroups above it
	} else {
		err = manager.Apply(-1)
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	if err := errors.Join(manager.Set(limits), t.boundSockets(c, *r.Memory.KernelTCP)); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// open opens what is used again and again.
func (c *cgroup) open() (err error) {
	if c.current, err = openUnpolled(filepath.Join(c.pids, "pids.current"), unix.O_RDONLY); err != nil {
		return err
	}
	for _, dir := range c.dirs {
		procs, err := openUnpolled(filepath.Join(dir, "cgroup.procs"), unix.O_WRONLY)
		if err != nil {
			return err
		}
		c.procs = append(c.procs, procs)
	}
	return nil
}

// openUnpolled opens a file of the kernel's that is ready at any time. os.Open would have it polled.
func openUnpolled(path string, flag int) (*os.File, error) {
	fd, err := unix.Open(path, flag|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// boundSockets bounds the buffers of TCP and UDP, which v1 counts apart from all other memory. The cgroups
// package does not know of it.
func (t *cgroupTree) boundSockets(c *cgroup, bytes int64) error {
	if t.unified {
		return nil
	}
	return cgroups.WriteFile(c.manager.Path("memory"), "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(bytes, 10))
}

// memory is a limit of memory, which no swap is added to. 0 is none.
func (t *cgroupTree) memory(bytes int64) *cgroups.Resources {
	limits := &cgroups.Resources{Memory: bytes, SkipDevices: true}
	if t.countsSwap {
		limits.MemorySwap = bytes
	}
	return limits
}

// attach puts a process into the cgroup.
func (c *cgroup) attach(pid int) error {
	text := strconv.AppendInt(nil, int64(pid), 10)
	for _, procs := range c.procs {
		if _, err := procs.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the cgroup. It waits a little for the last processes, which a dying pid namespace takes
// along.
func (c *cgroup) remove() error {
	defer c.leave()
	for _, file := range append(c.procs, c.current) {
		file.Close() // of none it is an error that nobody looks at
	}
	return c.manager.Destroy()
}

// favorDynamicMods, at a new directory, makes attaching a process to a cgroup cheap on this machine for as
// long as the calling thread's mount namespace lives. Without it each attach after a quiet moment waits for
// an RCU grace period, 5–19 ms: the kernel then switches its cgroup lock from readers to writers. An empty
// hierarchy mounted with favordynmods keeps it switched (Linux ≥ 6.0). It is a private mount of no
// controller; older kernels refuse it, and attaching is slower there.
func favorDynamicMods(dir, name string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return unix.Mount("cgroup", dir, "cgroup", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "none,name="+name+",favordynmods")
}
