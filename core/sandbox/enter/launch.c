/*
 * pipsqueak-enter: starts a program from nothing inside a sandbox.
 *
 *     pipsqueak-enter PROGRAM ARGUMENT...
 *
 * Descriptor 3 is the control socket that the program is to have, 4 the gate. Two processes: the keeper stays outside, in
 * the new user namespace, and the program goes into the new pid namespace. The keeper ends the program when the gate
 * closes, for then the worker is gone; so a driver may die and its zygotes live on, and nothing outlives the worker. It
 * makes network namespaces when core asks for one, and exits with the program's status.
 */
#include "enter.h"
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTROL = 3, GATE = 4 };

static int die(const char *what)
{
    fprintf(stderr, "pipsqueak-enter: %s: %s\n", what, strerror(errno));
    struct ps_note note = {.kind = PS_FAILED, .err = errno};
    snprintf(note.step, sizeof note.step, "%s", what);
    send(GATE, &note, sizeof note, MSG_NOSIGNAL);
    return 125;
}

/* Makes the user namespace and has core map a range of ids into it, then becomes its root. Sets first when core wants the program to be the
 * first process of its pid namespace. */
static int become_root_of_new_user_namespace(int *first)
{
    struct ps_note note = {.kind = PS_USER};
    if (unshare(CLONE_NEWUSER) < 0)
        return die("unshare of the user namespace");
    if (send(GATE, &note, sizeof note, MSG_NOSIGNAL) < 0 || recv(GATE, &note, sizeof note, 0) != sizeof note || note.kind != PS_GO)
        return die("having the ids mapped");
    *first = note.err;
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return die("becoming root of the user namespace");
    /* A change of uid makes a process undumpable, and then its /proc belongs to the root of the host. */
    if (prctl(PR_SET_DUMPABLE, 1) < 0)
        return die("prctl(PR_SET_DUMPABLE)");
    return 0;
}

/* Answers a request for a network namespace: makes one by moving into it, and sends it. */
static void give_network(void)
{
    struct ps_note note = {.kind = PS_NETWORK};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &note, .iov_len = sizeof note};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (recv(GATE, &note, sizeof note, 0) != sizeof note || note.kind != PS_NETWORK)
        return;
    int fd = ps_new_network() < 0 ? -1 : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        note = (struct ps_note){.kind = PS_FAILED, .err = errno, .step = "making a network namespace"};
    } else {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    sendmsg(GATE, &msg, MSG_NOSIGNAL);
    if (fd >= 0)
        close(fd);
}

/* entering is a pipe whose other end the child has until it is inside: until then what comes through the gate is its. */
static int keep(pid_t child, int entering)
{
    int status, pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    struct pollfd fds[] = {{.fd = GATE, .events = 0}, {.fd = pidfd, .events = POLLIN}, {.fd = entering, .events = 0}};
    if (pidfd < 0)
        return die("pidfd_open");
    close(CONTROL);
    for (;;) {
        if (poll(fds, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (fds[1].revents)
            break;
        if (fds[0].revents & (POLLHUP | POLLERR)) {
            kill(child, SIGKILL); /* our own child, not yet waited for: its number cannot be another's */
            fds[0].fd = -1;
        } else if (fds[0].revents & POLLIN) {
            give_network();
        }
        if (fds[2].revents) {
            fds[2].fd = -1;
            fds[0].events = POLLIN;
        }
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return die("waitpid");
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ; /* init, and with it all that the program has left running */
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Leaves behind what execve lets through of the worker and its driver: ignored signals, file mode mask, and keys in the
 * session keyring. Descriptors are the driver's to close; what it forgot must not stay open in the keeper. */
static void forget_the_host(void)
{
    for (int number = 1; number < NSIG; number++)
        /* Refused for SIGKILL and SIGSTOP. The C library would also refuse its own two, which it leaves ignored in what it spawns. */
        syscall(SYS_rt_sigaction, number, &(const unsigned long[4]){0}, NULL, sizeof(unsigned long));
    umask(022);
    syscall(SYS_close_range, GATE + 1, ~0U, 0);
    /* Refused by kernels without keys and containers that forbid keyctl, and then there is nothing to be had through it. */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

int main(int argc, char **argv)
{
    extern char **environ;
    if (argc < 2) {
        fprintf(stderr, "pipsqueak-enter: part of Pipsqueak, started by its drivers; it is of no use by itself\n");
        return 2;
    }
    forget_the_host();
    int entering[2], first = 0;
    if (become_root_of_new_user_namespace(&first) != 0)
        return 125;
    if ((first ? unshare(CLONE_NEWPID) : ps_fork_begin()) < 0)
        return die("unshare of the pid namespace");
    if (pipe2(entering, O_CLOEXEC) < 0)
        return die("pipe");
    pid_t child = fork();
    if (child < 0)
        return die("fork");
    if (child > 0) {
        ps_init_go();
        close(entering[1]);
        return keep(child, entering[0]);
    }
    /* Should the keeper be killed, the program must not stay. Twice, for a change of uid clears it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd keeper = {.fd = entering[1]};
    close(entering[0]);
    if (poll(&keeper, 1, 0) != 0)
        _exit(125); /* it was killed before */
    if (ps_enter(GATE, CONTROL) < 0)
        _exit(125);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execve(argv[1], argv + 1, environ);
    fprintf(stderr, "pipsqueak-enter: %s: %s\n", argv[1], strerror(errno));
    _exit(127);
}
