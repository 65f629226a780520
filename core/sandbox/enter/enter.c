/* enter: the process's side of the gate. The protocol and the reasons are in enter.h. */
#include "enter.h"
#include "init.h"
#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef MADV_POPULATE_WRITE /* since Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

enum { WAIT_KILLABLE = 1 << 5 }; /* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, which older headers do not have */

/* Descriptors that come with the orders, in this order; those the orders do not announce are left out. */
enum { FD_ROOT, FD_STDOUT, FD_STDERR, FD_NETWORK, FD_CORE, FD_COUNT };

static int say(int gate, uint32_t kind)
{
    struct ps_note note = {.kind = kind};
    ssize_t n;
    do
        n = send(gate, &note, sizeof note, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof note ? 0 : -1;
}

/* Says something, and gives a descriptor along. */
static int say_with(int gate, uint32_t kind, int given)
{
    struct ps_note note = {.kind = kind};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &note, .iov_len = sizeof note};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof given), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &given, sizeof given);
    ssize_t n;
    do
        n = sendmsg(gate, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    close(given);
    return n == (ssize_t)sizeof note ? 0 : -1;
}

/* Says who is here, and with the pidfd of the first process of the namespace, what to kill to end all that is in it. */
static int say_hello(int gate)
{
    int first = (int)syscall(SYS_pidfd_open, 1, 0);
    return first < 0 ? -1 : say_with(gate, PS_HELLO, first);
}

/* Tells core which step failed and keeps errno, so that a step reads `return fail(gate, "pivot_root")`. */
static int fail(int gate, const char *step)
{
    struct ps_note note = {.kind = PS_FAILED, .err = errno};
    snprintf(note.step, sizeof note.step, "%s", step);
    send(gate, &note, sizeof note, MSG_NOSIGNAL);
    return -1;
}

/* Receives the orders into the buffer and their descriptors into fds, -1 where there is none. */
static int receive_orders(int gate, char *buffer, int fds[FD_COUNT])
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * FD_COUNT)];
    } control;
    struct iovec iov = {.iov_base = buffer, .iov_len = PS_MAX_ORDERS};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(gate, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    const struct ps_orders *orders = (const struct ps_orders *)buffer;
    errno = EPROTO;
    if (n < (ssize_t)sizeof *orders || orders->kind != PS_ORDERS || orders->rlimits > PS_MAX_RLIMITS ||
        (size_t)n != sizeof *orders + (size_t)orders->masked + (size_t)orders->filter + (size_t)orders->writable + (size_t)orders->pages)
        return -1;
    if ((orders->masked && buffer[sizeof *orders + orders->masked - 1]) || (orders->writable && buffer[n - (ssize_t)orders->pages - 1]) ||
        orders->filter % sizeof(struct sock_filter) || orders->pages % sizeof(uint64_t) || orders->directory[sizeof orders->directory - 1])
        return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    size_t count = 0;
    int received[FD_COUNT] = {0};
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    /* Also when the kernel has cut some off (MSG_CTRUNC), as it does at the limit of open descriptors. */
    if (count != 3u + (orders->network == 1) + (orders->core != 0))
        return -1;
    memcpy(received, CMSG_DATA(header), sizeof(int) * count);
    int next = 0;
    for (int i = 0; i < FD_COUNT; i++) {
        int announced = i == FD_NETWORK ? orders->network == 1 : i == FD_CORE ? orders->core != 0 : 1;
        fds[i] = announced ? received[next++] : -1;
    }
    return 0;
}

int ps_raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return -1;
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    int r = ioctl(s, SIOCSIFFLAGS, &request);
    close(s);
    return r;
}

/* Has core open the relay in the network namespace, before anything of the program could miss it. */
static int be_relayed(int gate)
{
    struct ps_note note;
    if (say(gate, PS_NETWORK) < 0)
        return -1;
    if (recv(gate, &note, sizeof note, 0) == sizeof note && note.kind == PS_GO)
        return 0;
    errno = EPROTO;
    return -1;
}

/* Swaps the root directory for the tree behind the descriptor. proc is mounted first: the kernel gives a user namespace a new proc only
 * while it sees an old one that nothing hides a part of (mount_too_revealing). The old root is detached last, stacked under the new one
 * (pivot_root(".", ".")), so that no directory has to be kept for it in a read-only root.
 *
 * An instance detaches nothing, for whoever does that waits for an RCU grace period, on a busy machine a third of the way in. Its root lies on its
 * zygote's, which no path leads to, and which ends with it. To take its root away, or to have another one, it would need a capability. */
