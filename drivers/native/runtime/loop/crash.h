/*
 * crash: reports a signal that ends the process, with the stack on which it came.
 */
#ifndef PIPSQUEAK_CRASH_H
#define PIPSQUEAK_CRASH_H

#include <sys/types.h>

/* What is reported, and in which frame. The instance sets it; a crash reads it. */
enum crash_frame {
    CRASH_SILENT = 0,
    CRASH_FAILURE = 'F', /* while the handler is loaded: as core.Error */
    CRASH_DEATH = 'D',   /* while it runs: as core.Exception */
};
extern volatile char crash_frame;

/* The token of the event that runs, and the process that it runs in. Nothing is reported of a process that the handler has forked. */
extern char crash_token[32];
extern pid_t crash_process;

/* Catches SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP and SIGSYS, also when the main thread's stack is full. Handlers may
 * put others in their place. Call it before the fork: what it needs is loaded then. */
void crash_prepare(void);

/* Looks up what names of C++ are made readable with, if a library has it by now. */
void crash_learn(void);

#endif
