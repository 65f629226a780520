/*
 * preload: what has to be different in libc before node starts, so that an unmodified node can be forked.
 *
 * V8 has the kernel leave its heap out of a fork (MADV_DONTFORK): here that advice is not passed on. The alternative, to take
 * it back over all mappings before each fork, takes longer than a small fork.
 *
 * Node has threads from the start: one for delayed tasks, one that works for V8, one that waits for SIGUSR1. A process forks
 * only while it has one thread, so they are ended, before anything has been asked of them; for that, each is started with
 * the signal that ends it unblocked. V8's is needed in instances: compiling WebAssembly leaves it things to do, and node
 * waits for them when a Worker ends. When it is ended it waits on a condition variable, and everything about it is memory, which
 * a fork copies: its stack, its thread control block, and its registers, which are saved. So an instance starts a thread
 * there, which goes on waiting. It needs PR_GET_TID_ADDRESS, which kernels without CONFIG_CHECKPOINT_RESTORE do not have: an
 * instance does without the thread there.
 *
 * libuv has handlers that run in a forked process, before fork returns: one closes the pipe that guards its signals, by its number, and opens
 * another at the lowest numbers that are free. A process that enters a sandbox has other things at these numbers then, and a zygote forks twice
 * on its way. So their handlers wait until the descriptors are as they were.
 *
 * Whatever reads an environment variable, process.env, node itself or an addon, asks the C library, and so is seen here (watch.h). Only a list
 * of all variables is not.
 */
#include "preload.h"
#include "watch.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int madvise(void *address, size_t length, int advice)
{
    return advice == MADV_DONTFORK ? 0 : (int)syscall(SYS_madvise, address, length, advice);
}

/* Not one of those that Node, V8 or the C library use. */
static int end_signal(void)
{
    return SIGRTMAX - 3;
}

struct start {
    void *(*routine)(void *);
    void *argument;
    int number;
};

/* Which of the threads it is: node starts the one for delayed tasks first, then V8's. */
enum { V8_THREAD = 2 };
static int threads_started;
static _Thread_local int thread_number;

/* V8's thread, after it was ended. */
static struct {
    jmp_buf registers;
    void *control_block;
    int *id; /* where the kernel and libc have its number */
    int asleep;
} worker;

static void *trampoline(void *pointer)
{
    struct start start = *(struct start *)pointer;
    sigset_t set;
    free(pointer);
    thread_number = start.number;
    sigemptyset(&set);
    sigaddset(&set, end_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return start.routine(start.argument);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct start *start = malloc(sizeof *start);
    if (!start)
        return EAGAIN;
    *start = (struct start){routine, argument, ++threads_started};
    int error = next(thread, attributes, trampoline, start);
    if (error)
        free(start);
    return error;
}

/* libuv's handlers for a forked process, and whether they have to wait. */
static void (*handlers[8])(void);
static int handlers_count, handlers_wait;

static void hold_handlers(void)
{
    handlers_wait = 1;
}

static void drop_handlers(void)
{
    handlers_wait = 0;
}

static void call_handlers(void)
{
    for (int i = 0; !handlers_wait && i < handlers_count; i++)
        handlers[i]();
}

static void run_handlers(void)
{
    handlers_wait = 0;
    call_handlers();
}

/* What pthread_atfork calls. An object that may be closed again, such as an addon, keeps its handlers to itself. */
EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object)
{
    int (*next)(void (*)(void), void (*)(void), void (*)(void), void *) = dlsym(RTLD_NEXT, "__register_atfork");
    static Dl_info libuv; /* kept for the forks: dladdr compares the function with every symbol of node */
    Dl_info here;
    if (!libuv.dli_fbase)
        dladdr(dlsym(RTLD_DEFAULT, "uv_poll_init"), &libuv);
    if (prepare || parent || !libuv.dli_fbase || !dladdr((void *)(uintptr_t)child, &here) || here.dli_fbase != libuv.dli_fbase)
        return next(prepare, parent, child, object);
    for (int i = 0; i < handlers_count; i++)
        if (handlers[i] == child)
            return 0;
    if (handlers_count == sizeof handlers / sizeof *handlers)
        return next(prepare, parent, child, object);
    handlers[handlers_count++] = child;
    return handlers_count == 1 ? next(NULL, NULL, call_handlers, object) : 0;
}

static void end_thread(int number)
{
    (void)number;
    if (thread_number == V8_THREAD && prctl(PR_GET_TID_ADDRESS, &worker.id) == 0) {
        worker.control_block = __builtin_thread_pointer();
        worker.asleep = 1;
        if (setjmp(worker.registers))
            return; /* in an instance, to where the signal came */
    }
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

static int end_threads(void)
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

static int go_on(void *unused)
{
    (void)unused;
    longjmp(worker.registers, 1);
}

static int wake_worker(void)
{
    static char stack[16 << 10] __attribute__((aligned(16))); /* until the thread is on its own */
    if (!worker.asleep)
        return 0;
    worker.asleep = 0;
    return clone(go_on, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, NULL, worker.id, worker.control_block, worker.id) < 0 ? -1 : 1;
}

EXPORT const struct pipsqueak_preload pipsqueak_preload = {end_threads, wake_worker, hold_handlers, drop_handlers, run_handlers,
                                                            ps_watch, ps_watched};
