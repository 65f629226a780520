/*
 * look: which paths below a directory code looks at while it is imported. A zygote has an empty directory where a function has its code,
 * and what a package did not find there it does not find later.
 *
 * A program that is linked with this, or has it preloaded, has functions of its own which open, read and list files, and tell whether they
 * are there; libraries call these instead of the C library's.
 */
#ifndef PIPSQUEAK_LOOK_H
#define PIPSQUEAK_LOOK_H

#include "watch.h"

/* Forgets what has been looked at, and begins to note it. The directory is an absolute path. */
PS_WATCH void ps_look(const char *directory);

/* Ends that. Returns the names, each once and with a newline behind it: "./" and the first part of a path below the directory; "./" alone
 * when the directory was listed, or there was no more room; "@pid" when code of a package asked for the process's id; "@random" when it drew
 * random numbers (draws.h). It is good until the next ps_look. */
PS_WATCH const char *ps_looked(void);

/* Takes whoever asks for the process's id, or draws random numbers, for a package, until the next ps_look: the language itself may do so for one. */
void ps_look_at_all(void);

/* Whose id and random numbers are noted: 0 is nobody's. */
enum { PS_LOOK_PACKAGES = 1, PS_LOOK_ALL };
int ps_looking(void);

/* Whether an object is a package's, by its path. */
int ps_is_package(const char *path);

/* Notes a path that is looked at in another way. */
PS_WATCH void ps_look_at(const char *path);

/* The language itself looks for a module of that name, which it appends ".rb" or ".so" to: these paths below the directory are not noted
 * until the next call. NULL ends that. */
PS_WATCH void ps_look_past(const char *module);

#endif
