/*
 * descriptors: what libuv has open in a zygote, made again in its children.
 *
 * Entering a sandbox closes everything, and the numbers stay in the memory of libuv and Node: of the main event loop, of the one in
 * node's thread for delayed tasks, of the pipe with which libuv guards its signals, of what it closes when it is short of descriptors. libuv's
 * own uv_loop_fork knows only the first and closes by number what is not its any more. So before it forks, a zygote writes down what
 * each number is, and a child makes the same again: eventfds and pipes with what is in them, epolls with what they watch. Then, and not in
 * the middle of a fork, libuv's own handlers for a forked process run (preload.c): what they close is theirs.
 *
 * Anything else was opened by a package at import, a socket say, and cannot be shared by siblings. It becomes the end of a
 * pipe that nothing is ever written to: whoever waits for it waits for ever.
 */
#include "addon.h"
#include "zygote.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTROL = 3, ENDPOINT = 4, MAX_DESCRIPTORS = 256, MAX_WATCHED = 256, MAX_PENDING = 4096 };

enum kind { EVENT, EPOLL, INOTIFY, PIPE_READ, PIPE_WRITE, NOTHING, OTHER };

static struct {
    int fd;
    enum kind kind;
    int number;   /* of an eventfd: its counter; of an inotify: the highest number of a watch */
    int partner;  /* of a pipe's read end: its write end, as an index */
    int pending;  /* of the same: how many bytes are in it, and where they are in bytes */
    int at;
    ino_t inode;
} noted[MAX_DESCRIPTORS];
static int count, top;

static char bytes[MAX_PENDING];
static int bytes_used;

static struct {
    int epoll, fd;
    struct epoll_event event;
} watched[MAX_WATCHED];
static int watched_count;

static int fail(int error)
{
    errno = error;
    return -1;
}

/* Notes what the kernel reports of a descriptor besides: of an epoll what it watches ("tfd:        8 events:       19 data:                8"), of an
 * eventfd its counter, of an inotify its watches ("inotify wd:1 ino:…"). */
static int note_info(int i)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", noted[i].fd);
    FILE *info = fopen(path, "re");
    int full = 0;
    if (!info)
        return -1;
    while (!full && fgets(line, sizeof line, info)) {
        unsigned number;
        unsigned long long data;
        int fd;
        if (noted[i].kind == EVENT && sscanf(line, "eventfd-count: %x", &number) == 1)
            noted[i].number = (int)number;
        if (noted[i].kind == INOTIFY && sscanf(line, "inotify wd:%x", &number) == 1 && (int)number > noted[i].number)
            noted[i].number = (int)number;
        if (noted[i].kind == EPOLL && sscanf(line, "tfd: %d events: %x data: %llx", &fd, &number, &data) == 3) {
            full = watched_count == MAX_WATCHED;
            if (!full) {
                watched[watched_count].epoll = noted[i].fd, watched[watched_count].fd = fd;
                watched[watched_count++].event = (struct epoll_event){.events = number, .data.u64 = data};
            }
        }
    }
    fclose(info);
    return full ? fail(EMFILE) : 0;
}

static enum kind kind_of(int fd, const char *is, mode_t mode)
{
    if (strcmp(is, "anon_inode:[eventfd]") == 0)
        return EVENT;
    if (strcmp(is, "anon_inode:[eventpoll]") == 0)
        return EPOLL;
    if (strcmp(is, "anon_inode:inotify") == 0)
        return INOTIFY;
    if (strcmp(is, "/dev/null") == 0)
        return NOTHING;
    if (S_ISFIFO(mode))
        return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? PIPE_READ : PIPE_WRITE;
    return OTHER;
}

static int note(int fd, const char *is)
{
    struct stat file;
    if (count == MAX_DESCRIPTORS)
        return fail(EMFILE);
    if (fstat(fd, &file) < 0)
        return -1;
    noted[count].fd = fd, noted[count].inode = file.st_ino, noted[count].partner = -1, noted[count].pending = noted[count].number = 0;
    noted[count].kind = kind_of(fd, is, file.st_mode);
    if (fd > top)
        top = fd;
    return note_info(count++);
}

