/* Runs the attacks, and says as JSON what came of each. */
#include "attack.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char stranger[] = STRANGER;
#if defined AT_IMPORT && !defined PROGRAM
const int own_sockets = 2; /* a zygote's: its driver speaks to it by one, core by the other */
#else
const int own_sockets = 1; /* an instance's endpoint */
#endif
#define FIRST_FORK "mount in a hook at the first fork"
static char got[160]; /* what an attack got done, in words */

int done(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(got, sizeof got, format, arguments);
    va_end(arguments);
    return 0;
}

int nothing(void) { return errno = errno ? errno : ENOENT, -1; }

int made(long result) {
    if (result >= 0) return done("%ld", result);
    return errno == EPERM || errno == EACCES || errno == ENOSYS ? -1 : done("the kernel considers it: %s", strerror(errno));
}

struct outcome {
    int failed, error;
    char got[sizeof got];
};

static struct outcome run_here(const struct attack *attack) {
    struct outcome outcome = {0};
    errno = 0;
    outcome.failed = attack->run();
    outcome.error = errno;
    memcpy(outcome.got, got, sizeof got);
    return outcome;
}

/* A child that is killed, or still runs at the end of its time, has got nothing done. */
static struct outcome run_alone(const struct attack *attack) {
    struct outcome outcome = {.failed = -1, .error = EINTR}, *shared;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return outcome;
    *shared = outcome;
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        unshare(CLONE_NEWNS); /* who may do that could harm the process by its mounts */
        *shared = run_here(attack);
        _exit(0);
    }
    setpgid(child, child);
    for (int tries = 0; child > 0 && tries < attack->alone * 100; tries++) {
        siginfo_t ended = {0};
        if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == child) break; /* it fails when nobody waits for children */
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (child > 0) {
        kill(-child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    outcome = *shared;
    munmap(shared, sizeof *shared);
    return outcome;
}

/* The descriptors that were open before the attacks. What one leaves open is closed: a package with open files is in no zygote. */
enum { LOOKED_AT = 256 };
static char own[LOOKED_AT];
static void close_others(int first) {
    for (int fd = 0; fd < LOOKED_AT; fd++) {
        int open = fcntl(fd, F_GETFD) >= 0;
        if (first) own[fd] = (char)open;
        else if (open && !own[fd]) close(fd);
    }
}

static const char *try(const char *wanted) {
    extern const struct attack *const __start_attacks[] __attribute__((visibility("hidden"))), *const __stop_attacks[] __attribute__((visibility("hidden")));
    static char json[1 << 16];
    char *at = json, *end = json + sizeof json;
    close_others(1);
    at += snprintf(at, (size_t)(end - at), "{");
    for (const struct attack *const *one = __start_attacks; one < __stop_attacks; one++) {
        const char *found = wanted;
        size_t length = strlen((*one)->name);
        while ((found = strstr(found, (*one)->name)) && ((found > wanted && found[-1] != '\n') || found[length] != '\n')) found++;
        if (!found) continue;
        struct outcome outcome = (*one)->alone ? run_alone(*one) : run_here(*one);
        close_others(0);
        at += snprintf(at, (size_t)(end - at), "%s\"%s\": \"%s: %s\"", at == json + 1 ? "" : ", ", (*one)->name, outcome.failed ? "refused" : "DONE",
                       outcome.failed ? strerror(outcome.error) : outcome.got);
    }
    snprintf(at, (size_t)(end - at), "}");
    return json;
}

/* wanted: the names of attacks, a line each. */
__attribute__((visibility("default"))) const char *attacks(const char *wanted) {
    const char *told = try(wanted);
    if (wanted[0]) leave_behind(wanted);
    return told;
}

#ifdef PROGRAM /* that a build runs */
int main(void) { return puts(attacks(AT_IMPORT)) < 0; }
#elif defined(AT_IMPORT) /* the names: it is a package */
#ifdef AT_LOAD /* a package of compiled code is imported by being loaded, and names its symbols after itself */
#define OF(name) attacks_of_##name
#define OF_PACKAGE(name) OF(name)
#define attacks_of_package OF_PACKAGE(PACKAGE)
#endif
/* What came of the attacks, at the first call, which is the import, and of what they had begun by then. */
__attribute__((visibility("default"))) const char *attacks_of_package(void) {
    static char *attempts, *told;
    static long where;
    if (!AT_IMPORT[0] && !attempts) usleep(200000); /* a bystander: what takes its time is worth a zygote to others */
#ifdef SURVIVOR
    if (!attempts) survive();
#endif
    if (!attempts) where = syscall(SYS_getpid), attempts = strdup(attacks(AT_IMPORT));
    free(told);
    const char *after = try(strstr(AT_IMPORT, FIRST_FORK) ? FIRST_FORK "\n" : "");
    if (!attempts || asprintf(&told, "{\"where\": %ld, \"attempts\": %s, \"after\": %s}", where, attempts, after) < 0) abort();
    return told;
}
#ifdef AT_LOAD
__attribute__((constructor)) static void loaded(void) { attacks_of_package(); }
#endif
#endif
