/*
 * bootstrap: starts a function's own program, and says in words of people why it cannot be started.
 */
#ifndef PIPSQUEAK_BOOTSTRAP_H
#define PIPSQUEAK_BOOTSTRAP_H

#include "json.h"

#include <sys/types.h>

/* Returns the environment of a program for the H that was load: what core says, and where the function has not set it, what AWS has
 * besides; ended by NULL, the caller's. The Runtime API is at that port. library_path may be NULL. */
char **bootstrap_environment(struct json load, const char *directory, const char *library_path, int port);

/* Adds the directories in which the packages have programs, each with a colon behind it, as PATH has them. */
void add_program_path(struct text *path, struct json packages);

/* Starts the program in the directory, with that environment, no blocked signals, and this process's standard streams. Returns its
 * pid, or -1 with errno. */
pid_t bootstrap_start(const char *program, const char *directory, char *const environment[]);

/* Adds the reason why the program could not be started, and what to do. error is the errno. */
void bootstrap_explain(struct text *text, const char *program, int error);

#endif