/* Notes what is in a pipe: takes it out and puts it back. */
static int note_bytes(int i)
{
    int pending = 0;
    ioctl(noted[i].fd, FIONREAD, &pending);
    if (pending > MAX_PENDING - bytes_used)
        return fail(EMSGSIZE);
    noted[i].at = bytes_used;
    if (pending > 0 && (read(noted[i].fd, bytes + bytes_used, (size_t)pending) != pending ||
                        write(noted[noted[i].partner].fd, bytes + bytes_used, (size_t)pending) != pending))
        return -1;
    noted[i].pending = pending;
    bytes_used += pending;
    return 0;
}

static int note_pipes(void)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            if (noted[i].kind == PIPE_READ && noted[j].kind == PIPE_WRITE && noted[i].inode == noted[j].inode)
                noted[i].partner = j;
    sigset_t all, before; /* which handlers would write to a pipe, or wait for what is in one */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    for (int i = 0; !failed && i < count; i++)
        failed = noted[i].partner >= 0 && note_bytes(i) < 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return failed ? -1 : 0;
}

int ps_note_descriptors(void)
{
    count = watched_count = bytes_used = 0;
    top = ENDPOINT;
    DIR *open_files = opendir("/proc/self/fd");
    if (!open_files)
        return -1;
    int failed = 0;
    for (struct dirent *entry; !failed && (entry = readdir(open_files));) {
        char is[64] = {0};
        int fd = atoi(entry->d_name);
        if (fd <= CONTROL || fd == dirfd(open_files) || (fd == ENDPOINT && ps_asked_by_core()))
            continue;
        failed = readlinkat(dirfd(open_files), entry->d_name, is, sizeof is - 1) < 0 || note(fd, is) < 0;
    }
    int error = errno;
    closedir(open_files);
    errno = error;
    return failed ? -1 : note_pipes();
}

/* Gives a descriptor the number that it has to have. */
static void place(int fd, int number)
{
    if (fd < 0 || dup3(fd, number, O_CLOEXEC) < 0)
        _exit(125);
    close(fd);
}

static int above(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, top + 1);
    close(fd);
    return moved;
}

static void make_pipe(int reader)
{
    int ends[2], write_end = noted[reader].partner, pending = noted[reader].pending;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        _exit(125);
    ends[0] = above(ends[0]), ends[1] = above(ends[1]);
    if (write(ends[1], bytes + noted[reader].at, (size_t)pending) != pending)
        _exit(125);
    place(ends[0], noted[reader].fd);
    if (write_end >= 0)
        place(ends[1], noted[write_end].fd);
    /* A read end without its partner here goes on waiting: its write end stays open at a number of its own. */
}

/* Makes an inotify whose watches have other numbers than those that libuv has in its memory: news of one would be taken for news of another. */
static int make_inotify(int highest)
{
    char news[4096];
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    for (int watch = 0; fd >= 0 && watch < highest;) {
        watch = inotify_add_watch(fd, "/", IN_DELETE_SELF);
        if (watch < 0 || inotify_rm_watch(fd, watch) < 0)
            _exit(125);
        while (read(fd, news, sizeof news) > 0)
            ;
    }
    return fd;
}

static void make(int i)
{
    int silent[2];
    switch (noted[i].kind) {
    case EVENT:
        place(above(eventfd((unsigned)noted[i].number, EFD_NONBLOCK | EFD_CLOEXEC)), noted[i].fd);
        break;
    case EPOLL:
        place(above(epoll_create1(EPOLL_CLOEXEC)), noted[i].fd);
        break;
    case INOTIFY:
        place(above(make_inotify(noted[i].number)), noted[i].fd);
        break;
    case NOTHING:
        place(above(open("/dev/null", O_RDWR | O_CLOEXEC)), noted[i].fd);
        break;
    case PIPE_READ:
        make_pipe(i);
        break;
    case PIPE_WRITE:
        for (int j = 0; j < count; j++)
            if (noted[j].partner == i)
                return;
        /* fall through */
    case OTHER:
        if (pipe2(silent, O_NONBLOCK | O_CLOEXEC) < 0)
            _exit(125);
        (void)above(silent[1]);
        place(above(silent[0]), noted[i].fd);
    }
}

int ps_make_descriptors(int instance)
{
    int endpoint = instance ? above(ENDPOINT) : -1;
    for (int i = 0; i < count; i++)
        make(i);
    for (int i = 0; i < watched_count; i++)
        epoll_ctl(watched[i].epoll, EPOLL_CTL_ADD, watched[i].fd, &watched[i].event);
    return endpoint;
}
