/* More than its share. Each in a child, which ends with all that it has taken. MEMORY is what the sandbox may have, in MiB. */
#include "attack.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY = 512, MUCH = MEMORY * 5 / 4, MB = 1 << 20 };
static char block[MB];

ATTACK(memory, "take more memory than it may", 20) {
    char *taken = mmap(NULL, (size_t)MUCH * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (taken == MAP_FAILED) return -1;
    for (size_t i = 0; i < (size_t)MUCH * MB; i += 4096) taken[i] = 1;
    return done("%d MiB", MUCH);
}
static int fill(int fd, int limit) {
    int written = 0;
    while (written < limit && write(fd, block, MB) == MB) written++;
    return written >= limit ? done("%d MiB", written) : -1;
}
ATTACK(memory_file, "take more memory by files without a name", 20) { return fill(memfd_create("attack", 0), MUCH); }
ATTACK(scratch, "fill the disk, or /tmp beyond its size", 20) { return fill(open("/tmp/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), MUCH); }
ATTACK(shared_memory, "take more memory by shared memory", 20) {
    int id = shmget(IPC_PRIVATE, (size_t)MUCH * MB, IPC_CREAT | 0600);
    char *taken = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
    if (taken == (void *)-1) return -1;
    shmctl(id, IPC_RMID, NULL);
    for (size_t i = 0; i < (size_t)MUCH * MB; i += 4096) taken[i] = 1;
    return done("%d MiB", MUCH);
}
ATTACK(inodes, "make more files than it may", 20) {
    char name[32];
    int made = 0;
    for (; made < MEMORY * 256; made++) {
        snprintf(name, sizeof name, "/tmp/%d", made);
        int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return -1;
        close(fd);
    }
    return done("%d files", made);
}
static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
/* Others use the processors too: three seconds of several will do. A kernel that counts late gives more than it may in one, and less after. */
ATTACK(processor, "take more processor time than it may", 20) {
    enum { BUSY = 8, LONG = 6, JUDGED = 3 };
    double begun = seconds(CLOCK_MONOTONIC), at[LONG] = {begun}, used[LONG] = {0};
    volatile double *took = mmap(NULL, (BUSY + 1) * sizeof *took, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (took == MAP_FAILED) return -1;
    for (int i = 0; i < BUSY; i++)
        if (fork() == 0) {
            while (seconds(CLOCK_MONOTONIC) < begun + LONG && !took[BUSY]) took[i] = seconds(CLOCK_PROCESS_CPUTIME_ID);
            _exit(0);
        }
    for (int n = 1; n < LONG; n++) {
        while ((at[n] = seconds(CLOCK_MONOTONIC)) < at[n - 1] + 1) usleep(10000);
        for (int i = 0; i < BUSY; i++) used[n] += took[i];
        if (n < JUDGED) continue;
        double time = used[n] - used[n - JUDGED], within = at[n] - at[n - JUDGED];
        if (time > 1.25 * within) {
            took[BUSY] = 1;
            return done("%.1f s in %.1f s", time, within);
        }
    }
    return nothing();
}
static int many(int (*make)(void), int limit, const char *what) {
    int n = 0;
    while (n < limit && make() >= 0) n++;
    return n >= limit ? done("%d %s", n, what) : -1;
}
static int sleeper(void) {
    pid_t child = fork();
    if (child == 0) pause();
    return child;
}
ATTACK(processes, "make processes without end", 20) { return many(sleeper, 600, "processes"); }
static void *wait_here(void *nothing) { return pause(), nothing; }
static int thread(void) {
    pthread_t made;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    return -pthread_create(&made, &small, wait_here, NULL);
}
ATTACK(threads, "make threads without end", 20) { return many(thread, 600, "threads"); }
static int duplicate(void) { return dup(0); }
ATTACK(descriptors, "open files without end", 20) { return many(duplicate, 4096, "descriptors"); }
/* Each watch takes memory of the kernel's. With the descriptors that it may have it comes to half of these. */
ATTACK(epoll, "watch more files than it may", 20) {
    enum { WATCHES = 500000, FILES = 1000 };
    int files[FILES], watches = 0;
    for (int i = 0; i < FILES / 2; i++)
        if ((files[i] = eventfd(0, 0)) < 0) return -1;
    while (watches < WATCHES) {
        int epoll = epoll_create1(0);
        if (epoll < 0) return -1;
        for (int i = 0; i < FILES / 2; i++, watches++)
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, files[i], &(struct epoll_event){.events = EPOLLIN}) != 0) return -1;
    }
    return done("%d watches", watches);
}
static int inotify(void) { return inotify_init1(0); }
ATTACK(watches, "use up the machine's inotify instances", 20) { return many(inotify, 129, "instances"); }
static int timer(void) {
    timer_t made;
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    return timer_create(CLOCK_MONOTONIC, &none, &made);
}
ATTACK(timers, "use up the machine's timers", 20) { return many(timer, 1000, "timers"); }
static int full_pipe(void) {
    int ends[2];
    if (pipe2(ends, O_NONBLOCK) < 0) return -1;
    fcntl(ends[1], F_SETPIPE_SZ, MB);
    while (write(ends[1], block, MB) > 0)
        ;
    return 0;
}
ATTACK(pipes, "take more memory by pipes", 20) { return many(full_pipe, 500 < MUCH ? MUCH : 500, "pipes of 1 MiB"); }
/* What processes take that fill something, until all of them together have what is too much: fill returns how many KiB it has. */
static int taken_by_many(int (*fill)(void)) {
    enum { PROCESSES = 4 };
    volatile int *each = mmap(NULL, PROCESSES * sizeof *each, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (each == MAP_FAILED) return -1;
    int kib = 0;
    for (int i = 0; i < PROCESSES && kib < MUCH << 10; kib += each[i++]) {
        if (fork() == 0) {
            int filled = fill();
            each[i] = filled ? filled : 1;
            for (;;) pause();
        }
        while (!each[i]) usleep(1000);
    }
    return kib >= MUCH << 10 ? done("%d MiB", kib >> 10) : -1;
}
static int fill_sockets(void) {
    for (int kib = 0;;) {
        int ends[2], size = 4 * MB; /* a kernel gives as much as it may */
        if (kib >= MUCH << 10 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) return kib;
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        for (ssize_t n; (n = send(ends[0], block, 64 << 10, MSG_NOSIGNAL)) > 0;) kib += (int)(n >> 10);
    }
}
ATTACK(sockets, "take more memory by sockets", 60) { return taken_by_many(fill_sockets); }
/* What nobody reads, in the buffers of connections to itself. Returns how many KiB that are. */
static int fill_connections(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int server = socket(AF_INET, SOCK_STREAM, 0), size = 64 * MB, kib = 0;
    setsockopt(server, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(server, (struct sockaddr *)&at, length) < 0 || getsockname(server, (struct sockaddr *)&at, &length) < 0 || listen(server, 1) < 0) return 0;
    for (;;) {
        int here = socket(AF_INET, SOCK_STREAM, 0);
        if (here < 0 || kib >= MUCH << 10 || connect(here, (struct sockaddr *)&at, length) < 0 || accept(server, NULL, NULL) < 0) return kib;
        setsockopt(here, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        for (ssize_t n; (n = send(here, block, 16 << 10, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0;) kib += (int)(n >> 10);
    }
}
ATTACK(connections, "take more memory by connections", 60) { return taken_by_many(fill_connections); }
