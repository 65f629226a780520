/*
 * keep: what a launcher's keeper makes for the forks of its zygotes.
 *
 * Two processes do it, which share the keeper's memory and descriptors and end at once. The mapper joins the user namespace of the zygote: only
 * there can the ids of one below it be given. The tenant is in the new namespaces from its first moment, opens them, and waits for its ids.
 */
#include "keep.h"
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USER, NETWORK, MADE };

/* What the kernel would let one process use up for all below the same launcher: it counts them for the owner of the launcher's namespace too. */
static const struct limit {
    const char *file, *most;
} limits[] = {{"/proc/sys/user/max_inotify_instances", "16"}, {"/proc/sys/user/max_inotify_watches", "16384"}};

static struct {
    struct ps_note note;
    int zygote;     /* its user namespace */
    int made[MADE]; /* both, or -1 */
    int error;
    int there, mapped; /* futexes */
    char tenant[16];   /* its pid as /proc has it */
} wish;

static void tell(int *futex)
{
    __atomic_store_n(futex, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, futex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(int *futex)
{
    while (!__atomic_load_n(futex, __ATOMIC_ACQUIRE))
        syscall(SYS_futex, futex, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written ? 0 : -1;
}

static int be_tenant(void *unused)
{
    (void)unused;
    if (readlink("/proc/self", wish.tenant, sizeof wish.tenant - 1) < 0)
        wish.tenant[0] = 0;
    tell(&wish.there);
    int limited = 1;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        limited = limited && write_file(limits[i].file, limits[i].most) == 0;
    if (limited && ps_raise_loopback() == 0) {
        wish.made[USER] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
        wish.made[NETWORK] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    }
    await(&wish.mapped);
    return 0;
}

static int map(const char *file)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%s/%s", wish.tenant, file);
    return write_file(path, wish.note.step);
}

static int be_mapper(void *unused)
{
    static char stack[16 << 10] __attribute__((aligned(16)));
    (void)unused;
    long owner = wish.note.err;
    /* The root zygote's namespace is the keeper's, which nobody can join who is in it. The mapper is not its root, so it keeps its capabilities as
     * another user; but that makes undumpable, and then the tenant's /proc would be the host's root's. */
    if ((setns(wish.zygote, CLONE_NEWUSER) < 0 && errno != EINVAL) || syscall(SYS_setresgid, -1, owner, -1) < 0 ||
        syscall(SYS_setresuid, -1, owner, -1) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0) {
        wish.error = errno;
        return 0;
    }
    int tenant = clone(be_tenant, stack + sizeof stack, CLONE_VM | CLONE_FILES | CLONE_NEWUSER | CLONE_NEWNET | SIGCHLD, NULL);
    if (tenant < 0) {
        wish.error = errno;
        return 0;
    }
    await(&wish.there);
    if (map("uid_map") < 0 || map("gid_map") < 0)
        wish.error = errno;
    tell(&wish.mapped);
    while (waitpid(tenant, NULL, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

void ps_keep_promise(int gate)
{
    static char stack[32 << 10] __attribute__((aligned(16)));
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * MADE)];
    } control = {0};
    memset(&wish, 0, sizeof wish);
    wish.made[USER] = wish.made[NETWORK] = -1;
    struct iovec iov = {.iov_base = &wish.note, .iov_len = sizeof wish.note};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(gate, &msg, MSG_CMSG_CLOEXEC) != sizeof wish.note)
        return;
    if (CMSG_FIRSTHDR(&msg)) {
        wish.note.step[sizeof wish.note.step - 1] = 0;
        memcpy(&wish.zygote, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof wish.zygote);
        int mapper = clone(be_mapper, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, NULL);
        if (mapper < 0)
            wish.error = errno;
        else
            waitpid(mapper, NULL, 0);
        close(wish.zygote);
    } else {
        wish.error = EMFILE; /* the kernel had no place for it */
    }
    if (wish.error || wish.made[USER] < 0 || wish.made[NETWORK] < 0) {
        wish.note = (struct ps_note){.kind = PS_FAILED, .err = wish.error, .step = "making the namespaces of a fork"};
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    } else {
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof wish.made), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), wish.made, sizeof wish.made);
        msg.msg_controllen = sizeof control;
    }
    sendmsg(gate, &msg, MSG_NOSIGNAL);
    for (int i = 0; i < MADE; i++)
        if (wish.made[i] >= 0)
            close(wish.made[i]);
}
