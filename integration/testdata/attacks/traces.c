/* What one process leaves for another: a later instance of the same function, or of a function that does not depend on the package.
 * The attack is to leave it. What runs here, in the other process, finds it. */
#include "attack.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEY = 0x4711, PORT = 4711, LOWER = 19 };
static const char *const files[] = {"/tmp/attack", "/dev/shm/attack", "/var/tmp/attack", "/run/attack", NULL};

static int listening(int family, const void *address, socklen_t length) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = 2}, sizeof(struct timeval));
    int failed = connect(fd, address, length);
    close(fd);
    return failed ? -1 : done("somebody listens");
}
static const struct sockaddr_un named = {.sun_family = AF_UNIX, .sun_path = "\0attack"};
static const struct sockaddr_in numbered = {.sin_family = AF_INET, .sin_port = 0x6712 /* PORT as the network has it */, .sin_addr = {0x0100007f}};

static const socklen_t NAMED = offsetof(struct sockaddr_un, sun_path) + 7;

/* Where it is kept open, by an instance: a zygote with an open socket is none. */
static void serve(int family, const void *address, socklen_t length) {
#ifndef AT_IMPORT
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, address, length) != 0 || listen(fd, 64) != 0) close(fd);
#else
    (void)family, (void)address, (void)length;
#endif
}

/* A connection that its first half has ended: the kernel remembers it for a minute, and lets nobody else have its port meanwhile. */
static const struct sockaddr_in remembered = {.sin_family = AF_INET, .sin_port = 0x6812, .sin_addr = {0x0100007f}}; /* PORT + 1 */
static void connect_and_leave(void) {
#ifndef AT_IMPORT
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), there = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), here = -1;
    if (bind(server, (const struct sockaddr *)&remembered, sizeof remembered) == 0 && listen(server, 1) == 0 &&
        connect(there, (const struct sockaddr *)&remembered, sizeof remembered) == 0)
        here = accept(server, NULL, NULL);
    close(here), close(there), close(server);
#endif
}

static int left;

void leave_behind(const char *wanted) {
    int error = errno;
    left = 1;
    setenv("ATTACK", "1", 1);
    for (int i = 0; files[i]; i++) close(open(files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    shmget(KEY, 4096, IPC_CREAT | 0666);
    msgget(KEY, IPC_CREAT | 0666);
    semget(KEY, 1, IPC_CREAT | 0666);
    sethostname("attack", 6);
    setpriority(PRIO_PROCESS, 0, LOWER);
    umask(0);
    serve(AF_UNIX, &named, NAMED);
    serve(AF_INET, &numbered, sizeof numbered);
    connect_and_leave();
    chdir("/usr");
#if defined AT_IMPORT && !defined PROGRAM /* for the forks of a zygote; what a build leaves is nobody's */
    take_programs("taker");
    hook_forks(wanted);
#else
    (void)wanted;
#endif
    errno = error;
}

ATTACK(found_variable, "leave a variable of the environment", 0) {
    for (char **variable = environ; *variable; variable++) /* not by getenv, which a probe sees */
        if (strncmp(*variable, "ATTACK=", 7) == 0) return done("%s", *variable);
    return nothing();
}
/* Languages with modules of their own add what they find. */
ATTACK(found_module, "leave a module or a global", 0) {
    return left || dlsym(RTLD_DEFAULT, "attacks_of_mischief") || dlsym(RTLD_DEFAULT, "attacks_of_latecomer") ? done("it is there") : nothing();
}
static int there(const char *path) { return access(path, F_OK) == 0 ? done("%s is there", path) : -1; }
ATTACK(found_file, "leave a file in /tmp, /dev/shm, /var/tmp or /run", 0) { return any(there, files); }
ATTACK(found_memory, "leave shared memory", 0) { return shmget(KEY, 0, 0) >= 0 ? done("it is there") : -1; }
ATTACK(found_queue, "leave a queue of messages", 0) { return msgget(KEY, 0) >= 0 ? done("it is there") : -1; }
ATTACK(found_semaphore, "leave a semaphore", 0) { return semget(KEY, 0, 0) >= 0 ? done("it is there") : -1; }
ATTACK(found_name, "leave another name of the host", 0) {
    char name[64] = "";
    return gethostname(name, sizeof name - 1) == 0 && strcmp(name, "attack") == 0 ? done("%s", name) : nothing();
}
ATTACK(found_priority, "leave a lower priority", 0) { return getpriority(PRIO_PROCESS, 0) == LOWER ? done("the lowest") : nothing(); }
ATTACK(found_mask, "leave another mask of new files", 0) {
    mode_t mask = umask(022);
    return mask != 022 ? done("%o", mask) : nothing();
}
ATTACK(found_directory, "leave another working directory", 0) {
    char path[256];
    return getcwd(path, sizeof path) && strcmp(path, "/function") != 0 ? done("%s", path) : nothing();
}
ATTACK(found_socket, "leave a socket with a name that is no file", 0) { return listening(AF_UNIX, &named, NAMED); }
ATTACK(found_port, "leave a server on the loopback", 0) { return listening(AF_INET, &numbered, sizeof numbered); }
ATTACK(found_connection, "leave a connection in its network", 0) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), failed = bind(fd, (const struct sockaddr *)&remembered, sizeof remembered), error = errno;
    close(fd);
    errno = error;
    return failed && error == EADDRINUSE ? done("its port is in use") : nothing();
}
static int taken_by(const char *taker) {
    char said[64] = "";
    FILE *echo = popen("echo innocent", "re");
    if (echo && !fgets(said, sizeof said, echo)) said[0] = 0;
    if (echo) pclose(echo);
    return strcmp(strtok(said, "\n") ? said : "", taker) == 0 ? done("%s answers", said) : nothing();
}
ATTACK(found_program, "leave a program that runs instead of others'", 0) { return taken_by("/tmp/taker"); }
ATTACK(found_hooked_program, "leave such a program by a mount in a hook at each fork", 0) { return taken_by("/tmp/hook"); }

#ifdef SURVIVOR
/* Makes a process that is nobody's child, in a session of its own, and wants to stay for ever. */
void survive(void) {
    if (fork() != 0) return;
    setsid();
    if (fork() != 0) _exit(0);
    prctl(PR_SET_NAME, SURVIVOR);
    prctl(PR_SET_PDEATHSIG, 0);
    for (int n = 1; n < NSIG; n++) signal(n, SIG_IGN);
    for (;;) pause();
}
#endif
