/* Other processes: those of other sandboxes, and the worker's. */
#include "attack.h"
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *cgroup_of(const char *pid, char *text, size_t size) {
    snprintf(text, size, "/proc/%s/cgroup", pid);
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    return text;
}

/* Those of its own sandbox are in its own cgroup. */
int others(int (*action)(const char *pid)) {
    char own[4096], its[4096];
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    if (!proc) return -1;
    cgroup_of("self", own, sizeof own);
    errno = 0;
    while ((entry = readdir(proc)))
        if (atoi(entry->d_name) > 0 && *cgroup_of(entry->d_name, its, sizeof its) && strcmp(own, its) != 0 && action(entry->d_name) == 0) return closedir(proc), 0;
    closedir(proc);
    return nothing();
}

static int see(const char *pid) { return done("process %s", pid); }
ATTACK(see_other, "see a process of another sandbox", 0) { return others(see); }

static int environ_of(const char *pid) {
    char path[64], text[1 << 16];
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    return n > 0 && memmem(text, (size_t)n, CANARY, strlen(CANARY)) ? done("read %s", path) : nothing();
}
ATTACK(worker_environment, "read the environment of the worker", 0) {
    for (char **variable = environ; *variable; variable++)
        if (strstr(*variable, CANARY)) return done("%.20s", *variable);
    return ANY(environ_of, "self", "1", "2") == 0 || others(environ_of) == 0 ? 0 : nothing();
}

static int path_of(const char *pid, const char *what, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return -1;
    close(fd);
    return done("opened %s", path);
}
static int memory_of(const char *pid) { return path_of(pid, "mem", O_RDWR); }
static int files_of(const char *pid) { return path_of(pid, "root/tmp", O_RDONLY | O_DIRECTORY); }
ATTACK(other_files, "reach another sandbox's files through /proc", 0) { return others(files_of); }
static int descriptors_of(const char *pid) { return path_of(pid, "fd", O_RDONLY | O_DIRECTORY); }
ATTACK(other_descriptors, "reach another sandbox's descriptors", 0) { return others(descriptors_of); }

static int each_number(int (*action)(int pid)) {
    errno = 0;
    for (int pid = 2; pid < 400; pid++) {
        char own[32]; /* a thread of this process has such a number too */
        snprintf(own, sizeof own, "/proc/self/task/%d", pid);
        if (access(own, F_OK) != 0 && pid != getppid() && action(pid) == 0) return 0;
    }
    return nothing();
}
static int copy_of(int pid) {
    char byte;
    const struct iovec own = {&byte, 1}, its = {(void *)0x400000, 1};
    return process_vm_readv(pid, &own, 1, &its, 1, 0) == 1 || errno == EFAULT ? done("copies from %d", pid) : -1;
}
ATTACK(other_memory, "read the memory of another sandbox's process", 0) { return others(memory_of) == 0 ? 0 : each_number(copy_of); }
static int trace(int pid) { return ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? done("traces %d", pid) : -1; }
ATTACK(trace_other, "trace another sandbox's process", 0) { return each_number(trace); }
static int may_signal(int pid) { return kill(pid, 0) == 0 ? done("may kill %d", pid) : -1; }
ATTACK(signal_other, "signal another sandbox's process", 0) { return each_number(may_signal); }
static int open_pid(int pid) { return syscall(SYS_pidfd_open, pid, 0) >= 0 ? done("holds %d", pid) : -1; }
ATTACK(hold_other, "hold another sandbox's process", 0) { return each_number(open_pid); }

/* In a child: should it work, it works for this process too. */
static int join(const char *pid) {
    static const char *const kinds[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", NULL};
    for (int i = 0; kinds[i]; i++) {
        char its[64], own[64];
        struct stat a, b;
        snprintf(its, sizeof its, "/proc/%s/ns/%s", pid, kinds[i]);
        snprintf(own, sizeof own, "/proc/self/ns/%s", kinds[i]);
        int fd = open(its, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &a) == 0 && stat(own, &b) == 0 && a.st_ino != b.st_ino && setns(fd, 0) == 0) return done("joined %s", its);
    }
    return nothing();
}
ATTACK(join_other, "join the namespaces of another process", 5) { return join("1") == 0 || others(join) == 0 ? 0 : nothing(); }

ATTACK(inherited, "use a descriptor that was left open", 0) {
    /* What a runtime opens itself. */
    static const char *const own[] = {"pipe:", "anon_inode:", "/dev/null", "/usr/", "/function", "/pipsqueak/", "/packages", NULL};
    char path[64], target[256];
    for (int fd = 3, sockets = 0; fd < 1024; fd++) {
        int usual;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = 0;
        usual = strncmp(target, "socket:", 7) == 0 && sockets++ < own_sockets;
        for (int i = 0; own[i]; i++) usual |= strncmp(target, own[i], strlen(own[i])) == 0;
        if (n >= 0 && !usual) return done("%s", target);
    }
    return nothing();
}

ATTACK(root, "become another user", 5) { return setresuid(0, 0, 0) == 0 || setresuid(1, 1, 1) == 0 ? done("is user %d", (int)getuid()) : -1; }
ATTACK(groups, "join a group", 5) { return setgroups(1, (gid_t[]){0}) == 0 ? done("the group root") : -1; }
ATTACK(capabilities, "hold a capability", 0) {
    for (unsigned long cap = 0; cap < 41; cap++)
        if (prctl(PR_CAPBSET_READ, cap) == 1) return done("capability %lu can be had", cap);
    struct __user_cap_header_struct of = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {0x1ff, 0x1ff, 0x1ff}};
    return syscall(SYS_capset, &of, all) == 0 ? done("all of them") : -1;
}
static int map_of_users(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, "0 0 4294967295", 14);
    return n > 0 ? done("wrote %s", path) : -1;
}
ATTACK(more_users, "map more users into its namespace", 5) { return ANY(map_of_users, "/proc/self/uid_map", "/proc/self/gid_map"); }
ATTACK(new_privileges, "gain privileges by running a program", 0) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 ? done("the kernel would give them") : nothing(); }
/* The worker has 0 or less. To get as low as that needs no privilege: the kernel remembers what a process began with. */
ATTACK(oom_score, "be spared by the OOM killer before the worker", 5) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, "-1", 2) == 2 ? done("-1") : -1;
}
ATTACK(raise_files, "raise its limit of descriptors", 5) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = ++limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? done("one more") : -1;
}
ATTACK(core_limit, "write a core file", 0) {
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max > 1 ? done("up to %llu bytes", (unsigned long long)limit.rlim_max) : nothing();
}
ATTACK(priority, "run before all others", 5) {
    struct sched_param first = {.sched_priority = 1};
    return setpriority(PRIO_PROCESS, 0, -5) == 0 || sched_setscheduler(0, SCHED_FIFO, &first) == 0 ? done("a priority") : -1;
}

/* A frame as the instance's own, before its loop sends one: who gets it for an answer has been lied to. */
ATTACK(forge, "answer in the name of the runtime", 0) {
    static const char body[] = "00000000000000000000000000000000\"forged\"";
    char frame[5 + sizeof body - 1] = {0, 0, 0, sizeof body, 'R'};
    memcpy(frame + 5, body, sizeof body - 1);
    struct stat info;
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode)) {
            ssize_t n = write(fd, frame, sizeof frame);
            usleep(300000); /* before the instance's own comes */
            return n == (ssize_t)sizeof frame ? nothing() : -1;
        }
    return -1;
}
