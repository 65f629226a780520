/* zygote: the loop of a zygote. The reasons are in zygote.h. */
#include "zygote.h"
#include "seen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE = 2 }; /* milliseconds */
enum { LARGE = 2 << 20 }; /* bytes of a mapping that is worth what a fork does for each that was written to: an interpreter */

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

/* Receives one packet. fds gets the descriptors that it has to come with, or -1 each: at the limit of open descriptors the kernel cuts off
 * those that it has no place for, and the others are closed, for a fork needs all of them. */
static ssize_t receive(int socket, char *buffer, size_t size, int fds[2], int count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } ancillary;
    struct iovec iov = {.iov_base = buffer, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof ancillary};
    size_t bytes = (size_t)count * sizeof(int);
    ssize_t n;
    do
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    fds[0] = fds[1] = -1;
    struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (header && header->cmsg_type == SCM_RIGHTS) {
        memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
        for (int i = 0; header->cmsg_len != CMSG_LEN(bytes) && i < 2; i++) {
            if (fds[i] >= 0)
                close(fds[i]);
            fds[i] = -1;
        }
    }
    return n;
}

static int has_threads(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 3;
}

/* Answers a request to fork that failed: the driver over the control socket, core at the gate that the child should have come to. */
static void refuse(int control, int gate, const char *what, int error)
{
    struct ps_note note = {.kind = PS_FAILED, .err = error};
    snprintf(note.step, sizeof note.step, "%s", what);
    if (control >= 0) {
        say_failed(control, what, error);
        return;
    }
    /* The end of a connection at which something is unread is a reset, and takes what was said with it. */
    for (char unread[sizeof note]; recv(gate, unread, sizeof unread, MSG_DONTWAIT) > 0;)
        ;
    send(gate, &note, sizeof note, MSG_NOSIGNAL);
}

/* Forks a child and leads it through the gate. control is -1 when it is core that asks for it. Returns 0 in the parent; in the child as
 * ps_zygote does. */
static int fork_child(int control, const struct ps_hooks *hooks, int child_control, int gate)
{
    if (has_threads()) {
        refuse(control, gate, "fork of a process with threads", ENOTSUP);
        return 0;
    }
    if (ps_fork_begin(gate) < 0) {
        refuse(control, gate, "joining the namespaces of the fork", errno);
        return 0;
    }
    call(hooks->before);
    fflush(stdout); /* what has been printed is not for each child to print again */
    pid_t child = fork();
    if (child == 0) {
        int endpoint = ps_enter(gate, child_control);
        if (endpoint < 0 || (control < 0 && !endpoint))
            _exit(125);
        fcntl(PS_FD_ENDPOINT, F_SETFD, FD_CLOEXEC); /* what the handler starts is not to speak for it */
        if (control >= 0)
            say(PS_FD_CONTROL, ps_sees && ps_sees() ? "{\"parked\":true,\"sees\":true}" : "{\"parked\":true}");
        if (control >= 0 && endpoint)
            close(PS_FD_CONTROL);
        call(hooks->child);
        return endpoint ? PS_INSTANCE : PS_ZYGOTE;
    }
    int error = errno;
    if (ps_fork_end() < 0)
        _exit(125); /* the next child would land in this one's namespace: better no zygote */
    call(hooks->parent);
    if (child < 0)
        refuse(control, gate, "fork", error);
    else if (control >= 0)
        say(control, "{\"forked\":true}");
    return 0;
}

int ps_may_rehearse(int endpoint)
{
    return !ps_pages_copied && poll(&(struct pollfd){endpoint, POLLIN, 0}, 1, PATIENCE) == 0;
}

