/*
 * loop: libuv in a forked child.
 *
 * libuv's own uv_loop_fork closes the descriptors that it had in the parent and opens new ones. Ours are closed already when
 * it runs, by entering the sandbox, and it would close by number what has just been opened. So each old number gets a stand-in
 * first: a pipe that nothing is ever written to. Those that libuv did not close are closed here, except those of handles
 * that a package opened at import: such a handle is left with a descriptor that never has news.
 */
#include "addon.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENDPOINT = 4, MAX_FD = 1024 };

/* Of libuv, which node exports; its headers are no part of Node-API. */
struct uv_handle_s;
extern int uv_loop_fork(struct uv_loop_s *loop);
extern void uv_walk(struct uv_loop_s *loop, void (*each)(struct uv_handle_s *, void *), void *argument);
extern int uv_fileno(const struct uv_handle_s *handle, int *fd);

static void note_descriptor(struct uv_handle_s *handle, void *argument)
{
    char *needed = argument;
    int fd;
    if (uv_fileno(handle, &fd) == 0 && fd >= 0 && fd < MAX_FD)
        needed[fd] = 1;
}

static int same_file(int fd, const struct stat *file)
{
    struct stat found;
    return fstat(fd, &found) == 0 && found.st_ino == file->st_ino && found.st_dev == file->st_dev;
}

int ps_reopen_loop(struct uv_loop_s *loop, int top, int instance)
{
    int endpoint = -1, keep = 0, silent[2], moved[2];
    char needed[MAX_FD] = {0};
    struct stat file;
    if (top < ENDPOINT)
        top = ENDPOINT;
    if (instance) {
        endpoint = fcntl(ENDPOINT, F_DUPFD_CLOEXEC, top + 1);
        close(ENDPOINT);
    }
    if (pipe2(silent, O_CLOEXEC) < 0)
        _exit(125);
    for (int i = 0; i < 2; i++) {
        moved[i] = fcntl(silent[i], F_DUPFD_CLOEXEC, top + 1);
        close(silent[i]);
    }
    if (moved[0] < 0 || moved[1] < 0 || fstat(moved[0], &file) < 0)
        _exit(125);
    for (int fd = ENDPOINT; fd <= top; fd++)
        dup3(moved[0], fd, O_CLOEXEC);
    ps_run_fork_handlers();
    if (uv_loop_fork(loop) != 0)
        _exit(125);
    uv_walk(loop, note_descriptor, needed);
    for (int fd = ENDPOINT; fd <= top; fd++) {
        if (!same_file(fd, &file))
            continue;
        if (fd < MAX_FD && needed[fd])
            keep = 1;
        else
            close(fd);
    }
    close(moved[0]);
    if (!keep)
        close(moved[1]);
    return endpoint;
}
