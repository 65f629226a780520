/* What ordinary programs ask of the kernel, and a compiled one more than others. The answer is an object: each call is true, or its errno. */
#include <pipsqueak.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char answer[4096];
static int length;

static void note(const char *name, long result)
{
    length += snprintf(answer + length, sizeof answer - (size_t)length, "%s\"%s\":", length > 1 ? "," : "", name);
    if (result >= 0)
        length += snprintf(answer + length, sizeof answer - (size_t)length, "true");
    else
        length += snprintf(answer + length, sizeof answer - (size_t)length, "\"%s\"", strerror(errno));
}

static void *nothing(void *unused) { return unused; }

static long threads(void)
{
    pthread_t thread;
    errno = pthread_create(&thread, NULL, nothing, NULL);
    return errno ? -1 : -pthread_join(thread, NULL);
}

static long spawned(void)
{
    pid_t pid;
    int status = 1;
    errno = posix_spawn(&pid, "/bin/true", NULL, NULL, (char *[]){"true", NULL}, NULL);
    return errno || waitpid(pid, &status, 0) < 0 || status ? -1 : 0;
}

PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    (void)event, (void)size;
    unsigned long aio = 0, nodes = 1;
    timer_t timer;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    length = snprintf(answer, sizeof answer, "{");
    note("io_setup", syscall(SYS_io_setup, 8, &aio));
    note("io_destroy", syscall(SYS_io_destroy, aio));
    note("get_mempolicy", syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0));
    note("mbind", syscall(SYS_mbind, page, 4096, 1, &nodes, 8, 0));
    note("mlock", mlock(page, 4096));
    note("memfd_create", memfd_create("x", 0));
    note("shmget", shmget(IPC_PRIVATE, 4096, 0600));
    note("semget", semget(IPC_PRIVATE, 1, 0600));
    note("inotify", inotify_init1(0));
    note("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
    note("timer", timer_create(CLOCK_MONOTONIC, NULL, &timer));
    note("epoll", epoll_create1(0));
    note("pidfd", syscall(SYS_pidfd_open, getpid(), 0));
    note("membarrier", syscall(SYS_membarrier, 0, 0, 0));
    note("landlock", syscall(SYS_landlock_create_ruleset, NULL, 0, 1));
    note("name", prctl(PR_SET_NAME, "name"));
    note("yield", sched_yield());
    note("threads", threads());
    note("spawned", spawned());
    length += snprintf(answer + length, sizeof answer - (size_t)length, "}");
    ps_result(context, answer, (size_t)length);
}
