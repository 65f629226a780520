/* Files of the host, of the worker and of others, through the mounts of the sandbox. */
#include "attack.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int can_list(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return -1;
    closedir(dir);
    return done("listed %s", path);
}

int can_read(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, &byte, 1);
    close(fd);
    return n == 1 ? done("read %s", path) : nothing();
}

int can_write(const char *path) {
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -1;
    close(fd);
    return done("opened %s to write", path);
}

int can_make(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    close(fd);
    unlink(path);
    return done("made %s", path);
}

int any(int (*action)(const char *), const char *const *things) {
    for (errno = 0; *things; things++)
        if (action(*things) == 0) return 0;
    return nothing();
}

static int (*walked)(const char *);
static int walk(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return walked(path) == 0;
}

int below(const char *directory, int (*action)(const char *)) {
    walked = action;
    errno = 0;
    return nftw(directory, walk, 16, FTW_PHYS) == 1 ? 0 : nothing();
}

/* Whether a path is on the kernel's list of what can be seen from here, and which host's path is behind it. */
static int mounted_from(const char *what) {
    char line[4096], path[2048];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    int found = -1;
    if (!file) return -1;
    while (found && fgets(line, sizeof line, file))
        if (sscanf(line, "%*s %*s %*s %2047s", path) == 1 && strstr(path, what)) found = done("%s", path);
    fclose(file);
    return found ? nothing() : 0;
}

ATTACK(host_file, "read a file of the host", 0) { return ANY(can_read, HOST "/canary", "/proc/1/root" HOST "/canary", "/proc/self/cwd/../../.." HOST "/canary"); }
ATTACK(host_home, "list the homes of the host", 0) { return ANY(can_list, "/home", "/root", "/proc/1/root/home"); }
ATTACK(host_secret, "read a secret of the host's root", 0) { return ANY(can_read, HOST "/secret", "/etc/shadow", "/root/.ssh/id_rsa"); }
ATTACK(data_directory, "list the worker's data", 0) { return ANY(can_list, HOST "/data/packages", HOST "/data/code", HOST "/data/staging"); }
ATTACK(data_path, "learn where the worker's data is", 0) { return mounted_from(HOST); }
ATTACK(sysfs, "look into the host's /sys", 0) { return ANY(can_list, "/sys/kernel", "/sys/fs/cgroup", "/sys/class"); }
/* The last one runs nowhere: to write to those that run is refused in any case. */
ATTACK(write_system, "write to the system's programs", 0) { return ANY(can_write, "/usr/bin/env", "/bin/sh", "/usr/bin/factor"); }
ATTACK(make_system, "put a library beside the system's", 0) { return ANY(can_make, "/usr/lib/pipsqueak-attack", "/usr/local/lib/pipsqueak-attack", "/usr/bin/pipsqueak-attack"); }
ATTACK(write_accounts, "write to /etc", 0) { return ANY(can_make, "/etc/ld.so.preload", "/etc/pipsqueak-attack"); }
ATTACK(make_root, "put a file into the root directory", 0) { return ANY(can_make, "/pipsqueak-attack", "/dev/pipsqueak-attack", "/var/pipsqueak-attack"); }
static int not_a_directory(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISREG(info.st_mode) ? can_write(path) : -1;
}
ATTACK(write_packages, "write to a package", 0) { return below("/proc/self/root/packages", not_a_directory) == 0 ? 0 : can_make("/packages/pipsqueak-attack"); }
ATTACK(write_driver, "write to the driver's files", 0) { return below("/proc/self/root/pipsqueak", not_a_directory) == 0 ? 0 : can_make("/pipsqueak/pipsqueak-attack"); }
/* By a path that no probe sees: a package that looks at the function's files is in no zygote. */
ATTACK(write_code, "write to the function's code", 0) { return below("/proc/self/root/function", not_a_directory) == 0 ? 0 : can_make("/proc/self/root/function/pipsqueak-attack"); }
ATTACK(read_code, "read a function's code from a zygote", 0) { return below("/proc/self/root/function", can_read); }
static int of_nobody(const char *path) { return strstr(path, stranger) ? can_read(path) : -1; }
ATTACK(read_packages, "read a package that it does not depend on", 0) { return below("/proc/self/root/packages", of_nobody); }
static int make_writable(const char *path) { return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL) == 0 ? done("%s", path) : -1; }
ATTACK(remount, "make its mounts writable", 5) { return ANY(make_writable, "/usr", "/packages", "/function", "/pipsqueak", "/"); }
ATTACK(kernel_settings, "write to the kernel's settings", 0) {
    return ANY(can_write, "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory");
}
/* Of the network, of users, of shared memory, and the name of the host. */
ATTACK(own_settings, "change the settings of its namespaces", 0) {
    return ANY(can_write, "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/hostname");
}
ATTACK(sysrq, "press the machine's system request", 0) { return can_write("/proc/sysrq-trigger"); }
ATTACK(core_memory, "read the kernel's memory", 0) { return ANY(can_read, "/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/kpageflags", "/proc/keys", "/proc/key-users"); }
ATTACK(kernel_log, "read the kernel's log", 0) { return ANY(can_read, "/dev/kmsg", "/proc/kmsg"); }
ATTACK(which_machine, "learn which machine it is", 0) { return ANY(can_read, "/proc/sys/kernel/random/boot_id", "/proc/cmdline"); }
ATTACK(hardware, "watch the machine's disks and devices", 0) { return ANY(can_read, "/proc/interrupts", "/proc/diskstats", "/proc/partitions", "/proc/timer_list"); }
ATTACK(devices, "open a device of the host", 0) {
    static const char *const all[] = {"/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop-control", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/tty0", "/dev/console", NULL};
    return any(can_write, all);
}
ATTACK(make_device, "make a device", 0) {
    return mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0)) == 0 || mknod("/tmp/memory", S_IFCHR | 0600, makedev(1, 1)) == 0 ? done("a device") : -1;
}
ATTACK(own_file, "give a file to root with the set-user-ID bit", 0) {
    const char *path = "/tmp/setuid";
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    if (fd < 0) return -1;
    close(fd);
    uid_t other = getuid() ? 0 : 1000;
    int failed = chown(path, other, other) != 0 || chmod(path, 04755) != 0, error = errno;
    unlink(path);
    errno = error;
    return failed ? -1 : done("a program of another user");
}