static int change_root(int gate, int root, const struct ps_orders *orders)
{
    char options[64];
    syscall(SYS_setfsuid, 0); /* what is made belongs to root */
    syscall(SYS_setfsgid, 0);
    snprintf(options, sizeof options, "mode=1777,size=%llu,nr_inodes=%llu", (unsigned long long)orders->scratch,
             (unsigned long long)(orders->scratch / 4096 + 16));
    int covers = orders->core == 1; /* an instance */
    if (syscall(SYS_move_mount, root, "", AT_FDCWD, covers ? "/" : "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return fail(gate, "move_mount of the root directory");
    if (fchdir(root) < 0)
        return fail(gate, "fchdir into the root directory");
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return fail(gate, "mount of /proc");
    if (mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return fail(gate, "mount of /tmp");
    if (orders->terminals && mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620") < 0)
        return fail(gate, "mount of /dev/pts");
    if (covers)
        return chroot(".") < 0 ? fail(gate, "chroot") : 0;
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return fail(gate, "pivot_root");
    if (umount2(".", MNT_DETACH) < 0)
        return fail(gate, "detaching the old root");
    if (chdir("/") < 0)
        return fail(gate, "chdir to the new root");
    return 0;
}

/* Hides what the kernel shows of the host in /proc. Only leaves do this: below a proc with something mounted over it the
 * kernel allows no new proc, so a zygote's children could not enter. Which kind a path is has to be known before: after a
 * mount that fails the kernel waits for an RCU grace period, as it does after an umount, and that takes long on a busy machine. */
static int mask(int gate, const char *paths, uint32_t length)
{
    for (const char *path = paths; path < paths + length; path += strlen(path) + 1) {
        struct stat it;
        int r = stat(path, &it);
        if (r == 0 && S_ISDIR(it.st_mode))
            r = mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,nr_inodes=2");
        else if (r == 0)
            r = mount("/dev/null", path, NULL, MS_BIND, NULL);
        if (r < 0 && errno != ENOENT) /* gone since core looked: nothing to hide */
            return fail(gate, path);
    }
    return 0;
}

enum { GATE = 5 }; /* where the gate is until the process is inside */

/* Moves descriptors to their places and closes all others; those that lie on a place first away from there. */
static int arrange(int gate, int control, const int fds[FD_COUNT])
{
    int from[] = {open("/dev/null", O_RDONLY | O_CLOEXEC), fds[FD_STDOUT], fds[FD_STDERR], control, fds[FD_CORE], gate};
    if (from[0] < 0)
        return -1;
    for (int i = 0; i <= GATE; i++)
        if (from[i] >= 0 && from[i] <= GATE && (from[i] = fcntl(from[i], F_DUPFD, GATE + 1)) < 0)
            return -1;
    for (int i = 0; i <= GATE; i++) {
        if (from[i] < 0)
            close(i);
        else if (dup2(from[i], i) < 0)
            return -1;
    }
    return (int)syscall(SYS_close_range, GATE + 1, ~0U, 0);
}

static int set_rlimits(int gate, const struct ps_orders *orders)
{
    for (uint32_t i = 0; i < orders->rlimits; i++) {
        struct rlimit limit = {.rlim_cur = orders->rlimit[i].soft, .rlim_max = orders->rlimit[i].hard};
        if (setrlimit((__rlimit_resource_t)orders->rlimit[i].resource, &limit) < 0)
            return fail(gate, "setrlimit");
    }
    return 0;
}

/* Becomes who the orders say: a user that exists nowhere else, with no group but its own, no capability in any set and none to be had again. The raw
 * system calls, for glibc's setresuid would try to reach the threads of the parent. */
static int become(int gate, uint32_t uid, uint32_t gid)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    static const struct __user_cap_data_struct none[2];
    for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
        ;
    if (errno != EINVAL) /* there is no capability of that number */
        return fail(gate, "dropping the capability bounding set");
    if (syscall(SYS_setgroups, 0, NULL) < 0)
        return fail(gate, "setgroups");
    if (syscall(SYS_setresgid, gid, gid, gid) < 0)
        return fail(gate, "setresgid");
    if (syscall(SYS_setresuid, uid, uid, uid) < 0)
        return fail(gate, "setresuid");
    if (syscall(SYS_capset, &header, none) < 0)
        return fail(gate, "capset");
    /* A change of uid makes a process undumpable, and then its /proc belongs to the root of the host. */
    if (prctl(PR_SET_DUMPABLE, 1) < 0)
        return fail(gate, "prctl(PR_SET_DUMPABLE)");
    return 0;
}

/* Installs the filter. With a listener, one call of the program waits for core at a time; that it waits until core has answered, and no signal but
 * a deadly one ends that, is what kernels before 5.19 do not have. */
static int install(const struct ps_orders *orders, struct sock_fprog *program)
{
    if (!orders->listener)
        return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program);
    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE, program);
    if (listener < 0 && errno == EINVAL)
        listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, program);
    return listener;
}

