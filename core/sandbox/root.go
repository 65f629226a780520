package sandbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxRoots is how many prepared root directories are kept. A prepared root is a few small mounts; an instance
// does not need it any more once it has entered, for it holds a copy.
const maxRoots = 512

// roots prepares root directories and copies them. A root is prepared once for each different Spec.Mounts and
// then copied for each process as one detached mount tree (open_tree), which the process attaches itself: one
// call for all mounts.
//
// All of it lives in a mount namespace that only one thread of the worker is in. Nothing is mounted where the
// host could see it, and nothing is left when the worker ends, however it ends.
type roots struct {
	dir   string // where they are mounted; nothing of it is seen but by the thread
	links map[string]string
	calls chan func()
	// storages are where storages are mounted, by their files; only the thread touches it.
	storages map[string]string
	known    []preparedRoot // by last use, the oldest first; only the thread touches it
}

type preparedRoot struct {
	key   rootKey
	owner int
	dir   string
}

type rootKey [sha256.Size]byte

// openRoots starts the thread. The directory must exist; roots are mounted below it, invisibly.
func openRoots(dir string, links map[string]string) (*roots, error) {
	r := &roots{dir: dir, links: links, calls: make(chan func()), storages: map[string]string{}}
	started := make(chan error)
	go func() {
		// Never unlocked: the thread, with its namespace, ends with the goroutine.
		runtime.LockOSThread()
		started <- r.isolate()
		for call := range r.calls {
			call()
		}
	}()
	if err := <-started; err != nil {
		close(r.calls)
		return nil, err
	}
	return r, nil
}

// close takes the mounts away at once, for should the thread be the first of the process, it ends only with
// that.
func (r *roots) close() error {
	defer close(r.calls)
	return r.do(func() error {
		if err := unix.Unmount(r.dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", r.dir, err)
		}
		return nil
	})
}

func (r *roots) isolate() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace for the worker: %w (it must run as root)", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the worker's mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", r.dir, "tmpfs", unix.MS_NOSUID, "mode=700,size=64m"); err != nil {
		return fmt.Errorf("mounting %s: %w", r.dir, err)
	}
	return nil
}

// do runs f on the thread.
func (r *roots) do(f func() error) error {
	result := make(chan error, 1)
	r.calls <- func() { result <- f() }
	return <-result
}

// copyFor returns a descriptor of a detached copy of the root directory that the Spec describes, whose key is
// given, which belongs to a user of the host: root in the user namespaces that see it. The caller closes it.
func (r *roots) copyFor(spec *specs.Spec, key rootKey, owner int) (int, error) {
	fd := -1
	err := r.do(func() error {
		dir, err := r.prepared(key, spec, owner)
		if err != nil {
			return err
		}
		fd, err = unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		return err
	})
	return fd, err
}

// keyOf tells roots apart. What is mounted counts by its inode too: another directory may be at the same path
// by now, such as a package that was removed and installed again. A root that has the earlier one mounted
// keeps its number from being given again.
func keyOf(spec *specs.Spec) (rootKey, error) {
	h := sha256.New()
	for _, m := range spec.Mounts {
		for _, word := range append([]string{m.Destination, m.Type, m.Source}, m.Options...) {
			h.Write([]byte(word))
			h.Write([]byte{0})
		}
		for _, source := range sourcesOf(m) {
			var at unix.Stat_t
			if err := unix.Stat(source, &at); err != nil {
				return rootKey{}, fmt.Errorf("mounting %s at %s: %w", source, m.Destination, err)
			}
			h.Write(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, at.Dev), at.Ino))
		}
		h.Write([]byte{0})
	}
	return rootKey(h.Sum(nil)), nil
}

// sourcesOf are the files and directories of the host that a mount shows.
func sourcesOf(m specs.Mount) (sources []string) {
	if m.Type == "bind" {
		return []string{m.Source}
	}
	for _, option := range m.Options {
		if path, is := strings.CutPrefix(option, lower); is && path != "" {
			sources = append(sources, path)
		}
	}
	return sources
}

func (r *roots) prepared(key rootKey, spec *specs.Spec, owner int) (string, error) {
	if i := slices.IndexFunc(r.known, func(p preparedRoot) bool { return p.key == key && p.owner == owner }); i >= 0 {
		p := r.known[i]
		r.known = append(slices.Delete(r.known, i, i+1), p)
		return p.dir, nil
	}
	dir := filepath.Join(r.dir, fmt.Sprintf("%x-%d", key[:16], owner))
	if err := r.prepare(dir, spec, owner); err != nil {
		return "", errors.Join(err, remove(dir))
	}
	r.known = append(r.known, preparedRoot{key, owner, dir})
	if len(r.known) > maxRoots {
		oldest := r.known[0]
		r.known = r.known[1:]
		return dir, remove(oldest.dir)
	}
	return dir, nil
}

func remove(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// prepare builds a root: a small file system with links, devices and mount points, and the Spec's mounts on
// it, except those that each process must make itself because they belong to its namespaces or to it alone
// (proc, the private /tmp).
func (r *roots) prepare(dir string, spec *specs.Spec, owner int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mounting %s: %w", dir, err)
	}
	if err := r.skeleton(dir, spec); err != nil {
		return err
	}
	for _, m := range spec.Mounts { // all of them first: in an overlay none can be made
		if err := mountPoint(filepath.Join(dir, clean(m.Destination)), m); err != nil {
			return fmt.Errorf("a place to mount %s: %w", m.Destination, err)
		}
	}
	if err := hand(dir, owner); err != nil {
		return fmt.Errorf("handing %s to %d: %w", dir, owner, err)
	}
	for _, m := range spec.Mounts {
		if err := r.attach(dir, m); err != nil {
			return err
		}
	}
	return protect(dir)
}

