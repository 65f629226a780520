/*
 * Linked into pipsqueak-enter by `make sanitize`, in place of its execve. The library of the sanitizers has to be the first of a process, and
 * the programs of languages are not built with it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int __real_execve(const char *path, char *const argv[], char *const environment[]);
int __wrap_execve(const char *path, char *const argv[], char *const environment[]);

/* Leaks are not looked for: that needs ptrace, which a sandbox refuses. Crashes are a matter of the loops, which report them. */
const char *__asan_default_options(void) { return "detect_leaks=0:disable_coredump=0"; }
static char options[] = "ASAN_OPTIONS=detect_leaks=0:disable_coredump=0:use_sigaltstack=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0:quarantine_size_mb=1:allocator_may_return_null=1";

int __wrap_execve(const char *path, char *const argv[], char *const environment[])
{
    enum { MOST = 64 };
    static const char preload[] = "LD_PRELOAD=";
    static char with[4096], *all[MOST + 2];
    int i = 0;
    for (; environment[i] && i < MOST; i++) {
        all[i] = environment[i];
        if (strncmp(environment[i], preload, sizeof preload - 1) == 0) {
            snprintf(with, sizeof with, "%slibasan.so.8 %s", preload, environment[i] + sizeof preload - 1);
            all[i] = with;
        }
    }
    all[i] = options;
    return __real_execve(path, argv, all);
}