/* Returns the listener of the filter, if there is to be one, else 0. */
static int restrict_self(int gate, const struct ps_orders *orders)
{
    const char *filter = (const char *)(orders + 1) + orders->masked, *writable = filter + orders->filter;
    struct sock_fprog program = {.len = (unsigned short)(orders->filter / sizeof(struct sock_filter)),
                                 .filter = (struct sock_filter *)(uintptr_t)filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(gate, "prctl(PR_SET_NO_NEW_PRIVS)");
    if (orders->landlock && ps_landlock(orders->landlock, writable, orders->writable) < 0)
        return fail(gate, "restricting itself by Landlock");
    int listener = orders->filter ? install(orders, &program) : 0;
    return listener < 0 ? fail(gate, "installing the seccomp filter") : listener;
}

/* Of a killed machine's processes the kernel takes first those with the highest score: instances before zygotes. */
static int set_oom_score(int gate, int32_t score)
{
    char text[16];
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int n = snprintf(text, sizeof text, "%d", score);
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        return fail(gate, "writing oom_score_adj");
    close(fd);
    return 0;
}

static int carry_out(int gate, int control, const struct ps_orders *orders, const int fds[FD_COUNT])
{
    const char *masked = (const char *)(orders + 1);
    sigset_t none;

    if (unshare((int)orders->unshare) < 0)
        return fail(gate, "unshare");
    if (orders->network >= 2 && (unshare(CLONE_NEWNET) < 0 || ps_raise_loopback() < 0))
        return fail(gate, "making a network namespace");
    if (orders->network == 3 && be_relayed(gate) < 0)
        return fail(gate, "having the relay listen");
    if (fds[FD_NETWORK] >= 0 && setns(fds[FD_NETWORK], CLONE_NEWNET) < 0)
        return fail(gate, "joining the network namespace");
    if (orders->hostname[0] && sethostname(orders->hostname, strnlen(orders->hostname, sizeof orders->hostname)) < 0)
        return fail(gate, "sethostname");
    if (set_oom_score(gate, orders->oom_score_adj) < 0 || change_root(gate, fds[FD_ROOT], orders) < 0 || mask(gate, masked, orders->masked) < 0)
        return -1;
    if (arrange(gate, control, fds) < 0)
        return fail(gate, "arranging descriptors");
    gate = GATE;
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (set_rlimits(gate, orders) < 0)
        return -1;
    if (become(gate, orders->uid, orders->gid) < 0)
        return -1;
    if (orders->directory[0] && chdir(orders->directory) < 0)
        return fail(gate, "chdir");
    int listener = restrict_self(gate, orders);
    if (listener < 0 || (orders->listener ? say_with(gate, PS_ENTERED, listener) : say(gate, PS_ENTERED)) < 0)
        return -1;
    close(gate);
    return 0;
}

/* In a process that an instance forks: the endpoint is the instance's alone. A read ends there, and what is written is nobody's. */
static void lose_endpoint(void)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0 || dup3(nothing, PS_FD_ENDPOINT, O_CLOEXEC) < 0)
        close(PS_FD_ENDPOINT);
    if (nothing >= 0)
        close(nothing);
}

/* The C library tells the kernel once where it keeps which processor a thread is on, and a fork inherits that. The helper that forks (fork.h)
 * has not told it. */
static void keep_processor_known(void)
{
    if (__rseq_size)
        syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, sizeof(struct rseq), 0, RSEQ_SIG);
}

int ps_pages_copied;

/* Copies pages before they are written to. What is not mapped here stays so. */
static void copy_pages(const struct ps_orders *orders)
{
    const char *at = (const char *)(orders + 1) + orders->masked + orders->filter + orders->writable;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    ps_pages_copied = orders->pages > 0;
    for (const char *end = at + orders->pages; at < end; at += sizeof(uint64_t)) {
        uint64_t run;
        memcpy(&run, at, sizeof run);
        madvise((void *)(uintptr_t)(run & ~(uint64_t)0xfff), (size_t)(run & 0xfff) * size, MADV_POPULATE_WRITE);
    }
}

int ps_enter(int gate, int control)
{
    char buffer[PS_MAX_ORDERS] __attribute__((aligned(8)));
    int fds[FD_COUNT] = {-1, -1, -1, -1, -1};
    ps_init_forget();
    keep_processor_known();
    if (say_hello(gate) < 0)
        return -1;
    /* While core is busy with the cgroups. A sandbox without these does not exist. */
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return fail(gate, "unshare");
    if (receive_orders(gate, buffer, fds) < 0)
        return fail(gate, "receiving the orders");
    const struct ps_orders *orders = (const struct ps_orders *)buffer;
    if (carry_out(gate, control, orders, fds) < 0)
        return -1;
    if (orders->core != 1)
        return 0;
    pthread_atfork(NULL, NULL, lose_endpoint);
    copy_pages(orders);
    return 1;
}