// hand makes all of the small file system a user's, and nothing of what is mounted on it.
func hand(dir string, owner int) error {
	alone, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(alone)
	return filepath.WalkDir(fmt.Sprintf("/proc/self/fd/%d/", alone), func(path string, _ fs.DirEntry, err error) error {
		return cmp.Or(err, os.Lchown(path, owner, owner))
	})
}

// protect makes the small file system read-only. It is busy for a moment when a file of it is open for
// writing, and another thread of the worker that is just starting a program has a copy of every descriptor
// until its exec.
func protect(dir string) error {
	for tries := 0; ; tries++ {
		err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID, "")
		if !errors.Is(err, unix.EBUSY) || tries == 1000 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// skeleton makes what lies under the mounts, CodeDir too: in a zygote it is empty, and the working directory
// as in an instance.
func (r *roots) skeleton(dir string, spec *specs.Spec) error {
	for _, d := range []string{core.CodeDir, "dev/pts", "etc", "proc", "tmp", "var"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, links := range []map[string]string{r.links, skeletonLinks} {
		for name, target := range links {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	for name, text := range map[string]string{
		"/etc/passwd":        accounts,
		"/etc/group":         fmt.Sprintf("root:x:0:\n%s:x:%d:\nnogroup:x:65534:\n", core.UserName, ownID),
		"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + spec.Hostname + "\n",
		"/etc/hostname":      spec.Hostname + "\n",
		"/etc/nsswitch.conf": nsswitch,
		"/etc/resolv.conf":   "nameserver " + core.ResolverAddress + "\n",
		"/etc/timezone":      "Etc/UTC\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, d := range spec.Linux.Devices {
		name := filepath.Join(dir, d.Path)
		if err := unix.Mknod(name, unix.S_IFCHR|uint32(d.FileMode.Perm()), int(unix.Mkdev(uint32(d.Major), uint32(d.Minor)))); err != nil {
			return fmt.Errorf("making the device %s: %w", d.Path, err)
		}
		if err := os.Chmod(name, d.FileMode.Perm()); err != nil {
			return err
		}
	}
	return nil
}

// skeletonLinks are in every root directory. There is one place that can be written to, under each name that
// programs know such a place by.
var skeletonLinks = map[string]string{
	"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	"/dev/ptmx": "pts/ptmx", "/dev/shm": core.ScratchDir, "/run": core.ScratchDir, "/var/run": core.ScratchDir, "/var/tmp": core.ScratchDir,
	"/etc/localtime": "/usr/share/zoneinfo/Etc/UTC", "/etc/mtab": "/proc/self/mounts",
}

// nsswitch has names looked up where there are some, whatever the host does.
const nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"

// accounts is an /etc/passwd with the accounts that every program expects to find, and that of the process.
var accounts = fmt.Sprintf("root:x:0:0:root:%[1]s:/bin/sh\n%[2]s:x:%[3]d:%[3]d:%[2]s:%[1]s:/bin/sh\nnobody:x:65534:65534:nobody:%[1]s:/bin/sh\n",
	core.ScratchDir, core.UserName, ownID)

// attach carries out one mount of a Spec under dir.
func (r *roots) attach(dir string, m specs.Mount) error {
	if !ours(m) {
		return nil
	}
	place, err := openInside(dir, m.Destination)
	if err != nil {
		return fmt.Errorf("a place to mount %s: %w", m.Destination, err)
	}
	defer unix.Close(place)
	if m.Type == "overlay" {
		return r.attachOverlay(place, m)
	}
	target := fmt.Sprintf("/proc/self/fd/%d", place)
	if m.Type == "tmpfs" {
		return unix.Mount("tmpfs", target, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=755")
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", m.Source, m.Destination, err)
	}
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if slices.Contains(m.Options, "ro") {
		attributes.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	mounted, err := openInside(dir, m.Destination)
	if err != nil {
		return err
	}
	defer unix.Close(mounted)
	if err := unix.MountSetattr(mounted, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attributes); err != nil {
		return fmt.Errorf("protecting the mount at %s: %w", m.Destination, err)
	}
	return nil
}

// ours reports whether a mount is the root directory's and not for each process to make.
func ours(m specs.Mount) bool {
	return m.Type == "bind" || m.Type == "overlay" || m.Type == "tmpfs" && slices.Contains(m.Options, "ro")
}

// openInside finds a path below dir as a process does that has dir as its root: a link on the way, such as
// one to /usr/lib, must not lead to the host's.
func openInside(dir, name string) (int, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// mountPoint makes sure that there is a directory or file to mount on. Below a system directory nothing is
// made: that is the host's.
func mountPoint(target string, m specs.Mount) error {
	if !ours(m) && m.Type != storageType || belowSystemDir(clean(m.Destination)) {
		return nil
	}
	if _, err := os.Lstat(target); err == nil {
		return nil
	}
	directory := m.Type != "bind" // a storage's too
	if !directory {
		info, err := os.Stat(m.Source)
		if err != nil {
			return err
		}
		directory = info.IsDir()
	}
	if directory {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o644)
}
