/*
 * preload: what has to be different in libc before node starts, so that an unmodified node can be forked.
 *
 * V8 has the kernel leave its heap out of a fork (MADV_DONTFORK): here that advice is not passed on. The alternative, to take it
 * back over all mappings before each fork, takes longer than a small fork.
 *
 * Node has threads from the start (a V8 worker, one for delayed tasks, one that waits for SIGUSR1) that have nothing to do
 * under --single-threaded. A process forks only while it has one thread, so they are ended; for that, each is
 * started with the signal that ends it unblocked.
 *
 * Entering a sandbox closes every descriptor, also those that libuv makes in its fork handlers, which run inside fork. They are
 * remembered, to be run again when the child is inside.
 */
#include "addon.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIBC __attribute__((visibility("default")))

LIBC int madvise(void *address, size_t length, int advice)
{
    return advice == MADV_DONTFORK ? 0 : (int)syscall(SYS_madvise, address, length, advice);
}

enum { MAX_HANDLERS = 16 };
static void (*handlers[MAX_HANDLERS])(void);
static int handler_count;

/* What pthread_atfork is in a dynamically linked program. */
LIBC int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso)
{
    int (*next)(void (*)(void), void (*)(void), void (*)(void), void *) = dlsym(RTLD_NEXT, "__register_atfork");
    if (child && handler_count < MAX_HANDLERS)
        handlers[handler_count++] = child;
    return next(prepare, parent, child, dso);
}

void ps_run_fork_handlers(void)
{
    for (int i = 0; i < handler_count; i++)
        handlers[i]();
}

/* Not one of those that Node, V8 or the C library use. */
static int end_signal(void)
{
    return SIGRTMAX - 3;
}

struct start {
    void *(*routine)(void *);
    void *argument;
};

static void *trampoline(void *pointer)
{
    struct start start = *(struct start *)pointer;
    sigset_t set;
    free(pointer);
    sigemptyset(&set);
    sigaddset(&set, end_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return start.routine(start.argument);
}

LIBC int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct start *start = malloc(sizeof *start);
    if (!start)
        return EAGAIN;
    *start = (struct start){routine, argument};
    int error = next(thread, attributes, trampoline, start);
    if (error)
        free(start);
    return error;
}

static void end_thread(int number)
{
    (void)number;
    syscall(SYS_exit, 0); /* this thread alone, without the destructors and the unwinding of pthread_exit */
}

/* Sends the signal to all other threads, and returns how many there are; -1 with errno. */
static int signal_others(int number)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks)
        return -1;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        pid_t tid = (pid_t)atoi(entry->d_name);
        if (tid == 0 || tid == gettid())
            continue;
        count++;
        syscall(SYS_tgkill, getpid(), tid, number);
    }
    closedir(tasks);
    return count;
}

int ps_end_threads(void)
{
    struct sigaction before, action = {.sa_handler = end_thread};
    if (sigaction(end_signal(), &action, &before) < 0)
        return -1;
    int left = signal_others(end_signal());
    for (int tries = 0; left > 0 && tries < 10000; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        left = signal_others(0);
    }
    sigaction(end_signal(), &before, NULL);
    if (left > 0)
        errno = ETIMEDOUT;
    return left ? -1 : 0;
}
