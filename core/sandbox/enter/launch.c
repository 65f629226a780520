/*
 * pipsqueak-enter: starts a program from nothing inside a sandbox.
 *
 *     pipsqueak-enter PROGRAM ARGUMENT...
 *
 * Descriptor 3 is the control socket that the program is to have, 4 the gate. Two processes: the keeper stays outside, in
 * the new user namespace, and the program goes into the new pid namespace. The keeper ends the program when the gate
 * closes, for then the worker is gone; so a driver may die and its zygotes live on, and nothing outlives the worker. It
 * makes namespaces when core asks for some (keep.h), and exits with the program's status. From the first packet on it is root on the host
 * no longer.
 */
#include "enter.h"
#include "fork.h"
#include "init.h"
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

static int ask(struct ps_note *note)
{
    note->kind = PS_USER;
    return send(GATE, note, sizeof *note, MSG_NOSIGNAL) < 0 || recv(GATE, note, sizeof *note, 0) != sizeof *note || note->kind != PS_GO ? -1 : 0;
}

/* Has the capabilities again that a change of user has left permitted: without them, nobody may make user namespaces on some machines. */
static int regain(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -1;
    for (int i = 0; i < 2; i++)
        data[i].effective = data[i].permitted;
    return (int)syscall(SYS_capset, &header, data);
}

/* Becomes the user that core gives it, makes a user namespace that belongs to that one, and has core map a range of ids into it, below that
 * user. Sets the number that the program is to have in its pid namespace. */
static int become_root_of_new_user_namespace(int *number)
{
    struct ps_note note = {0};
    if (ask(&note) < 0)
        return die("having a user");
    *number = note.err;
    note.step[sizeof note.step - 1] = 0;
    uid_t user = (uid_t)strtoul(note.step, NULL, 10);
    if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 || prctl(PR_SET_KEEPCAPS, 1) < 0 || setresuid(user, user, user) < 0 || regain() < 0)
        return die("becoming the owner of the user namespace");
    if (unshare(CLONE_NEWUSER) < 0)
        return die("unshare of the user namespace");
    if (ask(&note) < 0)
        return die("having the ids mapped");
    /* A change of uid makes a process undumpable, and then its /proc belongs to the root of the host. */
    if (prctl(PR_SET_DUMPABLE, 1) < 0)
        return die("prctl(PR_SET_DUMPABLE)");
    return 0;
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
            ps_keep_promise(GATE);
        }
        if (fds[2].revents) {
            fds[2].fd = -1;
            fds[0].events = POLLIN;
        }
    }
    while (waitpid(child, &status, __WALL) < 0) /* it sends no signal when it ends, as its helper does not */
        if (errno != EINTR)
            return die("waitpid");
    while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
        ; /* init, and with it all that the program has left running */
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Leaves behind what execve lets through of the worker and its driver: ignored signals, file mode mask, timer slack, and keys in
 * the session keyring. Descriptors are the driver's to close; what it forgot must not stay open in the keeper. */
static void forget_the_host(void)
{
    for (int number = 1; number < NSIG; number++)
        /* Refused for SIGKILL and SIGSTOP. The C library would also refuse its own two, which it leaves ignored in what it spawns. */
        syscall(SYS_rt_sigaction, number, &(const unsigned long[4]){0}, NULL, sizeof(unsigned long));
    umask(022);
    prctl(PR_SET_TIMERSLACK, 50000UL); /* ns, Linux's own */
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
    int entering[2], number = 0;
    if (become_root_of_new_user_namespace(&number) != 0)
        return 125;
    if (pipe2(entering, O_CLOEXEC) < 0)
        return die("pipe");
    /* The keeper adopts init from its helper. The program is its child from the beginning. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || ps_helper_begin() < 0)
        return die("having a helper");
    if (unshare(CLONE_NEWPID) < 0 || (number > 1 && ps_init_start(number) < 0))
        return die("making a pid namespace");
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        return die("fork");
    if (child > 0) {
        ps_init_go();
        ps_helper_end();
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
