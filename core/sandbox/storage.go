package sandbox

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// storageType is of the mount of a Spec that shows a storage: its Source is a file with an ext4. The OCI
// specification leaves types to the kernel, which has none for a file, so this one is ours.
const storageType = "storage"

// lentTime is how long a storage of an earlier worker may still be in use: the kernel takes a moment to end
// what that had mounted.
const lentTime = 5 * time.Second

// storageOf returns the storage that a Spec shows, if it shows one.
func storageOf(spec *specs.Spec) (specs.Mount, bool) {
	for _, m := range spec.Mounts {
		if m.Type == storageType {
			return m, true
		}
	}
	return specs.Mount{}, false
}

// copyWith is copyFor for a Spec with a storage. Ids on the storage's disk are those that users have in the
// user namespace: each instance has another number on the host, and all of them are one user there.
func (r *roots) copyWith(spec *specs.Spec, key rootKey, owner int, namespace string, m specs.Mount) (fd int, err error) {
	users, err := os.Open(namespace)
	if err != nil {
		return -1, err
	}
	defer users.Close()
	err = r.do(func() error {
		dir, err := r.prepared(key, spec, owner)
		if err != nil {
			return err
		}
		kept, err := r.mounted(m.Source)
		if err != nil {
			return fmt.Errorf("the storage of %s: %w", m.Destination, err)
		}
		shown, err := unix.OpenTree(unix.AT_FDCWD, kept, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return err
		}
		defer unix.Close(shown)
		attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Userns_fd: uint64(users.Fd())}
		if err := unix.MountSetattr(shown, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
			return fmt.Errorf("mapping the ids of a storage: %w", err)
		}
		fd, err = r.copyOver(dir, shown, m.Destination)
		return err
	})
	return fd, err
}

// copyOver returns a detached copy of a prepared root directory with one more mount in it. A mount can be
// added to what is attached only, so it is attached for a moment.
func (r *roots) copyOver(dir string, mount int, at string) (fd int, err error) {
	once := filepath.Join(r.dir, "once")
	if err := os.MkdirAll(once, 0o700); err != nil {
		return -1, err
	}
	if err := unix.Mount(dir, once, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return -1, err
	}
	defer func() { err = cmp.Or(err, unix.Unmount(once, unix.MNT_DETACH)) }()
	place, err := openInside(once, at)
	if err != nil {
		return -1, err
	}
	defer unix.Close(place)
	if err := unix.MoveMount(mount, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return -1, fmt.Errorf("mounting at %s: %w", at, err)
	}
	return unix.OpenTree(unix.AT_FDCWD, once, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
}

// mounted returns where the ext4 of a file is mounted, which it is once for all sandboxes, until the worker
// ends or release.
func (r *roots) mounted(image string) (string, error) {
	if dir := r.storages[image]; dir != "" {
		return dir, nil
	}
	device, err := attachLoop(image)
	if err != nil {
		return "", err
	}
	defer device.Close() // with the last mount of it, the kernel frees the device
	dir, err := os.MkdirTemp(r.dir, "storage-")
	if err != nil {
		return "", err
	}
	if err := unix.Mount(device.Name(), dir, "ext4", unix.MS_NOSUID|unix.MS_NODEV, "errors=remount-ro"); err != nil {
		return "", errors.Join(fmt.Errorf("mounting the ext4 of %s: %w", image, err), os.Remove(dir))
	}
	var stat unix.Stat_t
	if lost := filepath.Join(dir, "lost+found"); unix.Lstat(lost, &stat) == nil && stat.Uid == 0 { // mkfs's; programs take a directory for used that has it
		_ = os.Remove(lost)
	}
	r.storages[image] = dir
	return dir, nil
}

// release takes away the mount of a storage that nobody uses any more.
func (r *roots) release(image string) error {
	return r.do(func() error {
		dir := r.storages[image]
		if dir == "" {
			return nil
		}
		delete(r.storages, image)
		return errors.Join(unix.Unmount(dir, unix.MNT_DETACH), os.Remove(dir))
	})
}

// Mount makes sure that a storage can be shown, by its file.
func (h *Host) Mount(storage string) error {
	return h.roots.do(func() error { _, err := h.roots.mounted(storage); return err })
}

// Unmount takes away the mount of a storage, by its file. Sandboxes that show it keep it until they end.
func (h *Host) Unmount(storage string) error { return h.roots.release(storage) }

// Free returns how many bytes of a storage no file takes, by its file. Of one that is not mounted, the file
// says how many it had when it was.
func (h *Host) Free(storage string) (free int64, err error) {
	err = h.roots.do(func() error {
		dir := h.roots.storages[storage]
		if dir == "" {
			free, err = freeIn(storage)
			return err
		}
		var stat unix.Statfs_t
		if err := unix.Statfs(dir, &stat); err != nil {
			return err
		}
		free = int64(stat.Bavail) * stat.Bsize
		return nil
	})
	return free, err
}

// freeIn reads the superblock of an ext4 (Linux, Documentation/filesystems/ext4/super.rst).
func freeIn(image string) (int64, error) {
	const at, magic, wide = 1024, 0xef53, 0x80
	file, err := os.Open(image)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	block := make([]byte, 1024)
	if _, err := file.ReadAt(block, at); err != nil {
		return 0, fmt.Errorf("%s: %w", image, err)
	}
	little := binary.LittleEndian
	if little.Uint16(block[56:]) != magic {
		return 0, fmt.Errorf("%s has no ext4", image)
	}
	count := func(low, high int) int64 {
		n := int64(little.Uint32(block[low:]))
		if little.Uint32(block[96:])&wide != 0 {
			n |= int64(little.Uint32(block[high:])) << 32
		}
		return n
	}
	reserve := min(count(4, 0x150)/50, 4096) // the kernel's own, which no file gets
	return max(count(12, 0x158)-reserve, 0) << (10 + little.Uint32(block[24:])), nil
}

// attachLoop gives a file a loop device. The file is locked for as long as the device has it: an ext4 that is
// mounted twice would be destroyed.
func attachLoop(image string) (*os.File, error) {
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the device keeps what was opened, and with it the lock
	for deadline := time.Now().Add(lentTime); ; time.Sleep(10 * time.Millisecond) {
		if err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s is in use: %w", image, err)
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 100 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("a loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was quicker
			return nil, fmt.Errorf("a loop device for %s: %w", image, err)
		}
	}
	return nil, errors.New("others take every loop device")
}
