/* What code of others tries once it runs in a process of the worker: as a handler in an instance, or as a package that a zygote imports.
 * Each attack is a function of C, the same in every language; integration/rig_attack_inside_test.go says which wall stops it. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>

#ifndef HOST /* a directory of the host that no sandbox is shown */
#error "give HOST, the SERVER_PORT of a server on the host's loopback, the name of an ABSTRACT socket there, an ADDRESS of the host, and the TAKER's file"
#endif
#define CANARY "canary-of-the-host" /* what the environment of the worker has */

struct attack {
    const char *name;
    int (*run)(void); /* returns 0 when it got something done, and has said what with done(); else -1 with errno */
    int alone;        /* seconds: it runs in a child that ends with it, for it would harm the process, and has so long */
};

/* ATTACK(function, "what it tries", seconds) { … } */
#define ATTACK(function, name, alone)                                                                                                  \
    static int function(void);                                                                                                         \
    static const struct attack attack_##function = {name, function, alone};                                                            \
    static const struct attack *const listed_##function __attribute__((used, section("attacks"))) = &attack_##function;                \
    static int function(void)

/* A call that gets something done by being made at all: nothing but the kernel's permission was in its way. */
#define CALL(function, name, ...)                                                                                                      \
    ATTACK(function, name, 0) { return made((long)(__VA_ARGS__)); }

extern const char stranger[]; /* a package that the function does not depend on */

extern const int own_sockets; /* that the runtime has open */

int done(const char *format, ...) __attribute__((format(printf, 1, 2)));
int nothing(void); /* -1, with errno set */
int made(long result); /* 0 if a call returned that, or failed for another reason than a lack of permission */

/* traces.c */
void leave_behind(const char *wanted);
void survive(void);

/* namespaces.c */
int mounted(const char *kind);
int take_programs(const char *name); /* by a program /tmp/NAME, which says its name */

/* hooks.c */
void hook_forks(const char *wanted);

/* files.c */
int can_list(const char *path);
int can_read(const char *path);
int can_write(const char *path); /* opens only; makes no file */
int can_make(const char *path);
int any(int (*action)(const char *), const char *const *things);
#define ANY(action, ...) any(action, (const char *const[]){__VA_ARGS__, NULL})
int below(const char *directory, int (*action)(const char *));

/* processes.c */
int others(int (*action)(const char *pid)); /* with each other process that can be seen */