int ps_asked_by_core(void)
{
    int type = 0;
    socklen_t length = sizeof type;
    return getsockopt(PS_FD_FORKS, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET;
}

/* Serves core until the driver says something. Returns 0 then; in a child as ps_zygote does. */
static int serve_core(int control, const struct ps_hooks *hooks)
{
    struct pollfd asking[] = {{.fd = control, .events = POLLIN}, {.fd = PS_FD_FORKS, .events = POLLIN}};
    while (poll(asking, 2, -1) < 0 || asking[0].revents == 0) {
        struct ps_note note;
        int fds[2];
        if (asking[1].revents == 0)
            continue;
        ssize_t n = receive(PS_FD_FORKS, (char *)&note, sizeof note, fds, 1);
        if (n <= 0)
            asking[1].fd = -1; /* core needs it no more */
        if (n != sizeof note || note.kind != PS_FORK || fds[0] < 0)
            continue;
        int role = fork_child(-1, hooks, -1, fds[0]);
        if (role != 0)
            return role;
        close(fds[0]);
    }
    return 0;
}

/* Has children find mapped what this process has mapped of its interpreter. A fork copies the page tables of memory that
 * was written to; those of files it leaves to the child, which has a fault for each 64 KB that it runs or reads. The kernel
 * decides that for a mapping as a whole, so one byte of each is written, as it is. Where that may not be, nothing changes. */
static void keep_text(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC); /* writes to a copy also what the process itself may not write */
    char line[4352], path[2], byte;
    unsigned long begin, end;
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx r-%*1[-x]p %*s %*s %*s %1[/]", &begin, &end, path) == 3 && end - begin >= LARGE &&
            pread(memory, &byte, 1, (off_t)begin) == 1 && pwrite(memory, &byte, 1, (off_t)begin) != 1)
            break;
    if (maps)
        fclose(maps);
    close(memory);
}

/* A mapping with pages of the process's own is left as it is: what the dynamic linker has written is in no file. */
void ps_forget_text(void)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[4352], path[2];
    unsigned long begin, end, own, from = 0, to = 0;
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx r-%*1[-x]p %*s %*s %*s %1[/]", &begin, &end, path) == 3)
            from = begin, to = end;
        else if (sscanf(line, "%lx-%lx ", &begin, &end) == 2 ||
                 ((sscanf(line, "Anonymous: %lu", &own) == 1 || sscanf(line, "Swap: %lu", &own) == 1) && own))
            from = to = 0;
        else if (strncmp(line, "VmFlags:", 8) == 0 && to - from >= LARGE) /* the last line about a mapping */
            madvise((void *)from, to - from, MADV_DONTNEED);
    if (maps)
        fclose(maps);
}

int ps_zygote(int control, const struct ps_hooks *hooks, char *buffer, size_t size)
{
    static const struct ps_hooks nothing;
    static int kept; /* by the root zygote: of what packages bring children touch little, and each fork would copy it all */
    if (!hooks)
        hooks = &nothing;
    if (!kept++)
        keep_text();
    setvbuf(stdout, NULL, _IOLBF, 0); /* of libraries in C: languages end their processes without a flush of that */
    int asked_by_core = ps_asked_by_core();
    if (asked_by_core)
        fcntl(PS_FD_FORKS, F_SETFD, FD_CLOEXEC); /* it came over an exec to the root zygote */
    for (;;) {
        int fds[2], child = asked_by_core ? serve_core(control, hooks) : 0;
        if (child != 0)
            return child;
        ssize_t n = receive(control, buffer, size, fds, 2);
        if (n <= 0)
            return PS_LOST;
        if (ps_seen && ps_seen(control, buffer, (size_t)n))
            continue;
        if (n != sizeof fork_request - 1 || memcmp(buffer, fork_request, sizeof fork_request - 1) != 0)
            return (int)n;
        if (fds[0] < 0) {
            say_failed(control, "receiving the descriptors of a fork", EMFILE);
            continue;
        }
        int role = fork_child(control, hooks, fds[0], fds[1]);
        if (role != 0)
            return role;
        close(fds[0]);
        close(fds[1]);
    }
}
