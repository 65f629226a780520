/*
 * descriptors: what libuv has open in a zygote, made again in its children.
 *
 * Entering a sandbox closes everything, and the numbers stay in the memory of libuv and Node: of the main event loop, of the one in
 * node's thread for delayed tasks, of the pipe with which libuv guards its signals. libuv's own uv_loop_fork knows only the first and
 * closes by number what is not its any more. So before it forks, a zygote writes down what each number is, and a child makes
 * the same again: eventfds, pipes with what is in them, epolls with what they watch.
 *
 * Anything else was opened by a package at import, a socket say, and cannot be shared by siblings. It becomes the end of a
 * pipe that nothing is ever written to: whoever waits for it waits for ever.
 */
#include "addon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTROL = 3, ENDPOINT = 4, MAX_DESCRIPTORS = 256, MAX_WATCHED = 256 };

enum kind { EVENT, EPOLL, PIPE_READ, PIPE_WRITE, OTHER };

static struct {
    int fd;
    enum kind kind;
    int bytes;    /* in a pipe */
    int partner;  /* of a pipe's read end: its write end, as an index */
    ino_t inode;
} noted[MAX_DESCRIPTORS];
static int count, top;

static struct {
    int epoll, fd;
    struct epoll_event event;
} watched[MAX_WATCHED];
static int watched_count;

/* Notes what an epoll watches, as the kernel tells it in lines such as "tfd:        8 events:       19 data:                8". */
static int note_watched(int epoll)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll);
    FILE *info = fopen(path, "re");
    if (!info)
        return -1;
    while (fgets(line, sizeof line, info)) {
        unsigned events;
        unsigned long long data;
        int fd;
        if (sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
            continue;
        if (watched_count == MAX_WATCHED) {
            fclose(info);
            errno = EMFILE;
            return -1;
        }
        watched[watched_count].epoll = epoll, watched[watched_count].fd = fd;
        watched[watched_count++].event = (struct epoll_event){.events = events, .data.u64 = data};
    }
    fclose(info);
    return 0;
}

static int note(int fd, const char *is)
{
    struct stat file;
    if (count == MAX_DESCRIPTORS) {
        errno = EMFILE;
        return -1;
    }
    if (fstat(fd, &file) < 0)
        return -1;
    noted[count].fd = fd, noted[count].inode = file.st_ino, noted[count].partner = -1, noted[count].bytes = 0, noted[count].kind = OTHER;
    if (strcmp(is, "anon_inode:[eventfd]") == 0) {
        noted[count].kind = EVENT;
    } else if (strcmp(is, "anon_inode:[eventpoll]") == 0) {
        noted[count].kind = EPOLL;
        if (note_watched(fd) < 0)
            return -1;
    } else if (S_ISFIFO(file.st_mode)) {
        noted[count].kind = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? PIPE_READ : PIPE_WRITE;
        if (noted[count].kind == PIPE_READ)
            ioctl(fd, FIONREAD, &noted[count].bytes);
    }
    if (fd > top)
        top = fd;
    count++;
    return 0;
}

/* Leaves no number free below the highest: libuv's fork handler closes its pipe and opens one anew while the fork goes on, and it has to
 * get the numbers that are noted. */
static void fill_gaps(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0 && fd < top)
        ;
    if (fd >= 0)
        close(fd);
}

int ps_note_descriptors(void)
{
    count = watched_count = 0;
    top = ENDPOINT;
    DIR *open_files = opendir("/proc/self/fd");
    if (!open_files)
        return -1;
    int failed = 0;
    for (struct dirent *entry; !failed && (entry = readdir(open_files));) {
        char is[64] = {0};
        int fd = atoi(entry->d_name);
        if (fd <= CONTROL || fd == dirfd(open_files))
            continue;
        failed = readlinkat(dirfd(open_files), entry->d_name, is, sizeof is - 1) < 0 || (strcmp(is, "/dev/null") != 0 && note(fd, is) < 0);
    }
    int error = errno;
    closedir(open_files);
    fill_gaps();
    errno = error;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            if (noted[i].kind == PIPE_READ && noted[j].kind == PIPE_WRITE && noted[i].inode == noted[j].inode)
                noted[i].partner = j;
    return failed ? -1 : 0;
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
    int ends[2], write_end = noted[reader].partner;
    static const char bytes[64];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        _exit(125);
    ends[0] = above(ends[0]), ends[1] = above(ends[1]);
    for (int left = noted[reader].bytes; left > 0; left -= (int)sizeof bytes)
        if (write(ends[1], bytes, left < (int)sizeof bytes ? (size_t)left : sizeof bytes) < 0)
            _exit(125);
    place(ends[0], noted[reader].fd);
    if (write_end >= 0)
        place(ends[1], noted[write_end].fd);
    /* A read end without its partner here goes on waiting: its write end stays open at a number of its own. */
}

static void make(int i)
{
    int silent[2];
    switch (noted[i].kind) {
    case EVENT:
        place(above(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), noted[i].fd);
        break;
    case EPOLL:
        place(above(epoll_create1(EPOLL_CLOEXEC)), noted[i].fd);
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
