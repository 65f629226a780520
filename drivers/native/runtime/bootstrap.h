/*
 * bootstrap: starts a function's own program, and says in words of people why it cannot be started.
 */
#ifndef PIPSQUEAK_BOOTSTRAP_H
#define PIPSQUEAK_BOOTSTRAP_H

#include "json.h"

#include <sys/types.h>

/* Starts PROGRAM in the directory, with that environment, no blocked signals, and this process's standard streams. Returns its
 * pid, or -1 with errno. */
pid_t bootstrap_start(const char *program, const char *directory, char *const environment[]);

/* Adds the reason why the program could not be started: whose error it is and what to do. error is the errno. */
void bootstrap_explain(struct text *text, const char *program, int error);

#endif
