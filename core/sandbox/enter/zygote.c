/* zygote: the loop of a zygote. The reasons are in zygote.h. */
#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char fork_request[] = "{\"op\":\"fork\"}";

static void call(void (*hook)(void))
{
    if (hook)
        hook();
}

static void say(int control, const char *text)
{
    send(control, text, strlen(text), MSG_NOSIGNAL); /* to a driver that is gone: the next receive says so */
}

static void say_failed(int control, const char *what, int error)
{
    char text[256];
    int passes = error == EAGAIN || error == ENOMEM || error == ENOSPC || error == EMFILE || error == ENFILE;
    snprintf(text, sizeof text, "{\"error\":{\"kind\":\"%s\",\"fault\":\"worker\",\"retryable\":%s,\"message\":\"%s: %s\"}}",
             passes ? "exhausted" : "internal", passes ? "true" : "false", what, strerror(error));
    say(control, text);
}

/* Receives one packet. fds gets the two descriptors that a fork request comes with, -1 where there are none. */
static ssize_t receive(int control, char *buffer, size_t size, int fds[2])
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } ancillary;
    struct iovec iov = {.iov_base = buffer, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
    ssize_t n;
    do
        n = recvmsg(control, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    fds[0] = fds[1] = -1;
    struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(2 * sizeof(int)))
        memcpy(fds, CMSG_DATA(header), 2 * sizeof(int));
    return n;
}

/* Forks a child and leads it through the gate. Returns 0 in the parent; in the child as ps_zygote does. */
static int fork_child(int control, const struct ps_hooks *hooks, int child_control, int gate)
{
    if (ps_fork_begin() < 0) {
        say_failed(control, "unshare of the pid namespace", errno);
        return 0;
    }
    call(hooks->before);
    fflush(stdout); /* what has been printed is not for each child to print again */
    pid_t child = fork();
    if (child == 0) {
        int endpoint = ps_enter(gate, child_control);
        if (endpoint < 0)
            _exit(125);
        say(PS_FD_CONTROL, "{\"parked\":true}");
        if (endpoint) {
            close(PS_FD_CONTROL);
            fcntl(PS_FD_ENDPOINT, F_SETFD, FD_CLOEXEC); /* what the handler starts is not to speak for it */
        }
        call(hooks->child);
        return endpoint ? PS_INSTANCE : PS_ZYGOTE;
    }
    int error = errno;
    if (ps_fork_end() < 0)
        _exit(125); /* the next child would land in this one's namespace: better no zygote */
    call(hooks->parent);
    if (child < 0)
        say_failed(control, "fork", error);
    else
        say(control, "{\"forked\":true}");
    return 0;
}

int ps_zygote(int control, const struct ps_hooks *hooks, char *buffer, size_t size)
{
    static const struct ps_hooks nothing;
    if (!hooks)
        hooks = &nothing;
    setvbuf(stdout, NULL, _IOLBF, 0); /* of libraries in C: languages end their processes without a flush of that */
    for (;;) {
        int fds[2];
        ssize_t n = receive(control, buffer, size, fds);
        if (n <= 0)
            return PS_LOST;
        if (n != sizeof fork_request - 1 || memcmp(buffer, fork_request, sizeof fork_request - 1) != 0)
            return (int)n;
        int role = fork_child(control, hooks, fds[0], fds[1]);
        if (role != 0)
            return role;
        close(fds[0]);
        close(fds[1]);
    }
}
